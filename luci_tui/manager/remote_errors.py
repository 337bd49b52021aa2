"""What an OpenAI-compatible server says went wrong, as errors of luci; none of it is trusted."""

from __future__ import annotations

import math
import re

from pydantic import BaseModel, ConfigDict, ValidationError

from luci_tui.errors import EndpointBusyError, RequestError
from luci_tui.manager.entries import Endpoint

MAX_QUOTE = 300
MAX_RETRY_AFTER_S = 3600.0

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_BAD_REQUEST_CODES = frozenset(
    {"context_length_exceeded", "invalid_grammar", "invalid_schema", "content_filter"}
)
"""Codes of a server that mean the same here."""
_TYPES = {"exceed_context_size_error": "context_length_exceeded"}
"""llama-server's kinds of error, which has no codes -> ours."""


def refusal(
    endpoint: Endpoint, status: int, body: bytes, retry_after: str, *, is_known_path: bool
) -> RequestError:
    """Make the error for an answer that is no success.

    Args:
        endpoint: Who answered.
        status: HTTP status.
        body: Its beginning.
        retry_after: Header Retry-After, "" = none.
        is_known_path: False = a server may well lack what was asked for.
    """
    words, code = _reason(body)
    said = f" It says: {words}" if words else ""
    where = endpoint.base_url
    if status in {401, 403}:
        return RequestError(
            f"{where} refuses the key ({status}).{said} Check api_key_file or api_key_env of "
            "this endpoint.",
            code="unauthorized",
        )
    if status in {404, 405, 501} and not is_known_path:
        return RequestError(
            f"{where} has no such service ({status}).{said} Use another endpoint or a local model.",
            code="unsupported_by_endpoint",
        )
    if status in {429, 503}:
        after_s = _retry_after_s(retry_after)
        hint = "Try again later." if after_s is None else f"Try again in {after_s:.0f} s."
        return EndpointBusyError(
            f"{where} has no room for the request ({status}).{said} {hint}", retry_after_s=after_s
        )
    if 300 <= status < 400:
        return RequestError(
            f"{where} wants to send luci elsewhere ({status}), which it does not follow. "
            "Write the final address into base_url.",
            code="redirected",
        )
    if status >= 500:
        return RequestError(
            f"{where} failed ({status}).{said} Look at its log, or try again.",
            code="endpoint_failed",
        )
    known = code if code in _BAD_REQUEST_CODES else "invalid_request"
    return RequestError(
        f"{where} refuses the request ({status}).{said} Change the request.", code=known
    )


def broken(endpoint: Endpoint, what: str) -> RequestError:
    """Make the error for an answer that cannot be read."""
    return RequestError(
        f"{endpoint.base_url} does not speak the protocol: {what}. "
        "Check base_url and the version of the server.",
        code="broken_endpoint",
    )


def stream_error(endpoint: Endpoint, error: object) -> RequestError:
    """Make the error that a server put into a stream."""
    words, code = _words(error)
    known = code if code in _BAD_REQUEST_CODES else "endpoint_failed"
    return RequestError(
        f"{endpoint.base_url} ended the answer with an error: {words or 'it gave no reason'}. "
        "What came stays; try again.",
        code=known,
    )


def clean(text: str) -> str:
    """Make a foreign text fit for a sentence: no control characters, not endless."""
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE] + "…"


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Error(_Said):
    message: str = ""
    code: str | int | None = None
    type: str | None = None

    @property
    def known_code(self) -> str:
        """Its code as luci knows it; one that luci does not know stays as it is."""
        return _TYPES.get(self.type or "", str(self.code or ""))


class _ErrorBody(_Said):
    error: _Error | str | None = None
    message: str | None = None
    detail: object = None


def _reason(body: bytes) -> tuple[str, str]:
    """Give (what the server says, its code) in whichever of the usual shapes it says it."""
    try:
        parsed = _ErrorBody.model_validate_json(body)
    except ValidationError:
        return "", ""
    if parsed.error is not None:
        return _words(parsed.error)
    if parsed.message:
        return clean(parsed.message), ""
    return (clean(str(parsed.detail)), "") if parsed.detail else ("", "")


def _words(error: object) -> tuple[str, str]:
    if isinstance(error, _Error):
        return clean(error.message), error.known_code
    try:
        parsed = _Error.model_validate(error)
    except ValidationError:
        return clean(str(error)), ""
    return clean(parsed.message), parsed.known_code


def _retry_after_s(text: str) -> float | None:
    """Read the header: seconds. A date, which clocks disagree about, counts as not said."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER_S) if math.isfinite(seconds) else None
