"""Write files so that a final name never holds half a file, and no half file stays.

What is being written lies in a folder `NAME.part-PID` beside the final name. The process that
writes holds a lock on that folder; the kernel drops the lock with the process, so a folder that
can be locked belongs to nobody any more and may be removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Generator
from pathlib import Path

from luci_tui.errors import EngineError

_PART_NAME = re.compile(r".+\.part-\d+")


class PartFolder:
    """The folder in which the files of one output are made; it is on the same file system."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def commit(self, final_paths: list[Path]) -> None:
        """Give the files their final names; each lies here under the same name.

        They are on the disk before they are named, and the names are on the disk afterwards. A
        set of shards gets the name of its first one last: without it there is no model.

        Raises:
            OSError: a file is missing or cannot be renamed.
        """
        for final in final_paths:
            _sync(self.path / final.name)
        for final in reversed(final_paths):
            (self.path / final.name).replace(final)
        _sync(final_paths[0].parent)


@contextlib.contextmanager
def part_folder(final_path: Path) -> Generator[PartFolder]:
    """Make the folder for an output, locked; remove it with all that is left in it at the end.

    Raises:
        EngineError: the folder cannot be made.
    """
    path = final_path.with_name(f"{final_path.name}.part-{os.getpid()}")
    try:
        lock_fd = _make_locked(path)
    except OSError as error:
        raise EngineError(
            f"{final_path.parent} cannot be written to ({error.strerror}). "
            "Choose another folder, or change its permissions.",
            code="not_writable",
        ) from error
    try:
        yield PartFolder(path)
    finally:
        _remove(path)
        os.close(lock_fd)


def sweep(folder: Path) -> list[Path]:
    """Remove what dead processes left in a folder; says which part folders those were."""
    removed: list[Path] = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if _PART_NAME.fullmatch(path.name) and not path.is_symlink() and path.is_dir():
                removed += [path] if _remove_if_abandoned(path) else []
    return removed


def _make_locked(path: Path) -> int:
    while True:
        path.mkdir(mode=0o755)
        lock_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        # A file system without locks is still written to; what a crash leaves there stays.
        with contextlib.suppress(OSError):
            fcntl.flock(lock_fd, fcntl.LOCK_EX)
        # Another process may have swept it between mkdir and the lock.
        if path.is_dir() and os.path.samestat(path.stat(), os.fstat(lock_fd)):
            return lock_fd
        os.close(lock_fd)


def _remove_if_abandoned(path: Path) -> bool:
    try:
        lock_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(path)
    except OSError:
        return False
    finally:
        os.close(lock_fd)
    return True


def _remove(path: Path) -> None:
    """Remove a part folder and the plain files in it; anything else stays, and so does it."""
    with contextlib.suppress(OSError):
        for file in path.iterdir():
            if file.is_symlink() or not file.is_dir():
                file.unlink()
        path.rmdir()


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
