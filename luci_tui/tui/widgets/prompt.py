"""The input line: several lines of text, a history, folded pastes, and Enter that sends."""

from __future__ import annotations

from typing import ClassVar, Protocol

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widgets import TextArea

from luci_tui.chat.sanitize import sanitize
from luci_tui.tui.draft import Draft, is_long, paste_name
from luci_tui.tui.history import PromptHistory
from luci_tui.tui.keymap import KeyMap, binding, make_keymap

MAX_PASTED_CHARACTERS = 32 * 1024 * 1024
"""Of all folded pastes that are kept for the history; the oldest go first."""

_EDITING = {
    key: binding.action
    for binding in TextArea.BINDINGS
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
}
"""Key -> action of all that edits the text or moves in it."""


class Choices(Protocol):
    """The list above the line that suggests how it may go on."""

    @property
    def is_open(self) -> bool:
        """Tell whether it shows something."""
        ...

    def take_key(self, key: str) -> bool:
        """Do what a key means in the list; False = it means nothing there."""
        ...


class PromptInput(TextArea):
    """Text to send to the model.

    Args:
        keys: Which keys send and which start a new line; None = the defaults.
        history: What was sent before; None = nothing.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        binding("prompt.send", "send"),
        binding("prompt.newline", "newline"),
        binding("prompt.editor", "editor"),
        binding("prompt.take_back", "take_back"),
    ]

    class Sent(Message):
        """The person sent what was typed; files that are attached are not part of it."""

        def __init__(self, draft: Draft) -> None:
            super().__init__()
            self.draft = draft

    class Left(Message):
        """The person went up, out of the prompt."""

    class HelpAsked(Message):
        """The person typed "?" into an empty prompt."""

    class EditorAsked(Message):
        """The person wants to write in an editor."""

    class TakeBackAsked(Message):
        """The person wants the last of the prompts back that wait."""

    class PathPasted(Message):
        """What was pasted may be names of files, as a terminal writes them when one is dropped."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, keys: KeyMap | None = None, history: PromptHistory | None = None) -> None:
        super().__init__(
            id="prompt",
            compact=True,
            highlight_cursor_line=False,
            placeholder="Ask something. Enter sends, Ctrl-J starts a new line, / shows commands.",
        )
        self.cursor_blink = False
        self.earlier = history or PromptHistory()
        self.n_waiting = 0
        """Prompts that wait for their turn."""
        self.choices: Choices | None = None
        self._from_end = 0
        """How far back in the history the line is; 0 = it is what is being typed."""
        self._draft = ""
        self._pastes: dict[str, str] = {}
        self._paste_names: set[str] = set()
        keys = keys or make_keymap({})
        self._actions = (
            _EDITING
            | dict.fromkeys(keys.of("prompt.newline"), "newline")
            | dict.fromkeys(keys.of("prompt.send"), "send")
            | dict.fromkeys(keys.of("prompt.editor"), "editor")
            | dict.fromkeys(keys.of("prompt.take_back"), "take_back")
        )

    # ---- what it holds

    @property
    def draft(self) -> Draft:
        """What would be sent now."""
        typed = self.text.strip("\n").rstrip()
        pastes = {name: text for name, text in self._pastes.items() if name in typed}
        return Draft(typed, pastes)

    def restore(self, draft: Draft) -> None:
        """Put a prompt back into the line, before what has been typed meanwhile."""
        self._keep_pastes(draft)
        self.put("\n".join(part for part in (draft.typed, self.text) if part))

    def put(self, text: str) -> None:
        """Replace the text, with the cursor at its end; a very long one is folded."""
        self.text = self._folded(text) if is_long(text) else text
        self.move_cursor(self.document.end)

    def insert_paste(self, text: str) -> None:
        """Insert what was pasted; a long text is folded."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        shown = self._folded(text) if is_long(text) else sanitize(text)
        if result := self._replace_via_keyboard(shown, *self.selection):
            self.move_cursor(result.end_location)

    def _folded(self, text: str) -> str:
        """Keep a text aside and give the name that stands for it."""
        name = paste_name(text, self._paste_names)
        self._keep_pastes(Draft("", {name: text}))
        return name

    def _keep_pastes(self, draft: Draft) -> None:
        self._pastes |= draft.pastes
        self._paste_names |= set(draft.pastes)
        n_characters = sum(map(len, self._pastes.values()))
        for name in list(self._pastes):
            if n_characters <= MAX_PASTED_CHARACTERS:
                return
            if name not in self.text and name not in draft.pastes:
                n_characters -= len(self._pastes.pop(name))

    # ---- keys

    def action_send(self) -> None:
        """Send what was typed, unless it is blank."""
        draft = self.draft
        if draft.is_blank:
            return
        self.earlier.add(draft.typed)
        self._from_end = 0
        self._draft = ""
        self.clear()
        self.post_message(self.Sent(draft))

    def action_ask_help(self) -> None:
        """Ask the app for its help page."""
        self.post_message(self.HelpAsked())

    def action_newline(self) -> None:
        """Insert a line break."""
        self.insert("\n")

    def action_editor(self) -> None:
        """Ask for an editor."""
        self.post_message(self.EditorAsked())

    def action_take_back(self) -> None:
        """Ask for the last of the prompts that wait."""
        self.post_message(self.TakeBackAsked())

    def action_cursor_up(self, select: bool = False) -> None:
        """Move up; from the first line go back in the history."""
        if select and self.cursor_at_first_line and not self.selected_text:
            self.post_message(self.Left())
        elif select or not self.cursor_at_first_line:
            super().action_cursor_up(select)
        elif self.n_waiting and not self.text:
            # The history would give a copy of what is going to be sent anyway.
            self.action_take_back()
        elif self._from_end < len(self.earlier.entries):
            self._recall(self._from_end + 1)

    def action_cursor_down(self, select: bool = False) -> None:
        """Move down; from the last line go forward in the history."""
        if select or not self.cursor_at_last_line:
            super().action_cursor_down(select)
        elif self._from_end:
            self._recall(self._from_end - 1)

    def render_line(self, y: int) -> Strip:
        """Draw one line; Textual 8.2.8 fails to wrap its placeholder where there is no column."""
        if self.content_size.width < 1:
            return Strip.blank(self.size.width)
        return super().render_line(y)

    async def _on_key(self, event: events.Key) -> None:
        # Bindings are run after the key has climbed to the app, so letters that are typed on
        # overtake them; over a slow line many keys come at once. Here each takes its turn.
        key = event.key
        if self.choices is not None and self.choices.is_open and self.choices.take_key(key):
            event.stop()
            event.prevent_default()
            return
        action = self._actions.get(key)
        if event.character == "?" and not self.text:
            action = "ask_help"
        if action is None and key.startswith("alt+"):
            # Alt and a number goes to a mode; Textual's input would take the number for text.
            event.prevent_default()
            return
        if action is None:
            await super()._on_key(event)
            return
        # An action with nothing to do, like copying without a selection, leaves its key to others.
        if await self.app.run_action(action, self):  # pyright: ignore[reportUnknownMemberType]
            event.stop()
            event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        if may_be_paths(event.text):
            self.post_message(self.PathPasted(event.text))
        else:
            self.insert_paste(event.text)

    def _recall(self, from_end: int) -> None:
        if not self._from_end:
            self._draft = self.text
        self._from_end = from_end
        self.put(self.earlier.entries[-from_end] if from_end else self._draft)


def may_be_paths(text: str) -> bool:
    """Tell whether it is worth looking whether a pasted text names files."""
    start = text.strip()[:9]
    return len(text) <= MAX_PATHS_CHARACTERS and start.startswith(
        ("/", "~/", "'/", '"/', "'~", "file:///")
    )


MAX_PATHS_CHARACTERS = 8192
"""A longer paste is text."""
