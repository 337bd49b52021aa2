"""What a check of `luci doctor` has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    """luci works, less well than it could."""
    PROBLEM = "problem"
    """Something does not work."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str
    level: Level
    text: str
    """What was found, and what to do where it is no good."""
