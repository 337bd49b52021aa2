"""A panel: several perspectives have answered the same request, and one answer is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SYNTHESIS_TITLE: Final = "Synthesis"
SYNTHESIS_TEMPERATURE: Final = 0.3
N_LEAST: Final = 2
"""Fewer views need no synthesis."""
CONTEXT_SHARE: Final = 0.5
"""Part of the context that the views may take with what is said about them; the rest is for the
request and the answer."""
LEAST_VIEW_BYTES: Final = 48
"""What is read of each view, however small the context is."""
BYTES_PER_TOKEN: Final = 3
"""Few texts have more tokens than this gives them."""
UNKNOWN_N_CTX: Final = 4096
_TASK: Final = (
    "Several perspectives have answered the request of the user, each without knowing the others. "
    "Their answers stand below. The user reads yours. Say first what most of them agree on. Then "
    "say where they differ, who holds what, and which side the reasons speak for. Leave out what "
    "only one of them claims without a reason. End with one answer to the request, and with what "
    "stays open. Write in the language of the request, and ascribe nothing to a perspective that "
    "it has not said."
)
_SHORT_TASK: Final = (
    "Below are answers of several perspectives to the request of the user. Say what they agree on, "
    "where they differ, and give one answer."
)
"""For a context that the other one would fill."""


@dataclass(frozen=True)
class View:
    """What one perspective answered."""

    title: str
    text: str


@dataclass(frozen=True)
class Synthesis:
    """The system prompt of the answer that is made of all views."""

    system: str
    n_read: int
    """Characters that were taken of the view that was cut the most; 0 = all views are whole."""


def synthesis(views: Sequence[View], n_ctx: int) -> Synthesis:
    """Write the system prompt; views that are too long for the context are cut at their ends.

    Args:
        views: In the order in which they are to be read.
        n_ctx: Context of the model that reads them; 0 = not known.
    """
    room_bytes = int((n_ctx or UNKNOWN_N_CTX) * CONTEXT_SHARE * BYTES_PER_TOKEN)
    task = _TASK if 2 * len(_TASK) <= room_bytes else _SHORT_TASK
    room_bytes -= len(task) + sum(len(f"## {one.title}".encode()) for one in views)
    share_bytes = max(LEAST_VIEW_BYTES, room_bytes // max(1, len(views)))
    parts = [task]
    n_read = 0
    for view in views:
        text = view.text.strip()
        data = text.encode()
        if len(data) > share_bytes:
            text = data[:share_bytes].decode(errors="ignore")
            n_read = min(n_read or len(text), len(text))
            text += " […]"
        parts.append(f"## {view.title}\n\n{text}")
    return Synthesis("\n\n".join(parts), n_read)
