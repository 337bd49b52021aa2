"""The same prompt to several: models side by side, or the perspectives of a panel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from luci_tui.chat.panel import N_LEAST, SYNTHESIS_TEMPERATURE, View, synthesis
from luci_tui.tui.chat_settings import Beginning
from luci_tui.tui.columns import Voice, VoiceState
from luci_tui.tui.keymap import KeyMap, binding
from luci_tui.tui.screens.steady import Steady
from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.key_footer import KeyFooter
from luci_tui.tui.widgets.message import REDRAW_S, REDRAW_SLOW_S
from luci_tui.tui.widgets.prompt import PromptInput
from luci_tui.tui.widgets.status import StatusLine
from luci_tui.tui.widgets.text import one_line
from luci_tui.tui.widgets.voice_column import VoiceColumn
from luci_tui.units import format_count

if TYPE_CHECKING:
    from pydantic import JsonValue

    from luci_tui.tui.conversation import Conversation
    from luci_tui.tui.services import Services

log = logging.getLogger(__name__)

WIDE_COLUMNS = 100
"""Columns of the terminal from which on several are seen at once."""
LEAST_WIDTH = 38
"""Columns of one of them."""
CLOSE_S = 3.0
"""How long the host may take to put the others away."""


class ColumnsScreen(Steady, Screen["Conversation | None"]):
    """Asks all voices, one after the other; gives the conversation to go on with, if one is kept.

    Args:
        voices: Titles, and whom to ask; each has a chat of its own.
        synthesis: Who makes one answer of all the others; None = nobody.
        services: What the app hands to its screens.
        keys: Which keys do what.
        draft: What stands in the prompt at first.
        before: What each chat begins with.
        n_before: Messages of those.
    """

    NAME: ClassVar = "columns"
    HELP: ClassVar = (
        "All of them get the same prompt, each in a chat of its own. In the row of names ... "
        "stands behind who answers, + behind who has answered, ! behind who failed or was stopped."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("columns.stop", "stop"),
        binding("columns.next", "turn(1)"),
        binding("columns.before", "turn(-1)"),
        binding("columns.keep", "keep"),
        binding("columns.pace", "pace"),
        binding("columns.copy", "copy_answer"),
        binding("columns.thinking", "thinking"),
        binding("columns.up", "page(-1)"),
        binding("columns.down", "page(1)"),
    ]

    def __init__(
        self,
        voices: Sequence[tuple[str, Conversation]],
        synthesis: tuple[str, Conversation] | None,
        services: Services,
        keys: KeyMap,
        draft: str = "",
        before: Beginning | None = None,
        n_before: int = 0,
    ) -> None:
        super().__init__()
        self._services = services
        self._keys = keys
        self._draft = draft
        self._before = before or Beginning()
        redraw_s = REDRAW_SLOW_S if services.is_slow else REDRAW_S
        all_of_them = [*voices, *([synthesis] if synthesis else [])]
        self._voices = [
            Voice(
                title,
                conversation,
                VoiceColumn(title, redraw_s, _note(conversation, n_before)),
            )
            for title, conversation in all_of_them
        ]
        self._synthesis = self._voices[-1] if synthesis else None
        self._current = 0
        self._first = 0
        """The leftmost that is seen."""
        self._is_at_once = False
        self._is_asking = False
        self._is_stopping = False
        """The person asked for the end of the answers; it is not the screen that goes away."""
        self._has_left = False

    # ---- looks

    def compose(self) -> ComposeResult:
        """Lay out status, names, columns, prompt and footer."""
        yield StatusLine()
        yield Block(id="voices")
        with Horizontal(id="columns"):
            yield from self._columns
        yield PromptInput(self._keys)
        yield KeyFooter()

    def on_mount(self) -> None:
        """Type at once."""
        prompt = self.query_one(PromptInput)
        prompt.placeholder = "Ask all of them."
        prompt.text = self._draft
        prompt.move_cursor(prompt.document.end)
        prompt.focus()
        self.set_interval(self._services.look_s, self._show_state)
        self._show_columns()

    def on_resize(self) -> None:
        """Show as many columns as there is room for."""
        self._show_columns()

    @property
    def _columns(self) -> list[VoiceColumn]:
        return [cast("VoiceColumn", voice.view) for voice in self._voices]

    def _show_columns(self) -> None:
        width = self.size.width
        n_seen = max(1, width // LEAST_WIDTH) if width >= WIDE_COLUMNS else 1
        n_seen = min(n_seen, len(self._voices))
        least = self._current - n_seen + 1
        self._first = max(least, min(self._first, self._current, len(self._voices) - n_seen))
        for number, column in enumerate(self._columns):
            column.display = self._first <= number < self._first + n_seen
            column.set_class(number == self._current, "-current")
            column.set_class(number == self._first + n_seen - 1, "-last")
        self._show_state()

    def _show_state(self) -> None:
        labels = [f"{number} {one_line(one.label)}" for number, one in enumerate(self._voices, 1)]
        labels = [
            f"[{label}]" if number == self._current else f" {label} "
            for number, label in enumerate(labels)
        ]
        self.query_one("#voices", Block).say(_packed(labels, self.size.width - 2))
        self.query_one(StatusLine).say(" · ".join(self._state_words()))

    def _state_words(self) -> list[str]:
        n_done = sum(one.state is VoiceState.DONE for one in self._voices)
        running = [one.title for one in self._voices if one.state is VoiceState.RUNS]
        pace = "all at once" if self._is_at_once else "one after the other"
        if not self._is_asking:
            what = "A prompt asks all of them"
            return [f"{format_count(len(self._voices), 'column')}", what, pace]
        verb = "has" if n_done == 1 else "have"
        words = [f"{n_done} of {len(self._voices)} {verb} answered"]
        if running:
            words.append(f"{', '.join(running)} {'answers' if len(running) == 1 else 'answer'}")
        return [*words, pace]

    # ---- asking

    def on_prompt_input_sent(self, message: PromptInput.Sent) -> None:
        """Ask all of them."""
        message.stop()
        if self._is_asking:
            self.notify("Not all have answered yet. Esc stops them.")
            self.query_one(PromptInput).restore(message.draft)
            return
        self._is_asking = True
        self._ask(message.draft.text)

    @work(exclusive=True, group="ask", exit_on_error=False)
    async def _ask(self, prompt: str) -> None:
        voices = [one for one in self._voices if one is not self._synthesis]
        try:
            for voice in self._voices:
                await voice.wait(prompt)
            self._show_state()
            if self._is_at_once:
                async with asyncio.TaskGroup() as group:
                    for voice in voices:
                        group.create_task(voice.ask(prompt))
            else:
                for voice in voices:
                    self._show_state()
                    await voice.ask(prompt)
            if self._synthesis is not None:
                await self._put_together(prompt, voices, self._synthesis)
        except asyncio.CancelledError:
            # Esc ends the answers; a screen that goes away leaves them to whoever gives them.
            if self._is_stopping:
                for voice in self._voices:
                    await voice.stop()
            raise
        finally:
            self._is_asking = self._is_stopping = False
            if self.is_attached:
                self._show_state()

    async def _put_together(self, prompt: str, voices: list[Voice], maker: Voice) -> None:
        views = [
            View(one.title, one.answer)
            for one in voices
            if one.state is VoiceState.DONE and one.answer.strip()
        ]
        if len(views) < N_LEAST:
            await maker.skip(f"Fewer than {N_LEAST} have answered, so there is no synthesis.")
            return
        n_ctx = voices[0].conversation.n_ctx
        made = synthesis(views, n_ctx)
        # The chat of the synthesis before knows other answers.
        await maker.conversation.put_away()
        maker.conversation.forget()
        sampling: dict[str, JsonValue] = {"temperature": SYNTHESIS_TEMPERATURE}
        maker.conversation.begin_with(
            replace(self._before, system=made.system, parameters={"sampling_changes": sampling})
        )
        marks: tuple[str, ...] = ()
        if made.n_read:
            marks = (f"each answer was read up to its first {made.n_read:,} characters",)
        self._show_state()
        await maker.ask(prompt, marks)

    # ---- keys

    async def action_stop(self) -> None:
        """Stop what runs and what waits; once nothing runs, leave."""
        if not self._is_asking:
            await self._leave(None)
            return
        self._is_stopping = True
        self.workers.cancel_group(self, "ask")  # pyright: ignore[reportUnknownMemberType]

    def action_turn(self, step: int) -> None:
        """Go to the next column, or to the one before."""
        self._current = (self._current + step) % len(self._voices)
        self._show_columns()

    async def action_keep(self) -> None:
        """Go on with the chat of the column that is marked."""
        voice = self._voices[self._current]
        if self._is_asking:
            self.notify("Not all have answered yet. Esc stops them.")
        elif not voice.answer.strip():
            self.notify(
                f"{one_line(voice.title)} has not answered, so there is no chat to go on with.",
                markup=False,
            )
        else:
            await self._leave(voice)

    def action_pace(self) -> None:
        """Let all answer at once, or one after the other."""
        if self._is_asking:
            self.notify("This counts from the next prompt on.")
        self._is_at_once = not self._is_at_once
        for column in self._columns:
            redraw_s = REDRAW_SLOW_S if self._services.is_slow else REDRAW_S
            # Together they draw no more often than one alone.
            column.redraw_s = redraw_s * (len(self._voices) if self._is_at_once else 1)
        self._show_state()

    def action_copy_answer(self) -> None:
        """Copy the last answer of the column that is marked."""
        from luci_tui.tui.screens.chat import ChatScreen

        reply = self._columns[self._current].reply
        if reply is None or not reply.text.strip():
            self.notify("There is no answer to copy yet.")
            return
        self.post_message(ChatScreen.CopyAsked(reply.text.strip()))

    def action_thinking(self) -> None:
        """Show or hide the thinking of the last answer of the column that is marked."""
        if (reply := self._columns[self._current].reply) is not None:
            reply.toggle_thinking()

    def action_page(self, direction: int) -> None:
        """Scroll the column that is marked."""
        self._columns[self._current].page(direction)

    # ---- leaving

    async def _leave(self, kept: Voice | None) -> None:
        """Put the other chats away, and go back to the chat."""
        self._has_left = True
        others = [one for one in self._voices if one is not kept]
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                for voice in others:
                    await voice.conversation.put_away()
        await self._close(others)
        self.dismiss(None if kept is None else kept.conversation)

    async def on_unmount(self) -> None:
        """Let go of the host, where the app was left from here; the answers go on."""
        if not self._has_left:
            await self._close(self._voices)

    async def _close(self, voices: Sequence[Voice]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                for voice in voices:
                    await voice.conversation.close()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Tell of a fault in this program, and write where it is to the log."""
        if event.state is not WorkerState.ERROR:
            return
        # Textual leaves the worker's result type open.
        worker = cast("Worker[object]", event.worker)  # pyright: ignore[reportUnknownMemberType]
        log.error("screen worker %s failed", worker.name, exc_info=worker.error)
        self.notify(
            f"Something in luci itself failed: {worker.error!r}. The log has the details.",
            severity="error",
            markup=False,
        )


def _note(conversation: Conversation, n_before: int) -> str:
    """Say what a column knows of the chat; empty = there is nothing to know."""
    if not n_before:
        return ""
    if conversation.answers_with_command:
        return "It answers each request alone."
    return f"It has read the {format_count(n_before, 'message')} of this chat."


def _packed(labels: Sequence[str], width: int) -> str:
    """Put labels on as few lines as they need; none is broken in two."""
    lines: list[str] = []
    for label in labels:
        if lines and len(lines[-1]) + 1 + len(label) <= width:
            lines[-1] += f" {label}"
        else:
            lines.append(label)
    return "\n".join(lines)
