"""The parameters of a chat: a list with value and source, and what is known about one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message

from luci_tui.tui.keymap import binding
from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.rows import Column, Row, Rows
from luci_tui.tui.widgets.text import one_line

if TYPE_CHECKING:
    from luci_tui.chat.parameters import Value

MAX_SHOWN = 60
"""Characters of a value that are drawn: a system prompt is longer."""
READING = "asking the host …"
_COLUMNS = (
    Column("parameter", 18),
    Column("value", least=6, most=24, is_number=True),
    Column("from", 11),
)


class ParameterPanel(Vertical):
    """List and details; what is to be done is asked for by messages."""

    BINDINGS: ClassVar[list[BindingType]] = [
        binding("parameters.model", "ask('model')"),
        binding("parameters.reset", "ask('reset')"),
        binding("parameters.presets", "ask('presets')"),
        binding("parameters.leave", "ask('leave')"),
    ]

    class Asked(Message):
        """The person wants something done."""

        def __init__(self, action: str, name: str) -> None:
            super().__init__()
            self.action = action
            """"edit", "model", "reset", "presets" or "leave"."""
            self.name = name
            """Of the parameter with the cursor; empty = there is none."""

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[str, Value] = {}
        self._title = Block(classes="parameters-title")
        self._rows = Rows(_COLUMNS)
        self._details = Block(classes="details")

    def compose(self) -> ComposeResult:
        """Lay out title, list and details."""
        yield self._title
        yield self._rows
        yield self._details

    def on_mount(self) -> None:
        """Say that the values come."""
        self._rows.set_rows([], READING)

    def show(self, model: str, values: Sequence[Value]) -> None:
        """Show these values."""
        self._values = {one.parameter.name: one for one in values}
        self._title.say(f"How {one_line(model)} is asked · Enter edits")
        self._rows.set_rows([_row(one) for one in values])
        self._show_details()

    def show_failure(self, sentence: str) -> None:
        """Say why there are no values."""
        self._values = {}
        self._rows.set_rows([], f"This chat has no parameters to show: {one_line(sentence)}")
        self._details.say("")

    def focus(self, scroll_visible: bool = True) -> ParameterPanel:
        """Put the focus on the list."""
        self._rows.focus(scroll_visible)
        return self

    def value_of(self, name: str) -> Value | None:
        """Return a value that is shown."""
        return self._values.get(name)

    def action_ask(self, action: str) -> None:
        """Ask for something to be done with the parameter that the cursor is on."""
        self.post_message(self.Asked(action, self._rows.key))

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Ask for an edit."""
        message.stop()
        self.action_ask("edit")

    def on_rows_moved(self, message: Rows.Moved) -> None:
        """Say something about the parameter with the cursor."""
        message.stop()
        self._show_details()

    def _show_details(self) -> None:
        value = self._values.get(self._rows.key)
        if value is None:
            return
        what = value.parameter
        lines = [f"{what.name} · {what.type_words}", what.meaning]
        if value.others:
            weaker = (f"{source} {_shown(one)}" for source, one in value.others)
            lines.append(f"Else {' · '.join(weaker)}")
        if not what.is_of_model:
            lines.append("Kept for a chat alone.")
        self._details.say("\n".join(lines))


def _row(one: Value) -> Row:
    tone = "muted" if one.source.value == "default" else ""
    return Row(one.parameter.name, (one.parameter.name, _shown(one.value), one.source_words), tone)


def _shown(value: object) -> str:
    from luci_tui.chat.parameters import value_words

    words = one_line(value_words(value))  # pyright: ignore[reportArgumentType]
    if isinstance(value, str) and not words:
        return "none"
    return words if len(words) <= MAX_SHOWN else f"{words[: MAX_SHOWN - 1]}…"
