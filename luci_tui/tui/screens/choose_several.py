"""A list from which several things are chosen."""

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

_COLUMNS = (Column("", 3), Column("", least=14), Column("", least=20, rank=1))


@dataclass(frozen=True)
class Choice:
    """One line of the list."""

    key: str
    title: str
    detail: str = ""
    stands_for: tuple[str, ...] = ()
    """Keys of the others that it marks together; empty = it is one thing."""


class ChooseSeveralScreen(Steady, ModalScreen[tuple[str, ...]]):
    """Space marks, Enter takes what is marked; gives the keys in the order of the list.

    With nothing marked, Enter takes what the cursor is on.

    Args:
        question: What to choose.
        choices: The list.
        least: Fewest that can be taken.
        most: Most of them.
        marked: Keys that are marked at first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="choose.mark", tooltip="Take it, or not."),
        Binding("slash", "filter", "Filter", id="choose.filter", tooltip="Find by typing."),
        Binding("escape", "leave", "Leave", id="choose.leave", tooltip="Do nothing."),
    ]

    def __init__(
        self,
        question: str,
        choices: Sequence[Choice],
        least: int,
        most: int,
        marked: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._question = question
        self._choices = {one.key: one for one in choices}
        self._least, self._most = least, most
        self._marked = set(marked)
        self._rows = Rows(_COLUMNS, has_header=False)
        self._complaint = Block(id="choose-complaint")

    def compose(self) -> ComposeResult:
        """Lay out question, list, filter and complaint."""
        with Vertical(id="choose-several") as box:
            box.border_subtitle = "Space marks, Enter begins, / finds, Esc leaves."
            yield Static(sanitize(self._question), markup=False)
            yield self._rows
            yield FilterLine()
            yield self._complaint

    def on_mount(self) -> None:
        """Show the list."""
        self._show()
        self._rows.focus()

    def action_mark(self) -> None:
        """Mark what the cursor is on, or take the mark away."""
        choice = self._choices.get(self._rows.key)
        if choice is None:
            return
        if choice.stands_for:
            is_marked = self._is_marked(choice)
            self._marked = set[str]() if is_marked else set(choice.stands_for)
        else:
            self._marked ^= {choice.key}
        self._complaint.say("")
        self._show()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Take what is marked, or say what is wrong with it."""
        message.stop()
        marked = self._marked
        if not marked and (choice := self._choices.get(message.key)) is not None:
            marked = set(choice.stands_for or (choice.key,))
        if self._least <= len(marked) <= self._most:
            self.dismiss(tuple(key for key in self._choices if key in marked))
            return
        span = f"{self._least} to {self._most}"
        n_marked = f"{len(marked)} {'is' if len(marked) == 1 else 'are'} marked"
        self._complaint.say(f"Mark {span} with Space; {n_marked}.")

    def action_filter(self) -> None:
        """Find by typing."""
        self.query_one(FilterLine).open()

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

    def _is_marked(self, choice: Choice) -> bool:
        if choice.stands_for:
            return self._marked == set(choice.stands_for)
        return choice.key in self._marked

    def _show(self) -> None:
        self._rows.set_rows(
            [
                Row(one.key, ("[x]" if self._is_marked(one) else "[ ]", one.title, one.detail))
                for one in self._choices.values()
            ],
            "There is nothing to choose from.",
        )
