"""What the mover is told, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


@dataclass(frozen=True)
class Wanted:
    """One file to fetch."""

    url: str
    destination: Path
    """The final name. Beside it lie `NAME.part` and `NAME.part.json` until the file is whole."""
    size_bytes: int | None = None
    """As the hub or the catalogue says; None = the server's Content-Length is believed."""
    sha256: str = ""
    """64 hexadecimal digits; empty = the content cannot be checked, only its length."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Sent to the origin of `url` alone; a redirect to another origin does not get them."""


class Phase(StrEnum):
    """What is being done with a file."""

    REHASHING = "rehashing"
    """The part from an earlier time is read again, so that the sum covers it."""
    DOWNLOADING = "downloading"
    WAITING = "waiting"
    """For the next attempt; `note` says why."""
    PUBLISHING = "publishing"
    """Complete: synced, checked and renamed."""


@dataclass(frozen=True)
class MoveProgress:
    """How far one file is."""

    phase: Phase
    done_bytes: int
    size_bytes: int | None
    rate_bytes_per_s: float = 0.0
    """Over the last seconds; 0 = not known, or nothing arrives."""
    n_retries: int = 0
    """Answers that broke off or were refused for the moment, since the beginning."""
    note: str = ""
    """Why it waits, in one sentence; empty = it does not."""


@dataclass(frozen=True)
class Moved:
    """A file that has its final name."""

    path: Path
    size_bytes: int
    sha256: str
    """Of what was written."""
    received_bytes: int
    """From the network, this time; less than the size where a part was there already."""
    n_retries: int
