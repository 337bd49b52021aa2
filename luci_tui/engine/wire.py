"""Frames on a byte stream: four bytes of length (little-endian, unsigned), then that many bytes.

This module knows nothing of what is inside a frame; `frames.py` does.
"""

from __future__ import annotations

import struct

from luci_tui.engine.frames import MAX_FRAME_BYTES
from luci_tui.errors import EngineError

_LENGTH = struct.Struct("<I")
HEADER_BYTES = _LENGTH.size


class BrokenFrameError(EngineError):
    """The peer sent bytes that are no frame; nothing after them can be trusted."""

    code = "broken_frame"


def encode(payload: bytes) -> bytes:
    """Put one message into a frame.

    Raises:
        BrokenFrameError: the payload is empty or longer than MAX_FRAME_BYTES.
    """
    _check_length(len(payload))
    return _LENGTH.pack(len(payload)) + payload


class FrameDecoder:
    """Cuts a stream that arrives in arbitrary pieces back into payloads."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the payloads that are complete now, oldest first.

        Raises:
            BrokenFrameError: a length is 0 or above MAX_FRAME_BYTES; the decoder is of no use
                from then on. It is raised as soon as the length is known, so a broken peer
                cannot make this side collect gigabytes.
        """
        buffer = self._buffer
        buffer += data
        payloads: list[bytes] = []
        start = 0
        while len(buffer) - start >= HEADER_BYTES:
            (length,) = _LENGTH.unpack_from(buffer, start)
            _check_length(length)
            end = start + HEADER_BYTES + length
            if len(buffer) < end:
                break
            payloads.append(bytes(buffer[start + HEADER_BYTES : end]))
            start = end
        if start:
            del buffer[:start]
        return payloads

    def finish(self) -> None:
        """Say that the stream has ended.

        Raises:
            BrokenFrameError: it ended inside a frame.
        """
        if self._buffer:
            raise BrokenFrameError(
                f"The stream ended inside a frame, after {len(self._buffer)} bytes of it. "
                "The process that sent it died while writing."
            )


def _check_length(length: int) -> None:
    if 0 < length <= MAX_FRAME_BYTES:
        return
    raise BrokenFrameError(
        f"A frame of {length} bytes is not allowed; the limit is 1 to {MAX_FRAME_BYTES}. "
        "Send less at once, or restart the worker if it sent this."
    )
