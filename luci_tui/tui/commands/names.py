"""Which words are names of models: those on this machine, and those of the catalogue."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from luci_tui.errors import LuciError

FRESH_S = 30.0
"""Names are read again after so long; looking through folders takes a moment."""


@dataclass(frozen=True)
class Names:
    """All names at one moment."""

    installed: tuple[str, ...]
    """Those that can be talked to."""
    others: frozenset[str]
    """Other names for these, and models of the catalogue that are not here."""


class KnownNames:
    """Reads the names when they are needed; its methods block.

    Args:
        read: Gives the names; None = the library of this machine.
    """

    def __init__(self, read: Callable[[], Names] | None = None) -> None:
        self._read = read or read_names
        self._names = Names((), frozenset())
        self._read_at_s = float("-inf")

    def installed(self) -> tuple[str, ...]:
        """Give the names of the models that can be talked to."""
        return self._fresh().installed

    def is_model(self, word: str) -> bool:
        """Tell whether a word is the name of a model."""
        names = self._fresh()
        return word in names.installed or word in names.others

    def _fresh(self) -> Names:
        now_s = time.monotonic()
        if now_s - self._read_at_s > FRESH_S:
            self._names = self._read()
            self._read_at_s = now_s
        return self._names


def read_names() -> Names:
    """Look through the folders of this machine and the catalogue."""
    # These take longer to import than a first frame may take.
    from luci_tui.library.lookup import missing_entries
    from luci_tui.library.store import Library

    try:
        library = Library(with_foreign=False)
        missing = missing_entries(library)
    except LuciError:
        # What is wrong there, the Models mode says.
        return Names(("builtin",), frozenset())
    aliases = {alias for model in library.models for alias in model.aliases}
    installed = dict.fromkeys(("builtin", *(model.name for model in library.models)))
    return Names(tuple(installed), frozenset(aliases | {entry.name for entry in missing}))
