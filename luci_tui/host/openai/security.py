"""What a request must pass before it is routed: Host, Origin, key, content type, size, JSON.

A pure ASGI middleware around the whole app, so that no route can be reached past it.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import re
import time

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from luci_tui.host.openai import watch
from luci_tui.host.openai.body import ClientGoneError, parse_object, read_body
from luci_tui.host.openai.errors import RETRY_AFTER_S, ApiError, body_for
from luci_tui.host.openai.services import Services

OPEN_PATHS = frozenset({"/health"})
"""The only paths that need no key."""

CLIENT_GONE = 499
"""Counted for a client that left before its answer. Source: nginx's own status code."""

_LOOPBACK_NAMES = ("127.0.0.1", "[::1]", "localhost")
_LOOPBACK_ORIGIN = re.compile(r"https?://(?:127\.0\.0\.1|\[::1\]|localhost)(?::\d{1,5})?")
_BODILESS_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_KNOWN_METHODS = _BODILESS_METHODS | {"POST"}
_READ_HEADERS = ", ".join(
    [
        "authorization, content-type, x-api-key, user-agent, idempotency-key",
        "anthropic-version, anthropic-beta, anthropic-dangerous-direct-browser-access",
        "openai-organization, openai-project, openai-beta",
        "x-stainless-lang, x-stainless-package-version, x-stainless-os, x-stainless-arch",
        "x-stainless-runtime, x-stainless-runtime-version, x-stainless-retry-count",
        "x-stainless-timeout, x-stainless-helper-method",
    ]
).encode()
"""What OpenAI's and Anthropic's clients send from within a page; a browser asks about each."""
_PREFLIGHT_HEADERS = [
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", _READ_HEADERS),
    (b"access-control-max-age", b"600"),
    (b"content-length", b"0"),
]

logger = logging.getLogger(__name__)


def client_of(request: Request, user: str | None = None) -> str:
    """Return whose turn a request uses in the fair queue.

    That is the key it showed and the address it came from; a request that names its `user` (or
    `safety_identifier`) is counted for that user.
    """
    client = request.scope.get("luci.client", "")
    if not user:
        return client
    return f"{client}/{hashlib.sha256(user.encode(errors='replace')).hexdigest()[:16]}"


def owner_of(request: Request) -> str:
    """Return whose key was shown, as `KeyRing.client_of` names it; "" = none was needed."""
    return request.scope.get("luci.owner", "")


class Guard:
    """The middleware; see the module.

    Args:
        app: What lies behind it.
        services: Limits, keys and counters.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services
        self._settings = services.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request and run the app for it."""
        if scope["type"] != "http":
            raise RuntimeError(f"the API server speaks no {scope['type']}")
        headers = Headers(scope)
        started = time.perf_counter()
        response = watch.Response(send)
        try:
            await self._handle(scope, headers, receive, response)
        except ApiError as error:
            await _refuse(scope["path"], error, response)
        except ClientGoneError:
            response.status = response.status or CLIENT_GONE
        except asyncio.CancelledError:
            # Nothing but the server's `stop` cancels a request from outside.
            msg = "The server is being stopped. Try again later."
            stopped = ApiError(503, "shutting_down", msg, retry_after_s=RETRY_AFTER_S)
            await _refuse(scope["path"], stopped, response)
        self._count(scope, response.status, time.perf_counter() - started)

    async def _handle(
        self, scope: Scope, headers: Headers, receive: Receive, response: watch.Response
    ) -> None:
        self._check_host(scope, headers)
        cors = self._check_origin(headers)
        response.headers.extend(cors)
        if scope["method"] == "OPTIONS" and cors:
            await response.send(
                {"type": "http.response.start", "status": 204, "headers": _PREFLIGHT_HEADERS}
            )
            await response.send({"type": "http.response.body", "body": b""})
            return
        if scope["method"] not in _KNOWN_METHODS:
            raise ApiError(
                405, "method_not_allowed", "The method is none of GET, POST and DELETE. Use one."
            )
        owner = self._check_key(scope, headers)
        peer = scope.get("client")
        address = str(peer[0]) if peer else ""
        scope["luci.owner"] = owner
        scope["luci.client"] = f"{owner}@{address}" if owner else address
        body = await self._read(scope, headers, receive)
        await watch.run_watched(self._app, scope, body, receive, response)

    def _check_host(self, scope: Scope, headers: Headers) -> None:
        """Refuse a page that has its own name point here (DNS rebinding)."""
        hosts = headers.all(b"host")
        port: int = scope["server"][1]
        if len(hosts) == 1 and self._is_own(hosts[0].lower(), port):
            return
        raise ApiError(
            403,
            "host_not_allowed",
            "The Host header is none of this server's names. "
            "Use its address, or allow the name with --host-name.",
        )

    def _is_own(self, host: str, port: int) -> bool:
        names = {f"{name}:{port}" for name in _LOOPBACK_NAMES}
        if port == 80:
            names.update(_LOOPBACK_NAMES)
        address = ipaddress.ip_address(self._settings.host) if _is_ip(self._settings.host) else None
        if address is not None and not address.is_unspecified:
            shown = f"[{address}]" if address.version == 6 else str(address)
            names.add(f"{shown}:{port}")
        for name in self._settings.host_names:
            if re.fullmatch(re.escape(name.lower()) + r"(:\d{1,5})?", host):
                return True
        return host in names

    def _check_origin(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Refuse pages of other origins; return the headers that let an allowed one read."""
        origins = headers.all(b"origin")
        if not origins:
            return []
        origin = origins[0]
        is_allowed = _LOOPBACK_ORIGIN.fullmatch(origin) or origin in self._settings.origins
        if len(origins) > 1 or not is_allowed:
            raise ApiError(
                403,
                "origin_not_allowed",
                "Pages of this origin may not call this server. Allow it with --origin.",
            )
        return [(b"access-control-allow-origin", origin.encode()), (b"vary", b"Origin")]

    def _check_key(self, scope: Scope, headers: Headers) -> str:
        """Return a name for the key that is shown; "" = none is needed."""
        if scope["path"] in OPEN_PATHS or not self._settings.require_key:
            return ""
        client = self._services.keys.client_of(headers.key())
        if client is None:
            raise ApiError(
                401,
                "invalid_api_key",
                "The API key is missing or wrong. Send it as `Authorization: Bearer <key>`; "
                "`luci serve` says where the key lies.",
            )
        return client

    async def _read(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        """Return the body, once it is known to be JSON; its object is left in the scope."""
        if scope["method"] in _BODILESS_METHODS:
            if headers.n_body_bytes() != 0:
                raise ApiError(400, "unexpected_body", f"{scope['method']} takes no body.")
            return b""
        headers.require_json()
        body = await read_body(
            receive,
            declared_bytes=headers.n_body_bytes(),
            max_bytes=self._settings.max_body_bytes,
            timeout_s=self._settings.body_timeout_s,
        )
        scope["luci.json"] = await parse_object(body, self._settings.max_json_depth)
        if self._settings.log_prompts:
            logger.info("%s %s", scope["path"], body.decode(errors="replace"))
        return body

    def _count(self, scope: Scope, status: int, elapsed_s: float) -> None:
        # Only the pattern of a route is counted and logged: a path may hold anything.
        path = str(getattr(scope.get("route"), "path", "other"))
        metrics = self._services.metrics
        metrics.requests.labels(path, str(status)).inc()
        metrics.request_seconds.labels(path).observe(elapsed_s)
        logger.info("%s %s %d %.0f ms", scope["method"], path, status, elapsed_s * 1000)


class Headers:
    """The headers of one request, every one of them: a repeated one is not hidden."""

    def __init__(self, scope: Scope) -> None:
        self._pairs: list[tuple[bytes, bytes]] = scope["headers"]

    def all(self, name: bytes) -> list[str]:
        """Return the values of a header, in order."""
        return [value.decode("latin-1") for found, value in self._pairs if found == name]

    def key(self) -> bytes:
        """Return the API key that was shown; empty = none, or more than one."""
        shown = [
            value.partition(" ")[2].strip()
            for value in self.all(b"authorization")
            if value.partition(" ")[0].lower() == "bearer"
        ]
        shown += self.all(b"x-api-key")
        # Both headers with one key are fine: some clients send both.
        return shown[0].encode("latin-1") if len(set(shown)) == 1 else b""

    def n_body_bytes(self) -> int | None:
        """Return how long the body is said to be; None = it comes in chunks."""
        if self.all(b"transfer-encoding"):
            return None
        lengths = self.all(b"content-length")
        return int(lengths[0]) if lengths else 0

    def require_json(self) -> None:
        """Refuse what a form on a foreign page could send, and what would have to be unpacked.

        Raises:
            ApiError: 415.
        """
        kinds = self.all(b"content-type")
        kind, _, parameters = (kinds[0] if len(kinds) == 1 else "").lower().partition(";")
        charset = parameters.strip().removeprefix("charset=").strip('"')
        if kind.strip() != "application/json" or charset not in {"", "utf-8"}:
            raise ApiError(
                415,
                "unsupported_media_type",
                "The content type has to be application/json in UTF-8. "
                "Send `Content-Type: application/json`.",
            )
        if any(value.lower() != "identity" for value in self.all(b"content-encoding")):
            raise ApiError(
                415, "unsupported_media_type", "A packed body is not read. Send it as it is."
            )


async def _refuse(path: str, error: ApiError, response: watch.Response) -> None:
    """Answer, and end the connection: what else the client sends is not waited for."""
    if response.status:
        return
    content = body_for(path, error)
    headers = [(name.encode(), value.encode()) for name, value in error.headers().items()]
    headers += [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
    ]
    await response.send({"type": "http.response.start", "status": error.status, "headers": headers})
    await response.send({"type": "http.response.body", "body": content})


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
