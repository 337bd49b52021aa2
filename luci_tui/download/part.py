"""The file that is being fetched: `NAME.part`, what is known about it, and its way to its name.

`NAME.part.json` says what the part is a part of. A part is only gone on with if the content that
is wanted is the same: the same sha256, or where none is known the same strong ETag and size of the
same URL. One process at a time holds the lock on the part. Everything here blocks.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from luci_tui.download.messages import Wanted
from luci_tui.errors import DownloadError
from luci_tui.units import format_bytes

_READ_BYTES = 1 << 20
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class PartState(BaseModel):
    """What `NAME.part.json` says."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    size_bytes: int | None
    sha256: str
    etag: str
    """Strong ETag that the bytes came with; empty = none."""
    synced_bytes: int
    """On the disk for certain; what follows is there unless the power was lost."""
    boot_id: str


class PartFile:
    """An open, locked part. Use `open_part`."""

    def __init__(self, wanted: Wanted, fd: int) -> None:
        self.wanted = wanted
        self.part_path, self.state_path = part_paths(wanted.destination)
        self._fd = fd
        self._hash = hashlib.sha256()
        self._synced_bytes = 0
        self.length = 0
        """Bytes that are in it and in its sum."""
        self.size_bytes = wanted.size_bytes
        self.etag = ""

    def kept_bytes(self) -> int:
        """Return how many bytes of an earlier time can be gone on from; the rest is cut off."""
        state = self._read_state()
        length = os.fstat(self._fd).st_size
        if state is None or not self._is_same(state):
            length = 0
        elif state.boot_id != boot_id():
            length = min(length, state.synced_bytes)
        if self.size_bytes is not None and length > self.size_bytes:
            length = 0
        if state is not None and length:
            self.etag = state.etag
            self.size_bytes = self.size_bytes if self.size_bytes is not None else state.size_bytes
        os.ftruncate(self._fd, length)
        return length

    def rehash(self, n_bytes: int, goes_on: Callable[[int], bool]) -> None:
        """Read the first `n_bytes` again, so that the sum covers them.

        Args:
            n_bytes: As `kept_bytes` gives it.
            goes_on: Told the bytes so far; False = end at once, and do not use the part.
        """
        os.lseek(self._fd, 0, os.SEEK_SET)
        while self.length < n_bytes:
            piece = os.read(self._fd, min(_READ_BYTES, n_bytes - self.length))
            if not piece:
                break
            self._hash.update(piece)
            self.length += len(piece)
            if not goes_on(self.length):
                return
        self._synced_bytes = self.length

    def restart(self) -> None:
        """Throw away what is there."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.length = self._synced_bytes = 0

    def append(self, pieces: list[bytes]) -> None:
        """Write bytes and add them to the sum.

        Raises:
            DownloadError: the disk is full or fails; codes "disk_full", "disk". What was written
                before stays.
        """
        for piece in pieces:
            view = memoryview(piece)
            while view:
                n_written = self.write(view)
                self.add_to_sum(view[:n_written])
                view = view[n_written:]

    def write(self, view: memoryview) -> int:
        """Write at least one byte and return how many; `add_to_sum` has to be given them.

        Raises:
            DownloadError: as `append`.
        """
        try:
            n_written = os.write(self._fd, view)
        except OSError as error:
            raise self.disk_error(error) from error
        self.length += n_written
        return n_written

    def add_to_sum(self, view: memoryview) -> None:
        """Add written bytes to the sum, in their order; may run beside `write`."""
        self._hash.update(view)

    @property
    def unsynced_bytes(self) -> int:
        """Bytes that a loss of power might take."""
        return self.length - self._synced_bytes

    def sync(self) -> None:
        """Put everything on the disk and say so in the state.

        Bytes may be appended by another thread meanwhile; those that come then do not count.
        """
        length = self.length
        os.fsync(self._fd)
        self._synced_bytes = length
        state = PartState(
            url=self.wanted.url,
            size_bytes=self.size_bytes,
            sha256=self.wanted.sha256,
            etag=self.etag,
            synced_bytes=length,
            boot_id=boot_id(),
        )
        _replace(self.state_path, state.model_dump_json().encode())

    def publish(self, check: Callable[[Path], None] | None) -> str:
        """Check the whole file, give it its final name, and return its sha256.

        Args:
            check: Looks at the file before it gets its name; a DownloadError of it is passed on.

        Raises:
            DownloadError: codes "size" and "checksum"; the wrong file is kept aside once. Or the
                disk fails.
        """
        found = self._hash.hexdigest()
        if self.size_bytes is not None and self.length != self.size_bytes:
            raise DownloadError(
                f"{self.wanted.destination.name} has {self.length} bytes instead of "
                f"{self.size_bytes}. Try again.",
                code="size",
            )
        if self.wanted.sha256 and found != self.wanted.sha256:
            aside = self._set_aside(found)
            raise DownloadError(
                f"{self.wanted.destination.name} is not what was promised: its sha256 begins with "
                f"{found[:12]} instead of {self.wanted.sha256[:12]}. It is kept as {aside.name}; "
                "try again, and tell the publisher if it happens again.",
                code="checksum",
            )
        try:
            os.fsync(self._fd)
            if check is not None:
                check(self.part_path)
            self.part_path.replace(self.wanted.destination)
            sync_folder(self.wanted.destination.parent)
            self.state_path.unlink(missing_ok=True)
        except OSError as error:
            raise self.disk_error(error) from error
        return found

    def close(self) -> None:
        """Write down how far it is and let go of the lock."""
        with contextlib.suppress(OSError):
            if self.part_path.exists() and os.path.samestat(
                self.part_path.stat(), os.fstat(self._fd)
            ):
                self.sync()
        os.close(self._fd)

    def _is_same(self, state: PartState) -> bool:
        if self.wanted.sha256 or state.sha256:
            return self.wanted.sha256 == state.sha256
        is_same_size = self.wanted.size_bytes in (None, state.size_bytes)
        return bool(state.etag) and state.url == self.wanted.url and is_same_size

    def _read_state(self) -> PartState | None:
        try:
            return PartState.model_validate_json(self.state_path.read_bytes())
        except (OSError, ValidationError):
            return None

    def _set_aside(self, found: str) -> Path:
        """Keep a wrong file under another name, in the place of an earlier one."""
        destination = self.wanted.destination
        for old in destination.parent.glob(f"{_escaped(destination.name)}.corrupt-*"):
            old.unlink(missing_ok=True)
        aside = destination.with_name(f"{destination.name}.corrupt-{found[:8]}")
        self.part_path.replace(aside)
        self.state_path.unlink(missing_ok=True)
        return aside

    def disk_error(self, error: OSError) -> DownloadError:
        """Say what the disk refused; codes "disk_full" and "disk"."""
        name = self.wanted.destination.name
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DownloadError(
                f"The disk is full after {format_bytes(self.length)} of {name}. "
                "Make room; the download then goes on from there.",
                code="disk_full",
            )
        return DownloadError(
            f"{name} cannot be written ({error.strerror}). Check the folder "
            f"{self.wanted.destination.parent} and the disk.",
            code="disk",
        )


def part_paths(destination: Path) -> tuple[Path, Path]:
    """Return the names of a file's part and of its state."""
    part = destination.with_name(destination.name + ".part")
    return part, part.with_name(part.name + ".json")


def open_part(wanted: Wanted) -> PartFile:
    """Open the part of a file, or a new one, and lock it.

    Raises:
        DownloadError: another process fetches it, or the folder cannot be written; codes "busy"
            and "disk".
    """
    part_path, _ = part_paths(wanted.destination)
    try:
        part_path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            fd = os.open(part_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The one who held it may have published it in between: then this is no part now.
                if part_path.exists() and os.path.samestat(part_path.stat(), os.fstat(fd)):
                    return PartFile(wanted, fd)
            except BlockingIOError as error:
                os.close(fd)
                raise DownloadError(
                    f"{wanted.destination.name} is being downloaded by another process. "
                    "Wait for it, or end it.",
                    code="busy",
                ) from error
            os.close(fd)
    except OSError as error:
        raise DownloadError(
            f"{part_path} cannot be opened ({error.strerror}). Check the folder's permissions.",
            code="disk",
        ) from error


def discard(destination: Path) -> None:
    """Remove what is there of a file that is not wanted any more."""
    for path in part_paths(destination):
        path.unlink(missing_ok=True)


def boot_id() -> str:
    """Return what is different after each start of the machine; empty = not known."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _replace(path: Path, data: bytes) -> None:
    """Write a small file so that a crash leaves the old one or the new one."""
    new = path.with_name(path.name + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    new.replace(path)


def sync_folder(path: Path) -> None:
    """Put the names in a folder on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
