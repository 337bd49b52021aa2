"""Identifiers, titles and times of chats and messages."""

from __future__ import annotations

import secrets
import time

MAX_TITLE = 200
"""Longest title."""
AUTOMATIC_TITLE = 60
"""Longest title that is made of the first prompt's words."""

_ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""No letters that look alike."""


def new_id(n_letters: int = 12) -> str:
    """Make an identifier that nobody has, short enough to be typed."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(n_letters))


def now_ms() -> int:
    """Return the time as records hold it."""
    return time.time_ns() // 1_000_000


def automatic_title(prompt: str) -> str:
    """Make a title of the first words of a prompt."""
    words = " ".join(prompt.split())
    if len(words) <= AUTOMATIC_TITLE:
        return words
    cut = words[: AUTOMATIC_TITLE - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + "…"


def clean(text: str) -> str:
    """Replace what is no text (halves of UTF-16 pairs), so that every file can hold it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def tidy_title(text: str) -> str:
    """Make one line that is not too long of a title that somebody typed."""
    return " ".join(clean(text).split())[:MAX_TITLE]
