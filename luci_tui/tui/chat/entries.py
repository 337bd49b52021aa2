"""What the transcript of a chat holds: messages and notices, which outlive their widgets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from luci_tui.tui.chat.shown import About, PictureShown, Shown
from luci_tui.tui.widgets.message import (
    REDRAW_S,
    Notice,
    Reply,
    UserMessage,
    cut_text,
)
from luci_tui.tui.widgets.picture import PictureView, guess_rows
from luci_tui.tui.widgets.text import one_line
from luci_tui.tui.widgets.transcript import Entry

if TYPE_CHECKING:
    from luci_tui.tui.conversation import Keeper


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


class PictureEntry(Entry):
    """A picture of the message above it, which is read whenever it comes near the view.

    Args:
        picture: Which one.
        read: Gives the file.
    """

    def __init__(self, picture: PictureShown, read: Callable[[], Awaitable[bytes]]) -> None:
        super().__init__()
        self._picture = picture
        self._read = read

    def make(self) -> PictureView:
        """Make the widget."""
        return PictureView(self._read)

    def guess_rows(self, width: int) -> int:
        """Guess how tall it is."""
        del width
        return guess_rows(self._picture.width, self._picture.height)


def pictures_of(shown: Shown, keeper: Keeper | None) -> list[PictureEntry]:
    """Make what shows the pictures of a message that is kept."""
    if keeper is None:
        return []
    return [
        PictureEntry(one, partial(keeper.medium, shown.id, one.place)) for one in shown.pictures
    ]


def facts_of(shown: Shown) -> str:
    """Say what goes with a message, and in one line what was done with it; empty = nothing."""
    facts: list[str] = []
    if shown.version:
        facts.append(f"{shown.version} of {len(shown.siblings)}")
    if shown.is_pinned:
        facts.append("pinned")
    if shown.rating:
        note = f": {one_line(shown.rating_note)}" if shown.rating_note else ""
        facts.append(("good" if shown.rating > 0 else "bad") + note)
    lines = [f"[attached {one_line(words)}]" for words in shown.attached]
    return "\n".join([*lines, " · ".join(facts)] if facts else lines)


class MessageEntry(Entry):
    """A message, whoever said it."""

    is_message = True

    @property
    @abstractmethod
    def shown(self) -> Shown:
        """The message as far as it has come."""

    @abstractmethod
    def change(self, shown: Shown) -> None:
        """Show the message with other facts about it; its text stays."""

    @abstractmethod
    def fold(self) -> None:
        """Show or hide what is folded away."""

    @property
    def verbs(self) -> frozenset[str]:
        """What can be done with it now."""
        verbs = {"copy", "quote"} if self.shown.text else set[str]()
        if self.shown.text and not self.shown.is_user:
            verbs |= {"block", "save"}
        if self.shown.id:
            verbs |= {"again", "pin", "good", "bad", "note", "export"}
        if self.shown.version:
            verbs |= {"before", "after"}
        return frozenset(verbs)


class UserEntry(MessageEntry):
    """What the person said."""

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self._shown = shown
        self._is_unfolded = False

    @property
    def shown(self) -> Shown:
        """The message."""
        return self._shown

    @property
    def verbs(self) -> frozenset[str]:
        """What can be done with it now."""
        verbs = super().verbs
        if self._shown.id:
            verbs |= {"edit"}
        _, n_left = cut_text(self._shown.text, is_unfolded=False)
        return verbs | {"fold"} if n_left else verbs

    def make(self) -> UserMessage:
        """Make the widget."""
        facts = facts_of(self._shown)
        return UserMessage(self._shown.text, facts, is_unfolded=self._is_unfolded)

    def guess_rows(self, width: int) -> int:
        """Guess how tall it is."""
        text, n_left = cut_text(self._shown.text, is_unfolded=self._is_unfolded)
        return 1 + text_rows(text, width) + bool(n_left) + len(facts_of(self._shown).splitlines())

    def change(self, shown: Shown) -> None:
        """Show the message with other facts about it; its text stays."""
        self._shown = shown
        self._show()

    def fold(self) -> None:
        """Show or hide the rest of a long message."""
        self._is_unfolded = not self._is_unfolded
        self._show()

    def _show(self) -> None:
        if isinstance(self.widget, UserMessage):
            self.widget.show(facts_of(self._shown), is_unfolded=self._is_unfolded)


class ReplyEntry(MessageEntry):
    """What the model said; while it grows, its widget has the text.

    Args:
        shown: What is there already; None = it begins to grow.
        is_plain: It is no Markdown.
        redraw_s: Least time between two redraws.
    """

    def __init__(
        self, shown: Shown | None = None, *, is_plain: bool = False, redraw_s: float = REDRAW_S
    ) -> None:
        super().__init__()
        self.is_kept = shown is None
        self._shown = shown or Shown(is_user=False, text="")
        self._is_plain = is_plain
        self._redraw_s = redraw_s
        self._is_thinking_open: bool | None = None

    @property
    def shown(self) -> Shown:
        """The message as far as it has come."""
        if self.is_kept and isinstance(self.widget, Reply):
            return replace(self._shown, text=self.widget.text, reasoning=self.widget.reasoning)
        return self._shown

    @property
    def is_growing(self) -> bool:
        """The answer is still being given."""
        return self.is_kept

    @property
    def verbs(self) -> frozenset[str]:
        """What can be done with it now."""
        shown = self.shown
        verbs = frozenset({"copy", "quote"}) if self.is_growing else super().verbs
        if shown.about is not None:
            verbs |= {"about"}
        return verbs | {"fold"} if shown.reasoning else verbs

    def make(self) -> Reply:
        """Make the widget."""
        whole = None if self.is_growing else self._shown
        if whole is not None and whole.answers_call:
            whole = replace(whole, text=f"= {whole.text}")
        reply = Reply(is_plain=self._is_plain, redraw_s=self._redraw_s, whole=whole)
        reply.is_thinking_open = self._is_thinking_open
        self._show_facts(reply)
        return reply

    def guess_rows(self, width: int) -> int:
        """Guess how tall it is."""
        shown = self._shown
        facts = bool(shown.reasoning) + bool(shown.truth) + len(shown.marks) + len(shown.calls)
        return 1 + text_rows(shown.text, width) + facts + bool(facts_of(shown))

    def add(self, text: str, reasoning: str) -> None:
        """Take a piece of the answer."""
        self._reply.add(text, reasoning)

    def change(self, shown: Shown) -> None:
        """Show the message with other facts about it; its text stays."""
        self._shown = shown
        if isinstance(self.widget, Reply):
            self._show_facts(self.widget)

    async def finish(
        self, truth: str, marks: Iterable[str], about: Callable[[], About] | None = None
    ) -> None:
        """Take in that it is whole, or that nothing follows."""
        await self._reply.finish()
        self._shown = replace(self.shown, truth=truth, marks=tuple(marks), about=about)
        self.is_kept = False
        self._show_facts(self._reply)

    def fold(self) -> None:
        """Show or hide the thinking."""
        if isinstance(self.widget, Reply):
            self._is_thinking_open = self.widget.toggle_thinking()

    def _show_facts(self, reply: Reply) -> None:
        shown = self._shown
        reply.show_calls([f"calls {call.name} {call.arguments}" for call in shown.calls])
        reply.show_facts(shown.truth, list(shown.marks), facts_of(shown))

    @property
    def _reply(self) -> Reply:
        assert isinstance(self.widget, Reply), "a reply that grows stays drawn"
        return self.widget
