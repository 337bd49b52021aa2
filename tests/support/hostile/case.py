"""One hostile file and what the validator must say about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A file with one defect."""

    name: str
    content: bytes
    code: str
    """The rule that must find it; "" = any, as for a file cut off at a chance place."""
    is_rejected: bool
    """False = a warning is enough."""


def rejected(name: str, content: bytes, code: str) -> Case:
    """Make a case that must be rejected."""
    return Case(name, content, code, is_rejected=True)


def flagged(name: str, content: bytes, code: str) -> Case:
    """Make a case that must get a warning and may be loaded."""
    return Case(name, content, code, is_rejected=False)
