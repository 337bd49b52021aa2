"""What an answer is wanted to."""

from __future__ import annotations

from dataclasses import dataclass

from luci_tui.tui.chat.entries import MessageEntry, UserEntry
from luci_tui.tui.draft import Draft


@dataclass(frozen=True)
class Ask:
    """A prompt, or another answer to one that is there."""

    draft: Draft | None = None
    """What the person says; None = nothing, see `again`."""
    instead_of: UserEntry | None = None
    """The message of which the prompt is another version."""
    again: MessageEntry | None = None
    """What is answered again."""
