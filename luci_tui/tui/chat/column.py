"""How tall the entries of a transcript are, and so where each begins. Nothing here draws."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate


class Column:
    """Rows of entries that stand below each other; most were never drawn and are only guessed."""

    def __init__(self) -> None:
        self.width = 0
        """Cells for which the rows hold."""
        self._rows: list[int] = []
        self._tops: list[int] | None = None

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self._rows)

    @property
    def total(self) -> int:
        """Rows of all entries."""
        return self._starts()[-1]

    def rows(self, place: int) -> int:
        """Return how tall an entry is."""
        return self._rows[place]

    def top(self, place: int) -> int:
        """Return the row in which an entry begins; the place behind the last is allowed."""
        return self._starts()[place]

    def add(self, rows: Iterable[int]) -> None:
        """Put entries at the end."""
        self._rows.extend(rows)
        self._tops = None

    def cut(self, n_kept: int) -> None:
        """Forget all but the first entries."""
        del self._rows[n_kept:]
        self._tops = None

    def measure(self, place: int, rows: int) -> None:
        """Take in how tall an entry really is."""
        if self._rows[place] != rows:
            self._rows[place] = rows
            self._tops = None

    def set_width(self, width: int, guess: Callable[[int], int]) -> None:
        """Guess all rows anew for another width; `guess` is given places."""
        self.width = width
        self._rows = [guess(place) for place in range(len(self._rows))]
        self._tops = None

    def at(self, row: int) -> int:
        """Return the place of the entry that covers a row, or the one that is nearest."""
        place = bisect_right(self._starts(), row) - 1
        return max(0, min(place, len(self._rows) - 1))

    def between(self, first_row: int, last_row: int) -> range:
        """Return the places of the entries that cover any of these rows."""
        if not self._rows:
            return range(0)
        return range(self.at(first_row), self.at(last_row) + 1)

    def _starts(self) -> list[int]:
        if self._tops is None:
            self._tops = list(accumulate(self._rows, initial=0))
        return self._tops
