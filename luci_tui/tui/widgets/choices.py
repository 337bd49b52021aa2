"""The list above the prompt that shows how it may go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.message import Message

from luci_tui.tui.widgets.rows import Column, Row, Rows
from luci_tui.tui.widgets.text import one_line

MAX_SHOWN = 8
"""Rows that are seen at once."""
KEYS_LINE = "Up, Down choose · Tab completes · Enter does it · Esc closes"


@dataclass(frozen=True)
class Choice:
    """One way to go on."""

    text: str
    """The whole line with it."""
    title: str
    help: str = ""
    is_whole: bool = False
    """Whether Enter may send the line as it is then."""


class ChoiceList(Rows):
    """Hidden while there is nothing to choose; the prompt keeps the focus."""

    class Completed(Message):
        """The line shall have another text, and be sent if `is_sent`."""

        def __init__(self, text: str, *, is_sent: bool) -> None:
            super().__init__()
            self.text = text
            self.is_sent = is_sent

    def __init__(self) -> None:
        super().__init__((Column("", 26), Column("", rank=1)), id="choices", has_header=False)
        self.can_focus = False
        self.display = False
        self._choices: Sequence[Choice] = ()
        self._typed = ""

    @property
    def is_open(self) -> bool:
        """See `prompt.Choices`."""
        return self.display

    def offer(self, typed: str, choices: Sequence[Choice]) -> None:
        """Show choices for what is typed; none hides the list."""
        self._typed = typed
        self._choices = choices
        self.display = bool(choices)
        rows = [
            Row(str(place), (one_line(one.title), one_line(one.help)))
            for place, one in enumerate(choices)
        ]
        self.set_rows(rows)
        self.action_first()

    def close(self) -> None:
        """Show nothing."""
        self.offer("", ())

    def take_key(self, key: str) -> bool:
        """See `prompt.Choices`."""
        chosen = self._choices[int(self.key)] if self.key else None
        match key:
            case "up" | "down":
                self.action_move(-1 if key == "up" else 1)
            case "escape":
                self.close()
            case "tab" if chosen is not None:
                self.post_message(self.Completed(chosen.text, is_sent=False))
            case "enter" if chosen is not None and not self._is_typed(chosen):
                self.post_message(self.Completed(chosen.text, is_sent=chosen.is_whole))
            case _:
                return False
        return True

    def _is_typed(self, chosen: Choice) -> bool:
        return chosen.is_whole and chosen.text.rstrip() == self._typed.rstrip()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Take what was clicked twice."""
        message.stop()
        self.take_key("tab")
