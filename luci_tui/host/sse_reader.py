"""Take server-sent events out of a stream of bytes."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

from luci_tui.errors import HostError

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""As long as the longest frame of the engine."""


@dataclass(frozen=True)
class ServerEvent:
    """One event as it came."""

    kind: str
    data: bytes
    seq: int
    """0 = it has no number."""


async def read_events(chunks: AsyncIterable[bytes]) -> AsyncIterator[ServerEvent]:
    """Give the events of a stream that arrives in arbitrary pieces; comments are passed over.

    Raises:
        HostError: an event is longer than MAX_EVENT_BYTES.
    """
    buffer = bytearray()
    searched = 0
    async for chunk in chunks:
        buffer += chunk
        start = 0
        while (end := buffer.find(b"\n\n", max(start, searched))) >= 0:
            event = _parse(bytes(buffer[start:end]))
            start = searched = end + 2
            if event is not None:
                yield event
        if start:
            del buffer[:start]
        searched = max(0, len(buffer) - 1)
        if len(buffer) > MAX_EVENT_BYTES:
            msg = f"The host sent an event of more than {MAX_EVENT_BYTES} bytes. Restart the host."
            raise HostError(msg, code="broken_peer")


def _parse(block: bytes) -> ServerEvent | None:
    kind, data, seq = "message", b"", 0
    for line in block.split(b"\n"):
        name, _, value = line.partition(b": ")
        if name == b"event":
            kind = value.decode()
        elif name == b"data":
            data += value
        elif name == b"id":
            seq = int(value)
    return ServerEvent(kind, data, seq) if data else None
