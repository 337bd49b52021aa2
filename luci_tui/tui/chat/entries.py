"""What the transcript of a chat holds: messages and notices, which outlive their widgets."""

from __future__ import annotations

from dataclasses import replace

from luci_tui.tui.chat.shown import Shown
from luci_tui.tui.widgets.message import (
    REDRAW_S,
    Notice,
    Reply,
    UserMessage,
    cut_text,
)
from luci_tui.tui.widgets.transcript import Entry


def text_rows(text: str, width: int) -> int:
    """Guess how many rows a text takes when it is wrapped."""
    return text.count("\n") + 1 + len(text) // max(1, width)


class NoticeEntry(Entry):
    """A sentence of the app itself."""

    def __init__(self, text: str, *, is_error: bool = False) -> None:
        super().__init__()
        self._text = text
        self._is_error = is_error

    def make(self) -> Notice:
        """Make the widget."""
        return Notice(self._text, is_error=self._is_error)

    def guess_rows(self, width: int) -> int:
        """Guess how tall it is."""
        return 1 + text_rows(self._text, width)


class UserEntry(Entry):
    """What the person said."""

    is_message = True

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self.shown = shown
        self.is_unfolded = False

    def make(self) -> UserMessage:
        """Make the widget."""
        return UserMessage(self.shown.text, is_unfolded=self.is_unfolded)

    def guess_rows(self, width: int) -> int:
        """Guess how tall it is."""
        text, n_left = cut_text(self.shown.text, is_unfolded=self.is_unfolded)
        return 1 + text_rows(text, width) + bool(n_left)


class ReplyEntry(Entry):
    """What the model said; while it grows, its widget has the text.

    Args:
        shown: What is there already; None = it begins to grow.
        is_plain: It is no Markdown.
        redraw_s: Least time between two redraws.
    """

    is_message = True

    def __init__(
        self, shown: Shown | None = None, *, is_plain: bool = False, redraw_s: float = REDRAW_S
    ) -> None:
        super().__init__()
        self.is_kept = shown is None
        self._shown = shown or Shown(is_user=False, text="")
        self._is_plain = is_plain
        self._redraw_s = redraw_s

    @property
    def shown(self) -> Shown:
        """The message as far as it has come."""
        if self.is_kept and isinstance(self.widget, Reply):
            return replace(self._shown, text=self.widget.text, reasoning=self.widget.reasoning)
        return self._shown

    def make(self) -> Reply:
        """Make the widget."""
        whole = None if self.is_kept else self._shown
        reply = Reply(is_plain=self._is_plain, redraw_s=self._redraw_s, whole=whole)
        if whole is not None:
            reply.show_facts(whole.truth, list(whole.marks))
        return reply

    def guess_rows(self, width: int) -> int:
        """Guess how tall it is."""
        shown = self._shown
        facts = bool(shown.reasoning) + bool(shown.truth) + len(shown.marks)
        return 1 + text_rows(shown.text, width) + facts

    def add(self, text: str, reasoning: str) -> None:
        """Take a piece of the answer."""
        self._reply.add(text, reasoning)

    async def finish(self, truth: str, marks: list[str]) -> None:
        """Take in that it is whole, or that nothing follows."""
        await self._reply.finish(truth, marks)
        self._shown = replace(self.shown, truth=truth, marks=tuple(marks))
        self.is_kept = False

    def toggle_thinking(self) -> None:
        """Show or hide the thinking."""
        if isinstance(self.widget, Reply):
            self.widget.toggle_thinking()

    @property
    def _reply(self) -> Reply:
        assert isinstance(self.widget, Reply), "a reply that grows stays drawn"
        return self.widget
