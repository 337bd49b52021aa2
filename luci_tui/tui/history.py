"""The prompts that were sent before, kept in a file of the person's own.

Each line of the file is one prompt as a JSON string, the oldest first. Several screens may write
to it at once. Everything that touches the file blocks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from luci_tui.whole_file import locked, write_whole

MAX_ENTRIES = 1000
"""Prompts that are kept; the oldest go first."""
MAX_ENTRY_CHARACTERS = 16 * 1024
"""A longer prompt, such as one with a long paste, is kept in memory alone."""
MAX_FILE_BYTES = 4 * 1024 * 1024
"""A file of more is written anew with what counts of it."""
MAX_READ_BYTES = 4 * MAX_FILE_BYTES
"""Of a file that somebody else has made long, only the end is read."""
FILE_NAME = "history.jsonl"


class PromptHistory:
    """Earlier prompts, the oldest first.

    Args:
        file: Where they are kept; None = only in memory.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self.entries: list[str] = []

    def add(self, typed: str) -> None:
        """Remember a prompt as it stood in the input line."""
        if not self.entries or self.entries[-1] != typed:
            self.entries = [*self.entries, typed][-MAX_ENTRIES:]

    def load(self) -> None:
        """Put what the file holds before what was sent meanwhile.

        Raises:
            OSError: the file cannot be read.
        """
        if self._file is not None:
            self.entries = [*_read(self._file), *self.entries][-MAX_ENTRIES:]

    def keep(self, whole: str) -> None:
        """Write a prompt, with all that was pasted into it, to the end of the file.

        Raises:
            OSError: the file cannot be written.
        """
        if self._file is None or len(whole) > MAX_ENTRY_CHARACTERS:
            return
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = json.dumps(whole) + "\n"
        with locked(self._file):
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "a", encoding="ascii") as file:
                file.write(line)
                n_bytes = file.tell()
            if n_bytes > MAX_FILE_BYTES:
                self._shorten(self._file)

    def _shorten(self, file: Path) -> None:
        entries = _read(file)
        lines = [json.dumps(one) + "\n" for one in entries]
        while sum(map(len, lines)) > MAX_FILE_BYTES // 2:
            lines = lines[len(lines) // 2 :]
        write_whole(file, "".join(lines))


def _read(file: Path) -> list[str]:
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - MAX_READ_BYTES))
            lines = opened.read(MAX_READ_BYTES).split(b"\n")
    except FileNotFoundError:
        return []
    found: list[str] = []
    for line in lines[-2 * MAX_ENTRIES :]:
        try:
            entry: object = json.loads(line)
        except ValueError:  # a line that a crash has cut, or that somebody has written
            continue
        is_usable = isinstance(entry, str) and 0 < len(entry) <= MAX_ENTRY_CHARACTERS
        if is_usable and found[-1:] != [entry]:
            found.append(str(entry))
    return found[-MAX_ENTRIES:]
