"""A chat as the screen shows it: plain records that import nothing, so that they cost no time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class CallShown:
    """A tool that the model asked for."""

    name: str
    arguments: str
    """As the model wrote them; they may be broken off."""


@dataclass(frozen=True)
class LeftOutShown:
    """A run of messages that a prompt did not contain."""

    first_id: str
    last_id: str
    words: str
    """How many they are, how many tokens, and what stands for them."""


@dataclass(frozen=True)
class About:
    """All that is known about an answer."""

    lines: tuple[tuple[str, str], ...] = ()
    """(what, how)."""
    left_out: tuple[LeftOutShown, ...] = ()
    """In the order of the branch."""


@dataclass(frozen=True)
class PictureShown:
    """A picture that goes with a message."""

    place: int
    """Among all pictures and sounds of the message, from 0."""
    width: int
    height: int
    """Pixels."""


@dataclass(frozen=True)
class Shown:
    """One message."""

    is_user: bool
    text: str
    reasoning: str = ""
    truth: str = ""
    marks: tuple[str, ...] = ()
    """Sentences that a reader must not miss."""
    id: str = ""
    """Of the message in its chat; empty = it has none (yet), so nothing can be done with it."""
    siblings: tuple[str, ...] = ()
    """Ids of the message's versions with its own, oldest first; empty = there is only this one."""
    calls: tuple[CallShown, ...] = ()
    answers_call: bool = False
    """It is what a tool gave."""
    is_pinned: bool = False
    rating: int = 0
    """1 = good, -1 = bad, 0 = not rated."""
    rating_note: str = ""
    about: Callable[[], About] | None = None
    """Gives more about it; None = nothing more is known."""
    attached: tuple[str, ...] = ()
    """Of each picture and sound that goes with it: name, size, pixels."""
    pictures: tuple[PictureShown, ...] = ()
    """Those of them that can be drawn."""

    @property
    def version(self) -> int:
        """Which of its versions it is, from 1; 0 = there is only this one."""
        return self.siblings.index(self.id) + 1 if self.id in self.siblings else 0


@dataclass(frozen=True)
class Resumed:
    """A chat that was there before the screen."""

    messages: tuple[Shown, ...]
    is_answering: bool
    """Its last message is the person's, and `follow` gives the answer from its beginning."""
