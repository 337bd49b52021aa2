"""A question that is answered by choosing from a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from luci_tui.chat.sanitize import sanitize
from luci_tui.tui.screens.steady import Steady
from luci_tui.tui.widgets.rows import Column, Row, Rows
from luci_tui.tui.widgets.text import one_line


@dataclass(frozen=True)
class Option:
    """Something that can be chosen."""

    key: str
    """What is given back."""
    text: str
    note: str = ""
    """What there is to know about it."""


class ChooseScreen(Steady, ModalScreen[tuple[str, ...]]):
    """A list of options; gives the keys of those that were taken, () = nothing is wanted.

    Args:
        question: What is chosen, and what for.
        options: In the order in which they stand.
        chosen: What is marked at first; of a single choice, where the cursor stands.
        is_many: Several may be marked; without a mark the row with the cursor is taken.
        start: Where the cursor stands; empty = with the first that is marked.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", id="choose.leave", tooltip="Do nothing."),
        Binding("space", "mark", "Mark", id="choose.mark", tooltip="Take this one, too."),
    ]

    def __init__(
        self,
        question: str,
        options: Sequence[Option],
        *,
        chosen: Sequence[str] = (),
        is_many: bool = False,
        start: str = "",
    ) -> None:
        super().__init__()
        self._question = question
        self._options = tuple(options)
        self._start = start or (chosen[0] if chosen else "")
        self._marked = {*chosen} if is_many else set[str]()
        self._is_many = is_many

    def compose(self) -> ComposeResult:
        """Lay out the question and the list."""
        with Vertical(id="choose") as box:
            how = "Space marks, Enter takes" if self._is_many else "Enter takes it"
            box.border_subtitle = f"{how}, Esc leaves."
            yield Static(sanitize(self._question), markup=False)
            # A note may be longer than what is chosen, and is what can be done without.
            widest = max((len(one.text) for one in self._options), default=0) + 4
            yield Rows(
                (Column("", min(36, max(12, widest))), Column("", least=8, rank=1)),
                has_header=False,
            )

    def on_mount(self) -> None:
        """Stand where the choice begins."""
        self._show()
        rows = self.query_one(Rows)
        rows.go_to(self._start)
        rows.focus()

    def _show(self) -> None:
        rows = [
            Row(one.key, (self._mark_of(one) + one_line(one.text), one_line(one.note)))
            for one in self._options
        ]
        self.query_one(Rows).set_rows(rows, "There is nothing to choose from.")

    def _mark_of(self, option: Option) -> str:
        if not self._is_many:
            return ""
        return "[x] " if option.key in self._marked else "[ ] "

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Take what is marked, or else the row with the cursor."""
        marked = tuple(one.key for one in self._options if one.key in self._marked)
        self.dismiss(marked or (message.key,))

    def action_mark(self) -> None:
        """Mark the row with the cursor, or take its mark away."""
        if self._is_many:
            self._marked ^= {self.query_one(Rows).key}
            self._show()

    def action_leave(self) -> None:
        """Do nothing."""
        self.dismiss(())
