"""Voices that are asked the same: models in columns, or the perspectives of a panel."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol, assert_never

from luci_tui.errors import LuciError

if TYPE_CHECKING:
    from luci_tui.tui.conversation import AnswerEvent, Conversation


class VoiceState(Enum):
    """How far a voice is with the last prompt."""

    IDLE = auto()
    WAITS = auto()
    """Others come first."""
    RUNS = auto()
    DONE = auto()
    FAILED = auto()
    STOPPED = auto()


_MARKS = {
    VoiceState.RUNS: " ...",
    VoiceState.DONE: " +",
    VoiceState.FAILED: " !",
    VoiceState.STOPPED: " !",
}
"""What stands behind a name."""


class VoiceView(Protocol):
    """Where the answer of a voice is shown."""

    def say(self, words: str) -> None:
        """Say how far it is."""
        ...

    async def begin(self, prompt: str) -> None:
        """Show the prompt."""
        ...

    async def open_reply(self, *, is_plain: bool) -> None:
        """Begin an answer."""
        ...

    def add(self, text: str, reasoning: str) -> None:
        """Take a piece of the answer."""
        ...

    async def end(self, truth: str, marks: list[str]) -> None:
        """End the answer."""
        ...

    async def tell(self, sentence: str, *, is_error: bool) -> None:
        """Say why there is no answer, or no whole one."""
        ...


@dataclass
class Voice:
    """One who answers."""

    title: str
    conversation: Conversation
    view: VoiceView
    state: VoiceState = VoiceState.IDLE
    answer: str = ""
    """What it said last; empty = nothing yet."""
    _is_open: bool = False
    """Its answer grows."""

    @property
    def label(self) -> str:
        """Name and state, without colours."""
        return f"{self.title}{_MARKS.get(self.state, '')}"

    async def wait(self, prompt: str) -> None:
        """Show the prompt; its turn comes later."""
        self._change(VoiceState.WAITS, "waits")
        await self.view.begin(prompt)

    async def ask(self, prompt: str, marks: tuple[str, ...] = ()) -> None:
        """Answer the prompt; a failure is shown and kept to this voice.

        Args:
            prompt: What all are asked.
            marks: Sentences that stand under the answer, before its own.
        """
        self.answer = ""
        self._change(VoiceState.RUNS, "getting ready")
        try:
            await self._load()
            await self.view.open_reply(is_plain=self.conversation.answers_with_command)
            self._is_open = True
            async with aclosing(self.conversation.answer(prompt)) as events:
                await self._show(events, marks)
        except LuciError as error:
            await self._close(["the answer broke off here"] if self.answer.strip() else [])
            await self.view.tell(error.message, is_error=True)
            self._change(VoiceState.FAILED, "failed")

    async def stop(self) -> None:
        """Take in that the person stopped it, whether it had begun or not."""
        match self.state:
            case VoiceState.RUNS:
                await self.conversation.stop()
                await self._close(["stopped by you; this is not the whole answer"])
                self._change(VoiceState.STOPPED, "stopped")
            case VoiceState.WAITS:
                self._change(VoiceState.STOPPED, "not asked")
            case _:
                pass

    async def skip(self, reason: str) -> None:
        """Take in that it is not asked this time."""
        self._change(VoiceState.STOPPED, "not asked")
        await self.view.tell(reason, is_error=False)

    async def _load(self) -> None:
        if self.conversation.n_ctx:
            return
        async with aclosing(self.conversation.load()) as events:
            async for event in events:
                self.view.say(f"loading {event.fraction:.0%}")

    async def _show(self, events: AsyncGenerator[AnswerEvent], marks: tuple[str, ...]) -> None:
        from luci_tui.tui.conversation import (
            AnswerBegun,
            AnswerDone,
            CallsShown,
            PromptShown,
            TextAdded,
        )

        async for event in events:
            match event:
                case PromptShown(n_done, n_total):
                    done = f" {n_done}/{n_total}" if n_total else ""
                    self.view.say(f"reading the prompt{done}")
                case TextAdded(text, reasoning):
                    self.answer += text
                    self.view.say("answering")
                    self.view.add(text, reasoning)
                case AnswerBegun() | CallsShown():
                    pass  # a column has no message to be named, and no tools to call
                case AnswerDone(truth, its_marks):
                    self._is_open = False
                    await self.view.end(truth, [*marks, *its_marks])
                    self._change(VoiceState.DONE, "done")
                case _:
                    assert_never(event)

    async def _close(self, marks: list[str]) -> None:
        if self._is_open:
            self._is_open = False
            await self.view.end("", marks)

    def _change(self, state: VoiceState, words: str) -> None:
        self.state = state
        self.view.say(words)
