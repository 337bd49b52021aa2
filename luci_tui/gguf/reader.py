"""A cursor over a GGUF file that never leaves it and never trusts a number in it.

It reads windows with `pread`: a file that shrinks meanwhile gives an error, where a mapping of it
would end the process with SIGBUS. Nothing is allocated from a number in the file.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from luci_tui.errors import GgufError

WINDOW_BYTES: Final = 256 * 1024
"""Bytes that one read fetches; a header of a 32k vocabulary takes about ten."""

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Cursor:
    """Reads little-endian values one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self._window = b""
        self._window_start = 0
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(path, error) from error
        self.size_bytes = os.fstat(self._fd).st_size

    def __enter__(self) -> Self:
        """Give the cursor; leaving the block closes the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        os.close(self._fd)

    def start(self, n_bytes: int) -> bytes:
        """Give the first bytes of the file, fewer where it is shorter; the cursor stays."""
        try:
            return os.pread(self._fd, n_bytes, 0)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def seek(self, offset: int) -> None:
        """Go on at another byte of the file."""
        self.offset = offset

    def skip(self, n_bytes: int) -> None:
        """Step over bytes, which must be there."""
        if n_bytes > self.size_bytes - self.offset:
            raise truncated(self.path, self.size_bytes, self.offset + n_bytes)
        self.offset += n_bytes

    def take(self, n_bytes: int) -> bytes:
        """Read bytes; the caller has bounded their number."""
        start = self.offset
        self.skip(n_bytes)
        begin = start - self._window_start
        if begin < 0 or begin + n_bytes > len(self._window):
            self._fill(start, n_bytes)
            begin = 0
        return self._window[begin : begin + n_bytes]

    def fixed(self, kind: struct.Struct) -> int | float | bool:
        """Read one number."""
        return kind.unpack(self.take(kind.size))[0]

    def u32(self) -> int:
        """Read an unsigned number of 32 bits."""
        return _U32.unpack(self.take(4))[0]

    def u64(self) -> int:
        """Read an unsigned number of 64 bits."""
        return _U64.unpack(self.take(8))[0]

    def text(self, limit_bytes: int, what: str) -> str:
        """Read a string; bytes that are not UTF-8 become U+FFFD."""
        length = self.u64()
        if length > limit_bytes:
            raise self.broken(f"{what} of {length} bytes")
        return self.take(length).decode("utf-8", errors="replace")

    def skip_strings(self, count: int) -> None:
        """Step over an array of strings; a vocabulary has hundreds of thousands of them."""
        unpack_length = _U64.unpack_from
        window, start, offset = self._window, self._window_start, self.offset
        last = len(window) - 8
        for _ in range(count):
            position = offset - start
            if not 0 <= position <= last:
                if offset + 8 > self.size_bytes:
                    raise truncated(self.path, self.size_bytes, offset + 8)
                self._fill(offset, 8)
                window, start, position = self._window, self._window_start, 0
                last = len(window) - 8
            offset += 8 + unpack_length(window, position)[0]
        if offset > self.size_bytes:
            raise truncated(self.path, self.size_bytes, offset)
        self.offset = offset

    def broken(self, what: str) -> GgufError:
        """Make the error for something that no GGUF file has."""
        return GgufError(
            f"{self.path} is damaged: its header has {what}, near byte {self.offset}. "
            "Download the file again.",
            code="malformed_header",
        )

    def _fill(self, start: int, n_bytes: int) -> None:
        """Put a window that begins at `start` in place."""
        wanted = min(max(n_bytes, WINDOW_BYTES), self.size_bytes - start)
        self._window = read_at(self._fd, start, wanted, self.path)
        self._window_start = start


def read_at(fd: int, start: int, n_bytes: int, path: Path) -> bytes:
    """Read exactly `n_bytes` from byte `start` of an open file.

    Raises:
        GgufError: the file has become shorter ("truncated") or cannot be read ("unreadable_file").
    """
    pieces: list[bytes] = []
    n_left = n_bytes
    while n_left:
        try:
            piece = os.pread(fd, n_left, start + n_bytes - n_left)
        except OSError as error:
            raise _unreadable(path, error) from error
        if not piece:
            raise truncated(path, start + n_bytes - n_left, start + n_bytes)
        pieces.append(piece)
        n_left -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def truncated(path: Path, size_bytes: int, needed_bytes: int) -> GgufError:
    """Make the error for a file that ends too early."""
    return GgufError(
        f"{path} is cut off: it has {size_bytes} bytes and needs at least {needed_bytes}. "
        "Resume the download or fetch the file again.",
        code="truncated",
    )


def _unreadable(path: Path, error: OSError) -> GgufError:
    return GgufError(
        f"{path} cannot be read ({error.strerror}). Check its permissions and its disk.",
        code="unreadable_file",
    )
