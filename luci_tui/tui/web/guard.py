"""Who may ask the server of the browser version: a key, a host name, an origin.

A page anywhere can let a browser ask 127.0.0.1, and can point a name of its own there. So every
request has to name this machine, a web socket has to come from a page of this server, and all of
them need the key, which the address has once and a cookie keeps afterwards.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

KEY_NAME = "key"
"""Of the parameter in the address."""
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Asked:
    """What a request says about itself."""

    path: str
    host: str
    """The Host header."""
    origin: str
    """The Origin header; empty = there is none."""
    key: str
    """In the address; empty = there is none."""
    cookie: str
    """Likewise, in the cookie."""


@dataclass(frozen=True)
class Guard:
    """The rules.

    Args:
        key: What the person was told.
    """

    key: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def refuse(self, asked: Asked) -> str:
        """Return why a request is refused, in one sentence; empty = it is not."""
        if _name_of(asked.host) not in LOCAL_NAMES:
            return "luci answers only to 127.0.0.1, localhost and [::1]."
        is_socket = asked.path == "/ws"
        if (asked.origin or is_socket) and asked.origin != f"http://{asked.host}":
            return "luci answers only to its own page."
        if not (self._is_key(asked.cookie) or (asked.key and self._is_key(asked.key))):
            return "The key is missing or wrong: open the whole address that `luci web` printed."
        return ""

    def brings_key(self, asked: Asked) -> bool:
        """Tell whether the address itself has the key, which then moves into a cookie."""
        return bool(asked.key) and self._is_key(asked.key)

    def _is_key(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.key.encode())


def cookie_name(port: int) -> str:
    """Name the cookie; cookies of one host are shared by its ports."""
    return f"luci-{port}"


def headers_for(host: str) -> dict[str, str]:
    """Return the headers of every answer; the terminal in the page sets styles of its own.

    Args:
        host: The Host header of the request; one that is not this machine's counts as none.
    """
    socket = f" ws://{host}" if _name_of(host) in LOCAL_NAMES else ""
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
            f"img-src 'self' data:; font-src 'self'; connect-src 'self'{socket}; "
            "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        ),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
