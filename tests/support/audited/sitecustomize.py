"""Writes down every address that this Python process gives to the network.

Python imports it by itself in each process whose PYTHONPATH begins with this folder. One JSON list
a line, [event, address], goes to the file that LUCI_AUDIT_FILE names.
"""

from __future__ import annotations

import json
import os
import sys
from typing import cast

_ADDRESS_AT = {
    "socket.connect": 1,
    "socket.bind": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
}
_fd = os.open(os.environ["LUCI_AUDIT_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _write(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _ADDRESS_AT:
        return
    address = arguments[_ADDRESS_AT[event]]
    line = json.dumps([event, _plain(address)]) + "\n"
    os.write(_fd, line.encode())


def _plain(address: object) -> object:
    if isinstance(address, bytes):
        return os.fsdecode(address)
    if isinstance(address, tuple):
        return [_plain(part) for part in cast("tuple[object, ...]", address)]
    return address if isinstance(address, str | int | None) else repr(address)


sys.addaudithook(_write)
