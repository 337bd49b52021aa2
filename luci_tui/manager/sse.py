"""Read server-sent events out of bytes, however they are cut."""

from __future__ import annotations

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""A longer event is a broken server, not an answer."""


class BrokenStreamError(ValueError):
    """The bytes are no stream of events."""


class EventReader:
    """Takes bytes as they come and gives the data of each event that is complete."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._rest = b""
        """The beginning of a line whose end has not come."""
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, chunk: bytes) -> list[str]:
        """Give the data of the events that end in `chunk`.

        Raises:
            BrokenStreamError: an event is longer than allowed, or no UTF-8.
        """
        # A carriage return alone may end a line too, but no server of these APIs writes that.
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) + self._data_bytes > self._max_event_bytes:
            msg = f"an event of more than {self._max_event_bytes} bytes"
            raise BrokenStreamError(msg)
        found: list[str] = []
        for line in lines:
            found += self._take(line.rstrip(b"\r"))
        return found

    def _take(self, line: bytes) -> list[str]:
        if not line:
            data, self._data, self._data_bytes = self._data, [], 0
            return [_decoded(b"\n".join(data))] if data else []
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
            self._data_bytes += len(value)
            if self._data_bytes > self._max_event_bytes:
                msg = f"an event of more than {self._max_event_bytes} bytes"
                raise BrokenStreamError(msg)
        return []


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = "an event that is no UTF-8"
        raise BrokenStreamError(msg) from error
