"""What the commands print: data to stdout, narration to stderr."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping

from luci_tui.chat.sanitize import Sanitizer, sanitize


def print_json(value: Mapping[str, object] | list[object]) -> None:
    """Print one JSON document as data; on a terminal in ASCII, which no terminal acts on."""
    is_terminal = sys.stdout.isatty()
    sys.stdout.write(json.dumps(value, ensure_ascii=is_terminal, indent=2) + "\n")


def print_line(text: str) -> None:
    """Print one line of data, without control characters that a file may have put into it."""
    sys.stdout.write(sanitize(text) + "\n")


def narrate(text: str) -> None:
    """Tell the person something that is not data."""
    sys.stdout.flush()
    sys.stderr.write(sanitize(text) + "\n")
    sys.stderr.flush()


def name_columns(text: str) -> None:
    """Name the columns of a table for a person: what reads the data from a pipe gets them not."""
    if sys.stdout.isatty():
        print_line(text)


class Progress:
    """One line on stderr that is written over; silent if stderr is no terminal."""

    def __init__(self) -> None:
        self.is_shown = sys.stderr.isatty()
        self._n_columns = 0

    def show(self, text: str) -> None:
        """Replace the line; names from files may hold control characters, which go."""
        if not self.is_shown:
            return
        # A line that the terminal has to break could not be written over.
        text = _fitted(sanitize(text), _terminal_columns() - 1)
        sys.stderr.write("\r" + text.ljust(self._n_columns))
        sys.stderr.flush()
        self._n_columns = len(text)

    def clear(self) -> None:
        """Take the line away."""
        if self._n_columns:
            sys.stderr.write("\r" + " " * self._n_columns + "\r")
            sys.stderr.flush()
            self._n_columns = 0


def _fitted(text: str, width: int) -> str:
    """Leave out what is too much in the first half, where names stand; the figures follow them."""
    if len(text) <= width:
        return text
    n_head = width // 3
    n_tail = max(0, width - n_head - 1)
    return f"{text[:n_head]}…{text[len(text) - n_tail :]}"[:width]


def _terminal_columns() -> int:
    return shutil.get_terminal_size().columns


class ModelText:
    """Model text on stdout: as it is into a pipe, without control characters on a terminal."""

    def __init__(self) -> None:
        self._sanitizer = Sanitizer() if sys.stdout.isatty() else None
        self._ends_line = True

    def write(self, text: str) -> None:
        """Print a piece of text at once."""
        shown = self._sanitizer.feed(text) if self._sanitizer else text
        if not shown:
            return
        # Text is bytes to the reader of a pipe: no character may stop it.
        sys.stdout.buffer.write(shown.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()
        self._ends_line = shown.endswith("\n")

    def end(self) -> None:
        """End the last line if the model did not."""
        if not self._ends_line:
            self.write("\n")


class Thoughts:
    """A model's thinking on stderr, if that is a terminal."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._sanitizer = Sanitizer()
        self._is_open = False

    def write(self, text: str) -> None:
        """Print a piece of it."""
        if not text or not self._is_shown:
            return
        if not self._is_open:
            sys.stderr.write("thinking: ")
        self._is_open = True
        sys.stderr.write(self._sanitizer.feed(text))
        sys.stderr.flush()

    def end(self) -> None:
        """End its line, before something else is printed."""
        if self._is_open:
            self._is_open = False
            narrate("")
