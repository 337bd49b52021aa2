"""What a server's answer means for a download: take the body, try again, or give up.

Nothing that a server sends is believed without a check: lengths, ranges, redirects and types are
compared with what is wanted. Sources: RFC 9110 sections 13 to 15 (If-Range, 206, 416, Retry-After)
and the Hub's own headers (X-Error-Code, X-Error-Message).
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from luci_tui.errors import DownloadError

MAX_REDIRECTS = 5
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,19})")
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 522, 524, 529})


class TryAgainError(Exception):
    """This attempt is over; the next one may do better.

    Args:
        reason: One sentence for a person.
        retry_after_s: What the server asks for; None = nothing.
        restart: True = what is there cannot be gone on from.
    """

    def __init__(
        self, reason: str, *, retry_after_s: float | None = None, restart: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.restart = restart


@dataclass(frozen=True)
class Body:
    """An answer whose body belongs into the file."""

    begins_at: int
    """Byte of the file that the body begins with."""
    size_bytes: int | None
    """Of the whole file; None = the server does not say."""
    etag: str
    """Strong ETag; empty = none."""


def judge(
    status: int,
    headers: Mapping[str, str],
    *,
    name: str,
    have_bytes: int,
    size_bytes: int | None,
) -> Body | None:
    """Say what to do with an answer to a GET that asked for everything from `have_bytes` on.

    Args:
        status: HTTP status; redirects are followed before.
        headers: With names in lower case.
        name: Of the file, for the messages.
        have_bytes: What is there already.
        size_bytes: What the whole file must have; None = not known.

    Returns:
        None = there is nothing left to fetch.

    Raises:
        TryAgainError: not now, or not like this.
        DownloadError: never.
    """
    if status == 416:
        return _nothing_there(headers, name, have_bytes, size_bytes)
    if status not in (200, 206):
        raise _refusal(status, headers, name)
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise DownloadError(
            f"The server compresses {name} although it was asked not to, so its bytes cannot be "
            "checked. Use another address.",
            code="encoded",
        )
    if headers.get("content-type", "").partition(";")[0].strip().lower() == "text/html":
        raise DownloadError(
            f"The address of {name} answers with a web page instead of the file. "
            "Check the address; a login may be needed.",
            code="web_page",
        )
    if status == 206:
        return _range(headers, name, have_bytes, size_bytes)
    length = _length(headers)
    if None not in (length, size_bytes) and length != size_bytes:
        raise _wrong_size(name, length or 0, size_bytes or 0)
    return Body(0, size_bytes if size_bytes is not None else length, strong_etag(headers))


def redirect_target(url: str, status: int, headers: Mapping[str, str], name: str) -> str | None:
    """Return where a redirect leads; None = the answer is none.

    Raises:
        DownloadError: it leads nowhere, or from https to something that is not.
    """
    if status not in (301, 302, 303, 307, 308):
        return None
    target = urljoin(url, headers.get("location", ""))
    parts = urlsplit(target)
    is_worse = urlsplit(url).scheme == "https" and parts.scheme != "https"
    if not headers.get("location") or parts.scheme not in ("http", "https") or is_worse:
        raise DownloadError(
            f"The address of {name} leads to {target[:200]!r}, which is not followed. "
            "Use another address.",
            code="redirect",
        )
    return target


def origin(url: str) -> tuple[str, str, int]:
    """Return (scheme, host, port): only requests to the same origin carry a token."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").lower(), port


def strong_etag(headers: Mapping[str, str]) -> str:
    """Return the ETag if it stands for exactly these bytes, else nothing."""
    etag = headers.get("etag", "").strip()
    return etag if len(etag) < 300 and etag.startswith('"') and etag.isprintable() else ""


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """Return the seconds that Retry-After asks for, as a number or as a date."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, at - (time.time() if now_s is None else now_s))


def _range(headers: Mapping[str, str], name: str, have_bytes: int, size_bytes: int | None) -> Body:
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None:
        msg = f"The server sent a part of {name} without saying which."
        raise TryAgainError(msg, restart=True)
    begins_at, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if total is not None and size_bytes is not None and total != size_bytes:
        raise _wrong_size(name, total, size_bytes)
    if begins_at != have_bytes or last < begins_at or (total is not None and last >= total):
        msg = f"The server sent bytes {begins_at} to {last} of {name} and not those asked for."
        raise TryAgainError(msg, restart=True)
    length = _length(headers)
    if length is not None and length != last - begins_at + 1:
        msg = f"The server contradicts itself about the length of a part of {name}."
        raise TryAgainError(msg, restart=True)
    return Body(begins_at, size_bytes if size_bytes is not None else total, strong_etag(headers))


def _nothing_there(
    headers: Mapping[str, str], name: str, have_bytes: int, size_bytes: int | None
) -> None:
    match = _UNSATISFIED.fullmatch(headers.get("content-range", "").strip())
    total = int(match[1]) if match else None
    if total is not None and total == have_bytes and size_bytes in (None, total):
        return
    if total is not None and size_bytes is not None and total != size_bytes:
        raise _wrong_size(name, total, size_bytes)
    msg = f"The server has no bytes of {name} after {have_bytes}."
    raise TryAgainError(msg, restart=True)


def _refusal(status: int, headers: Mapping[str, str], name: str) -> DownloadError | TryAgainError:
    if status in _RETRIED:
        reason = f"The server answers {status} for {name}"
        return TryAgainError(reason + ".", retry_after_s=retry_after_s(headers))
    code = headers.get("x-error-code", "")
    said = _said(headers)
    match status, code:
        case _, "GatedRepo":
            return DownloadError(
                f"{name} is gated: its licence has to be accepted first{said}. "
                "Open its page, accept, and log in with `luci login`.",
                code="gated",
            )
        case ((404 | 410), _):
            return DownloadError(
                f"There is no {name} at this address{said}. Check the name and the revision.",
                code="not_found",
            )
        case 401, _:
            return DownloadError(
                f"{name} needs a login, or the token is not valid{said}. Run `luci login`.",
                code="unauthorized",
            )
        case 403, _:
            return DownloadError(
                f"The server does not let you have {name}{said}. Check what the token may read.",
                code="forbidden",
            )
        case 451, _:
            return DownloadError(
                f"{name} is not given out for legal reasons{said}. Use another model.",
                code="forbidden",
            )
        case _:
            return DownloadError(
                f"The server answers {status} for {name}{said}. Check the address.",
                code="refused",
            )


def _said(headers: Mapping[str, str]) -> str:
    """Return what the server itself says, cut and without anything a terminal would obey."""
    text = "".join(c for c in headers.get("x-error-message", "") if c.isprintable())
    return f" ({text[:200]})" if text else ""


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _wrong_size(name: str, found: int, wanted: int) -> DownloadError:
    return DownloadError(
        f"The server has {found} bytes of {name} and {wanted} were promised. "
        "It may be another version; look the model up again.",
        code="size",
    )
