"""Follow log files: the tail of one, then what is added, also after it was rotated."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

TAIL_BYTES = 1024 * 1024
"""So much of the end of a file is shown."""
MAX_LINE = 2000
"""Characters; a longer line is cut, and says so."""
MAX_FILES = 64


@dataclass
class LogReader:
    """Reads one file from its tail on. Its methods block: for a thread."""

    path: Path
    _position: int = field(default=-1, init=False)
    """-1 = nothing was read yet."""
    _inode: int = field(default=0, init=False)
    _half: bytes = field(default=b"", init=False)
    """A line whose end has not been written yet."""

    def read_new(self) -> tuple[list[str], bool]:
        """Return the lines that came, and whether they are of a file begun anew.

        A file that is not there, or cannot be read, has no lines.
        """
        try:
            with self.path.open("rb") as file:
                return self._read(file.fileno())
        except OSError:
            return [], False

    def _read(self, descriptor: int) -> tuple[list[str], bool]:
        stat = os.fstat(descriptor)
        is_new = stat.st_ino != self._inode or stat.st_size < self._position
        if is_new:
            self._inode, self._half = stat.st_ino, b""
            self._position = max(0, stat.st_size - TAIL_BYTES)
        data = os.pread(descriptor, TAIL_BYTES, self._position)
        is_cut = is_new and self._position > 0
        self._position += len(data)
        *whole, self._half = (self._half + data).split(b"\n")
        self._half = self._half[-TAIL_BYTES:]
        if is_cut and whole:
            # The first one began before the tail.
            del whole[0]
        return [_text(line) for line in whole], is_new


def log_files(folder: Path) -> list[Path]:
    """List the logs: those of luci's processes, then those of the chats, the youngest first."""
    own = sorted(folder.glob("*.log")) if folder.is_dir() else []
    chats = [path for path in (folder / "chats").glob("*.jsonl*") if path.is_file()]
    chats.sort(key=_changed_ns, reverse=True)
    # The host's log is what most people look for.
    own.sort(key=lambda path: path.name != "host.log")
    return [*own, *chats][:MAX_FILES]


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _text(line: bytes) -> str:
    text = line.decode("utf-8", "replace").rstrip("\r")
    if len(text) > MAX_LINE:
        return f"{text[:MAX_LINE]}… ({len(text) - MAX_LINE} more characters)"
    return text
