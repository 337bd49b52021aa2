"""The prompt with all that stands above it: what waits, what is attached, how it may go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from textual import work
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import TextArea

from luci_tui.errors import LuciError
from luci_tui.tui.attachments import MAX_ATTACHMENTS, pasted_paths, read_attachment
from luci_tui.tui.commands.completion import Completer
from luci_tui.tui.commands.names import KnownNames
from luci_tui.tui.commands.plain import plain_command, split
from luci_tui.tui.commands.slash import SlashLine, parse_slash
from luci_tui.tui.draft import Attachment, Draft
from luci_tui.tui.editor import edit_in_editor
from luci_tui.tui.history import PromptHistory
from luci_tui.tui.keymap import KeyMap, make_keymap, words_of
from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.choices import KEYS_LINE, ChoiceList
from luci_tui.tui.widgets.prompt import PromptInput
from luci_tui.tui.widgets.text import one_line

MAX_WAITING_LINES = 3
"""Waiting prompts that are shown, the last ones."""


class PromptBox(Vertical):
    """Takes what is typed apart: prompts, slash commands, commands of luci.

    Args:
        keys: Which keys do what; None = the defaults.
        history: What was sent before; None = nothing, and nothing is kept.
        names: Knows the models; None = the library of this machine.
    """

    class Sent(Message):
        """A prompt for the model."""

        def __init__(self, draft: Draft) -> None:
            super().__init__()
            self.draft = draft

    class CommandAsked(Message):
        """A command: a line that begins with "/", or the words of a command of luci."""

        def __init__(self, command: SlashLine | tuple[str, ...], draft: Draft) -> None:
            super().__init__()
            self.command = command
            self.draft = draft
            """As it was typed, for whoever cannot do it."""

    def __init__(
        self,
        keys: KeyMap | None = None,
        history: PromptHistory | None = None,
        names: KnownNames | None = None,
    ) -> None:
        super().__init__(id="prompt-box")
        keys = keys or make_keymap({})
        self.beyond: Callable[[Attachment], str] = lambda _: ""
        """What a file is that the model does not take, such as "pictures"; empty = it does."""
        self._model_key = words_of(keys.of("chat.model")[0])
        self._take_back_key = words_of(keys.of("prompt.take_back")[0])
        self.history = history or PromptHistory()
        self.names = names or KnownNames()
        self.attachments: tuple[Attachment, ...] = ()
        self._completer = Completer(self.names.installed, self._themes)
        self._waiting = Block(id="waiting")
        self._attached = Block(id="attached")
        self._not_taken = Block(id="not-taken")
        self._choices = ChoiceList()
        self.input = PromptInput(keys, self.history)
        self.input.choices = self._choices
        self._has_told_of_history = False

    def compose(self) -> ComposeResult:
        """Lay out what waits, what is attached, the choices and the line."""
        yield self._waiting
        yield self._attached
        yield self._not_taken
        yield self._choices
        yield self.input

    def on_mount(self) -> None:
        """Show nothing where there is nothing, and read the history once the frame stands."""
        for one in (self._waiting, self._attached, self._not_taken):
            one.display = False
        self.call_after_refresh(self._load_history)

    # ---- for the screen

    def restore(self, draft: Draft) -> None:
        """Put a prompt back that cannot be sent now."""
        self.input.restore(draft)
        self.attach([*draft.attachments, *self.attachments])
        self.input.focus()

    def show_waiting(self, prompts: Sequence[Draft]) -> None:
        """Show the prompts that wait for their turn."""
        self.input.n_waiting = len(prompts)
        first = max(0, len(prompts) - MAX_WAITING_LINES)
        lines = [
            f"waiting {number}  {one_line(draft.shown)}"
            for number, draft in enumerate(list(prompts)[first:], start=first + 1)
        ]
        if lines:
            lines.append(f"{self._take_back_key} takes the last one back.")
        self._waiting.display = bool(lines)
        self._waiting.say("\n".join(lines))

    def attach(self, attachments: Sequence[Attachment]) -> None:
        """Let these files go with the next prompt, in place of those before."""
        self.attachments = tuple(attachments)
        self.show_attached()

    def show_attached(self) -> None:
        """Show what goes with the next prompt, and what of it the model does not take."""
        names = " · ".join(one.words for one in self.attachments)
        self._attached.display = bool(self.attachments)
        self._attached.say(f"attached  {names}  (/detach takes them away)")
        beyond = sorted({word for one in self.attachments if (word := self.beyond(one))})
        self._not_taken.display = bool(beyond)
        self._not_taken.say(
            f"This model takes no {' and no '.join(beyond)}, and refuses such a prompt. "
            f"{self._model_key} chooses another."
        )

    async def attach_file(self, path: str | Path) -> None:
        """Read a file and let it go with the next prompt.

        Raises:
            LuciError: it cannot be taken; one sentence says why.
        """
        attachment = await asyncio.to_thread(read_attachment, path, len(self.attachments))
        self.attach([*self.attachments, attachment])

    def _themes(self) -> list[str]:
        # Textual leaves the app's result type open.
        return sorted(self.app.available_themes)  # pyright: ignore[reportUnknownMemberType]

    # ---- what is sent

    async def on_prompt_input_sent(self, message: PromptInput.Sent) -> None:
        """Tell a prompt from a command."""
        message.stop()
        self._choices.close()
        draft = message.draft
        self._keep(draft)
        if (line := parse_slash(draft.typed)) is not None:
            self.post_message(self.CommandAsked(line, draft))
            return
        if not self.attachments and not draft.pastes and split(draft.typed):
            words = await asyncio.to_thread(plain_command, draft.typed, self.names.is_model)
            if words is not None:
                self.post_message(self.CommandAsked(words, draft))
                return
        sent = Draft(draft.typed, draft.pastes, self.attachments)
        self.attach(())
        self.post_message(self.Sent(sent))

    @work(group="history", exit_on_error=False)
    async def _keep(self, draft: Draft) -> None:
        try:
            await asyncio.to_thread(self.history.keep, draft.text)
        except OSError as error:
            self._tell_of_history(error)

    @work(group="history", exit_on_error=False)
    async def _load_history(self) -> None:
        try:
            await asyncio.to_thread(self.history.load)
        except OSError as error:
            self._tell_of_history(error)

    def _tell_of_history(self, error: OSError) -> None:
        if not self._has_told_of_history:
            self._has_told_of_history = True
            self.notify(
                one_line(f"Earlier prompts are not kept: {error}."),
                severity="warning",
                markup=False,
            )

    def on_prompt_input_editor_asked(self, message: PromptInput.EditorAsked) -> None:
        """Open the prompt in an editor."""
        message.stop()
        self.edit()

    def edit(self, text: str = "") -> None:
        """Let the person write in an editor, for which the screen makes room.

        Args:
            text: In place of what stands in the line; empty = that.
        """
        try:
            # Textual leaves the app's result type open.
            app = cast("App[int]", self.app)  # pyright: ignore[reportUnknownMemberType]
            written = edit_in_editor(app, text or self.input.draft.text)
        except LuciError as error:
            self.notify(one_line(error.message), severity="warning", markup=False)
            return
        self.input.put(written)

    # ---- how the line may go on

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Offer what the line may become."""
        event.stop()
        text = self.input.text
        if text.startswith("/") and "\n" not in text:
            self._suggest(text)
        else:
            self.workers.cancel_group(self, "choices")  # pyright: ignore[reportUnknownMemberType]
            self._choices.close()
        self.input.border_subtitle = ""

    @work(exclusive=True, group="choices", exit_on_error=False)
    async def _suggest(self, text: str) -> None:
        attached = [one.name for one in self.attachments]
        choices = await asyncio.to_thread(self._completer.choices, text, attached)
        if text == self.input.text:
            self._choices.offer(text, choices)
            self.input.border_subtitle = KEYS_LINE if choices else ""

    def on_choice_list_completed(self, message: ChoiceList.Completed) -> None:
        """Take a choice into the line."""
        message.stop()
        self.input.put(message.text)
        if message.is_sent:
            self.input.action_send()

    # ---- files that are pasted or dropped

    async def on_prompt_input_path_pasted(self, message: PromptInput.PathPasted) -> None:
        """Attach the files that a paste names; insert it where it names none."""
        message.stop()
        paths = await asyncio.to_thread(pasted_paths, message.text)
        if not paths or len(self.attachments) + len(paths) > MAX_ATTACHMENTS:
            self.input.insert_paste(message.text)
            return
        try:
            for path in paths:
                await self.attach_file(path)
        except LuciError as error:
            self.notify(one_line(error.message), severity="warning", markup=False)
            self.input.insert_paste(message.text)
