"""The body of a request: read against a clock and a cap, and looked at before it is parsed."""

from __future__ import annotations

import asyncio
import json
import re
from typing import NoReturn, cast

from pydantic import JsonValue
from starlette.types import Receive

from luci_tui.host.openai.errors import ApiError, invalid_request

THREAD_BYTES = 256 * 1024
"""A longer body is looked at in a thread, so that it holds up no other request."""

# Possessive, and with the closing quote left open, so that no body makes it go back.
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
"""An escape that is half of a pair, whether or not the other half follows."""


class ClientGoneError(Exception):
    """The client left before its request was complete."""


async def read_body(
    receive: Receive, *, declared_bytes: int | None, max_bytes: int, timeout_s: float
) -> bytes:
    """Return the whole body.

    Raises:
        ApiError: it is longer than `max_bytes`, or took longer than `timeout_s`.
        ClientGoneError: the connection ended.
    """
    if declared_bytes is not None and declared_bytes > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    n_bytes = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGoneError
                chunk = cast("bytes", message.get("body", b""))
                n_bytes += len(chunk)
                if n_bytes > max_bytes:
                    raise _too_large(max_bytes)
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError as error:
        raise ApiError(
            408,
            "request_timeout",
            f"The body did not arrive within {timeout_s:g} s. Send it faster.",
        ) from error


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(
        413,
        "request_too_large",
        f"The body is longer than the {max_bytes} bytes that are read. Send a shorter one.",
    )


async def parse_object(body: bytes, max_depth: int) -> dict[str, JsonValue]:
    """Return the JSON object in the body; no body at all is an empty one, as clients mean it.

    Raises:
        ApiError: 400; it is no JSON object, is nested too deeply, names a key twice, or holds a
            number that JSON does not know or half of a surrogate pair.
    """
    if not body:
        return {}
    if len(body) > THREAD_BYTES:
        return await asyncio.to_thread(_parse_object, body, max_depth)
    return _parse_object(body, max_depth)


def _parse_object(body: bytes, max_depth: int) -> dict[str, JsonValue]:
    if depth_exceeds(body, max_depth):
        raise invalid_request(
            f"The JSON is nested more than {max_depth} levels deep. Make it flatter.",
            code="json_too_deep",
        )
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        raise invalid_request(
            f"The body is not UTF-8 at byte {error.start}. Send JSON in UTF-8.",
            code="invalid_json",
        ) from error
    except json.JSONDecodeError as error:
        raise invalid_request(
            f"The body is no JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            code="invalid_json",
        ) from error
    except (ValueError, RecursionError) as error:
        # Python's own limit on the digits of an integer.
        msg = "The body holds a number that is too long. Send numbers of fewer digits."
        raise invalid_request(msg, code="invalid_json") from error
    if not isinstance(value, dict):
        raise invalid_request(
            f"The body is a JSON {_kind(value)} where an object is needed.", code="invalid_json"
        )
    made = cast("dict[str, JsonValue]", value)
    if _SURROGATE.search(body):
        _check_unicode(made)
    return made


def _check_unicode(value: dict[str, JsonValue]) -> None:
    """Refuse halves of surrogate pairs, which JSON can say and UTF-8 cannot."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        msg = "The body holds half of a surrogate pair (\\ud800 to \\udfff). Send whole characters."
        raise invalid_request(msg, code="invalid_unicode") from error


def depth_exceeds(body: bytes, max_depth: int) -> bool:
    """Say whether brackets outside of strings nest more than `max_depth` deep."""
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return False
    depth = 0
    for match in _STRUCTURE.finditer(body):
        first = body[match.start()]
        if first in b"[{":
            depth += 1
            if depth > max_depth:
                return True
        elif first in b"]}":
            depth -= 1
    return False


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a key that comes twice: two readers would see two different requests."""
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                shown = key if len(key) <= 40 else key[:40] + "…"
                raise invalid_request(
                    f"The JSON names {shown!r} twice in one object. Name it once.",
                    code="duplicate_key",
                )
            seen.add(key)
    return made


def _no_constant(text: str) -> NoReturn:
    raise invalid_request(f"JSON has no number {text}. Send a finite one.", code="invalid_json")


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case _:
            return "array"
