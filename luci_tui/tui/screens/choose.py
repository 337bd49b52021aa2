"""A question that is answered by choosing from a list: one thing, or several."""

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
from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.filter_line import FilterLine
from luci_tui.tui.widgets.rows import Column, Row, Rows
from luci_tui.tui.widgets.text import one_line

WIDEST = 36
"""Cells of what is chosen where there is a note beside it, which has the rest."""


@dataclass(frozen=True)
class Option:
    """Something that can be chosen."""

    key: str
    """What is given back."""
    text: str
    note: str = ""
    """What there is to know about it."""
    stands_for: tuple[str, ...] = ()
    """Keys of the others that it marks together; empty = it is one thing."""


class ChooseScreen(Steady, ModalScreen[tuple[str, ...]]):
    """A list of options; gives the keys of those that were taken, () = nothing is wanted.

    With nothing marked, Enter takes what the cursor is on.

    Args:
        question: What is chosen, and what for.
        options: In the order in which they stand.
        chosen: What is marked at first; of a single choice, where the cursor stands.
        least: Fewest that can be taken.
        most: Most of them; more than one = Space marks.
        start: Where the cursor stands; empty = with the first that is marked.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="choose.mark", tooltip="Take this one, or not."),
        Binding("slash", "filter", "Filter", id="choose.filter", tooltip="Find by typing."),
        Binding("escape", "leave", "Leave", id="choose.leave", tooltip="Do nothing."),
    ]

    def __init__(
        self,
        question: str,
        options: Sequence[Option],
        *,
        chosen: Sequence[str] = (),
        least: int = 1,
        most: int = 1,
        start: str = "",
    ) -> None:
        super().__init__()
        self._question = question
        self._options = {one.key: one for one in options}
        self._least, self._most = least, most
        self._start = start or (chosen[0] if chosen else "")
        self._marked = {*chosen} if most > 1 else set[str]()
        self._rows = Rows(self._columns(), has_header=False)
        self._complaint = Block(id="choose-complaint")

    def compose(self) -> ComposeResult:
        """Lay out question, list, filter and complaint."""
        with Vertical(id="choose") as box:
            how = "Space marks, Enter takes" if self._most > 1 else "Enter takes it"
            box.border_subtitle = f"{how}, / finds, Esc leaves."
            yield Static(sanitize(self._question), markup=False)
            yield self._rows
            yield FilterLine()
            yield self._complaint

    def on_mount(self) -> None:
        """Stand where the choice begins."""
        self._show()
        self._rows.go_to(self._start)
        self._rows.focus()

    def _columns(self) -> tuple[Column, ...]:
        marks = (Column("", 3),) if self._most > 1 else ()
        if not any(one.note for one in self._options.values()):
            return (*marks, Column("", least=12))
        widest = max(len(one.text) for one in self._options.values())
        return (*marks, Column("", min(WIDEST, max(12, widest))), Column("", least=8, rank=1))

    def _show(self) -> None:
        rows = [Row(one.key, self._cells(one)) for one in self._options.values()]
        self._rows.set_rows(rows, "There is nothing to choose from.")

    def _cells(self, one: Option) -> tuple[str, ...]:
        mark = ("[x]" if self._is_marked(one) else "[ ]",) if self._most > 1 else ()
        return (*mark, one_line(one.text), one_line(one.note))[: len(self._columns())]

    def _is_marked(self, one: Option) -> bool:
        return self._marked == {*one.stands_for} if one.stands_for else one.key in self._marked

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Take what is marked, or say what is wrong with it."""
        message.stop()
        marked = self._marked
        if not marked and (one := self._options.get(message.key)) is not None:
            marked = {*(one.stands_for or (one.key,))}
        if self._least <= len(marked) <= self._most:
            self.dismiss(tuple(key for key in self._options if key in marked))
            return
        n_marked = f"{len(marked)} {'is' if len(marked) == 1 else 'are'} marked"
        self._complaint.say(f"Mark {self._least} to {self._most} with Space; {n_marked}.")

    def action_mark(self) -> None:
        """Mark what the cursor is on, or take the mark away."""
        one = self._options.get(self._rows.key)
        if one is None or self._most == 1:
            return
        if one.stands_for:
            self._marked = set[str]() if self._is_marked(one) else {*one.stands_for}
        else:
            self._marked ^= {one.key}
        self._complaint.say("")
        self._show()

    def action_filter(self) -> None:
        """Find by typing."""
        self.query_one(FilterLine).open()
        self._rows.prepare_filter()

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        """Show only what holds the words."""
        self._rows.set_filter(message.text)
        self.query_one(FilterLine).show_count(self._rows.n_shown, self._rows.n_all)

    def on_filter_line_left(self) -> None:
        """Go back to the list."""
        self._rows.focus()

    def action_leave(self) -> None:
        """Do nothing."""
        self.dismiss(())
