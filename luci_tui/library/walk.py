"""Look through folders for model files, within bounds: depth, number of entries, no loops."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MAX_DEPTH: Final = 8
"""Folders below the one that is looked through."""
MAX_ENTRIES: Final = 50_000
"""Names that are looked at; a folder with more is named in `Walk.cut`."""

_MAX_INT: Final = 2**63 - 1
"""Some file systems have larger inodes than SQLite has numbers."""


@dataclass(frozen=True)
class FileEntry:
    """One file that may be a model."""

    path: Path
    size_bytes: int
    mtime_ns: int
    inode: int


@dataclass
class Walk:
    """What was looked at."""

    folders: dict[Path, int] = field(default_factory=dict[Path, int])
    """When each changed last, in ns: it does when a name in it comes or goes."""
    cut: Path | None = None
    """The folder at which it was given up, for there are too many names; None = none."""
    n_entries: int = 0


def walk_models(
    root: Path, walk: Walk, *, max_depth: int = MAX_DEPTH, suffix: str = ".gguf"
) -> Iterator[tuple[Path, list[FileEntry]]]:
    """Give each folder below `root` that has files with the suffix, and these, by name.

    A link to a file counts as the file, a link to a folder as the folder, each folder once. Names
    that begin with a dot are left out, and so is what cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        files, below = _look_at(folder, walk, seen, suffix)
        if files:
            yield folder, files
        if depth < max_depth:
            waiting += [(path, depth + 1) for path in reversed(below)]


def list_models(folder: Path, walk: Walk) -> list[FileEntry]:
    """Give the model files right in one folder, by name."""
    return _look_at(folder, walk, set(), ".gguf")[0]


def list_folders(folder: Path, walk: Walk) -> list[Path]:
    """Give the folders right in one folder, by name."""
    return _look_at(folder, walk, set(), "\0")[1]


def _look_at(
    folder: Path, walk: Walk, seen: set[tuple[int, int]], suffix: str
) -> tuple[list[FileEntry], list[Path]]:
    files: list[FileEntry] = []
    below: list[Path] = []
    try:
        facts = folder.stat()
        if (facts.st_dev, facts.st_ino) in seen:
            return [], []
        seen.add((facts.st_dev, facts.st_ino))
        # Noted before the names are read: what comes in between is seen next time.
        walk.folders[folder] = facts.st_mtime_ns
        with os.scandir(folder) as entries:
            for entry in entries:
                if walk.n_entries >= MAX_ENTRIES:
                    walk.cut = walk.cut or folder
                    break
                walk.n_entries += 1
                _sort_in(entry, suffix, files, below)
    except OSError:
        return [], []
    files.sort(key=lambda one: one.path.name)
    below.sort()
    return files, below


def _sort_in(
    entry: os.DirEntry[str], suffix: str, files: list[FileEntry], below: list[Path]
) -> None:
    name = entry.name
    if name.startswith("."):
        return
    try:
        if name.lower().endswith(suffix):
            facts = entry.stat()
            if stat.S_ISREG(facts.st_mode):
                path = Path(entry.path)
                inode = facts.st_ino & _MAX_INT
                files.append(FileEntry(path, facts.st_size, facts.st_mtime_ns, inode))
                return
        if entry.is_dir():
            below.append(Path(entry.path))
    except OSError:  # a link to nothing, or it went away
        return
