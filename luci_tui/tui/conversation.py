"""What the chat screen talks to, and the simplest of it: a chat with an engine of one's own.

`tui/host_conversation.py` is the other one, in which the chat belongs to the host. Neither knows a
widget. The modules import the engine's messages, which takes longer than the first frame may; the
screen imports them when it is drawn.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Protocol

from luci_tui.chat.answer import truth_line
from luci_tui.chat.model import Turn
from luci_tui.chat.request import build_request
from luci_tui.engine import frames
from luci_tui.engine.media import media_part
from luci_tui.errors import EngineError
from luci_tui.host.wiring import Backend
from luci_tui.tui.draft import Attachment


@dataclass(frozen=True)
class LoadingShown:
    """The model is on its way into memory."""

    fraction: float


@dataclass(frozen=True)
class PromptShown:
    """The prompt is being computed."""

    n_done: int
    n_total: int


@dataclass(frozen=True)
class TextAdded:
    """A piece of the answer came."""

    text: str
    reasoning: str


@dataclass(frozen=True)
class AnswerDone:
    """The answer is complete."""

    truth: str
    marks: list[str]
    """Sentences that a reader must not miss, e.g. a doubtful argument."""


AnswerEvent = PromptShown | TextAdded | AnswerDone


@dataclass(frozen=True)
class Shown:
    """A message of a chat that is gone on with."""

    is_user: bool
    text: str
    reasoning: str = ""
    truth: str = ""
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resumed:
    """A chat that was there before the screen."""

    messages: tuple[Shown, ...]
    is_answering: bool
    """Its last message is the person's, and `follow` gives the answer from its beginning."""


class Conversation(Protocol):
    """One chat with one model."""

    @property
    def answers_with_command(self) -> bool:
        """Tell whether an answer is one bare shell command."""
        ...

    def describe(self) -> str:
        """Return the model in one line."""
        ...

    def load(self) -> AsyncGenerator[LoadingShown]:
        """Make the model ready; raises LuciError where that cannot be."""
        ...

    async def resume(self) -> Resumed | None:
        """Give the chat to go on with; None = a new one begins with the first prompt."""
        ...

    def answer(self, prompt: str, media: Sequence[Attachment] = ()) -> AsyncGenerator[AnswerEvent]:
        """Stream the answer to a prompt; both are remembered, whatever came of the answer."""
        ...

    def follow(self) -> AsyncGenerator[AnswerEvent]:
        """Stream the answer that is being given already; see `resume`."""
        ...

    async def stop(self) -> None:
        """End the answer whose stream was just closed; what came of it stays."""
        ...

    def forget(self) -> None:
        """Start a new chat."""
        ...

    async def news(self) -> list[str]:
        """Give the sentences that the person should read now; each is given once."""
        ...

    def farewell(self) -> str:
        """Say what goes on without the screen, in one sentence; empty = nothing."""
        ...

    async def close(self) -> None:
        """Let go of the engine or the host."""
        ...


@dataclass
class OwnConversation:
    """The turns so far, and an engine of one's own that continues them; see `Conversation`."""

    backend: Backend
    info: frames.ModelInfo | None = None
    """None = no model is loaded."""
    turns: list[Turn] = field(default_factory=list[Turn])

    @property
    def answers_with_command(self) -> bool:
        """Tell whether an answer is one bare shell command."""
        return self.backend.model.answers_with_command

    def describe(self) -> str:
        """Return the model in one line."""
        label = self.backend.model.label
        if self.info is None:
            return label
        return f"{label} · {self.info.description} · context {self.info.n_ctx}"

    async def load(self) -> AsyncGenerator[LoadingShown]:
        """Load the model, in place of the one before.

        Raises:
            EngineError: it could not be loaded.
        """
        self.info = None
        async with aclosing(self.backend.engine.load(self.backend.model.load)) as events:
            async for event in events:
                if isinstance(event, frames.Loaded):
                    self.info = event.info
                    return
                yield LoadingShown(event.fraction)
        msg = "Loading the model ended without an answer."
        raise EngineError(msg)

    async def answer(
        self, prompt: str, media: Sequence[Attachment] = ()
    ) -> AsyncGenerator[AnswerEvent]:
        """Stream the answer to a prompt and remember both.

        What came before a failure or a stop is remembered too; a prompt without any answer is
        forgotten, so that no model sees two of the person's turns in a row.

        Raises:
            EngineError: the request failed or the worker ended.
        """
        if self.info is None:
            msg = "No model is loaded."
            raise EngineError(msg)
        turns = [*self.turns, Turn("user", prompt)]
        parts = [part for one in media if (part := media_part(one.content)) is not None]
        request = build_request(self.backend.model, self.info, turns, media=parts)
        text: list[str] = []
        is_complete = False
        try:
            async with aclosing(self.backend.engine.generate(request)) as events:
                async for event in events:
                    match event:
                        case frames.PromptProgress():
                            yield PromptShown(event.n_done, event.n_total)
                        case frames.Delta():
                            text.append(event.text)
                            yield TextAdded(event.text, event.reasoning)
                        case frames.Done():
                            is_complete = True
                            yield self._finished(prompt, "".join(text), event)
            if not is_complete:
                msg = "The engine ended the answer without saying why; it may be incomplete."
                raise EngineError(msg)
        finally:
            if "".join(text).strip():
                self.turns = [*turns, Turn("assistant", "".join(text))]

    async def resume(self) -> Resumed | None:
        """Nothing was there before."""
        return None

    async def follow(self) -> AsyncGenerator[AnswerEvent]:
        """Give nothing: no answer was begun before."""
        return
        yield

    async def stop(self) -> None:
        """Do nothing: closing the stream has ended the answer."""

    def forget(self) -> None:
        """Start a new chat."""
        self.turns.clear()

    async def news(self) -> list[str]:
        """Give nothing: there is nobody else who has something to say."""
        return []

    def farewell(self) -> str:
        """Nothing goes on without the screen."""
        return ""

    async def close(self) -> None:
        """Let the engine leave."""
        with suppress(EngineError):
            await self.backend.engine.close()

    def _finished(self, prompt: str, text: str, done: frames.Done) -> AnswerDone:
        marks: list[str] = []
        if self.backend.review is not None:
            doubtful = self.backend.review(prompt, text)
            marks += [f"doubtful: '{argument}' is not in your request" for argument in doubtful]
        if done.usage.dropped_tokens:
            marks.append(f"{done.usage.dropped_tokens} tokens did not fit and were left out")
        if done.finish_reason is frames.FinishReason.LENGTH:
            marks.append("the answer met the end of the context; Ctrl-N starts a new chat")
        if not text.strip():
            marks.append("the model answered nothing")
        return AnswerDone(truth_line(done), marks)
