"""Lines of logs: how bad each is, and how it is shown; no widget is known here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from luci_tui.tui.widgets.rows import Column, Row
from luci_tui.tui.widgets.text import one_line

COLUMNS = (Column("line"),)


class Level(IntEnum):
    """How bad a line is."""

    INFO = 0
    WARNING = 1
    ERROR = 2


LEVEL_WORDS = {
    Level.INFO: "all levels",
    Level.WARNING: "warnings and errors",
    Level.ERROR: "errors alone",
}
_TONES = {Level.INFO: "", Level.WARNING: "warning", Level.ERROR: "error"}
_NAMED = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")
_LEVELS = {
    "DEBUG": Level.INFO,
    "INFO": Level.INFO,
    "WARNING": Level.WARNING,
    "ERROR": Level.ERROR,
    "CRITICAL": Level.ERROR,
}
_HEAD = 64
"""Characters in which a log names its level."""


@dataclass(frozen=True)
class LogLine:
    """One line."""

    number: int
    """Rises by one with every line that was read."""
    level: Level
    text: str
    """Safe for a terminal."""

    def row(self) -> Row:
        """Make its row."""
        return Row(str(self.number), (self.text,), _TONES[self.level])


def line_of(number: int, text: str, before: Level) -> LogLine:
    """Read a line.

    Args:
        number: Which one it is.
        text: As it stands in the file.
        before: Level of the line before, which a line without one goes on with: a traceback
            belongs to its error.
    """
    return LogLine(number, _level_of(text, before), one_line(text.replace("\t", "    ")))


def _level_of(text: str, before: Level) -> Level:
    if text.startswith("{"):
        return Level.ERROR if '"turn_failed"' in text else Level.INFO
    named = _NAMED.search(text, 0, _HEAD)
    if named is None:
        return before if text.startswith((" ", "\t", "Traceback")) else Level.INFO
    return _LEVELS[named[1]]
