"""The one error of the HTTP API, and its two renderings: OpenAI's and Anthropic's.

Endpoints raise `ApiError`; what the engine and the model manager raise is turned into one by
`from_luci`. A message never holds a prompt.
"""

from __future__ import annotations

import json
import math

from luci_tui.errors import CatalogError, LuciError, ModelLoadError, RequestError, WorkerLostError

ANTHROPIC_PATH = "/v1/messages"
"""Below this path errors have Anthropic's shape."""

RETRY_AFTER_S = 2.0
"""What a client is told to wait when nothing better is known."""

_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_REFUSED_CODES = frozenset(
    {
        "context_length_exceeded",
        "invalid_audio",
        "invalid_grammar",
        "invalid_image",
        "invalid_media",
        "invalid_request",
        "invalid_schema",
        "media_failed",
        "media_not_supported",
        "invalid_token",
        "no_fill_in",
        "no_tokenizer",
        "text_too_long",
        "too_long",
        "unsupported_by_endpoint",
    }
)
"""Codes of RequestError for which the request is at fault."""


class ApiError(Exception):
    """A request that gets an error instead of an answer.

    Args:
        status: The HTTP status.
        code: Stable machine-readable word.
        message: One plain sentence: what failed, the value, what to do next.
        param: The field of the request that is at fault; None = none of them.
        retry_after_s: Sent as Retry-After, in whole seconds.
        type: The kind of error in OpenAI's words; empty = what fits the status.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        type: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.type = type or _openai_type(status)

    def headers(self) -> dict[str, str]:
        """Return the HTTP headers that belong to this error."""
        headers: dict[str, str] = {}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers


def invalid_request(
    message: str, *, param: str | None = None, code: str = "invalid_value"
) -> ApiError:
    """Return a 400: the client has to change its request."""
    return ApiError(400, code, message, param=param)


def from_luci(error: LuciError, text_param: str = "messages") -> ApiError:
    """Turn a failure of the engine or of the model manager into an answer.

    Args:
        error: What failed.
        text_param: The field of the request that holds its text.
    """
    match error:
        case CatalogError():
            return ApiError(404, "model_not_found", error.message, param="model")
        case RequestError() if error.code in _REFUSED_CODES:
            return ApiError(400, error.code, error.message, param=_param(error.code, text_param))
        case WorkerLostError():
            return ApiError(503, error.code, error.message, retry_after_s=RETRY_AFTER_S)
        case ModelLoadError() if error.code in {"out_of_memory", "not_loaded"}:
            return ApiError(503, error.code, error.message, retry_after_s=RETRY_AFTER_S)
        case _:
            return ApiError(500, error.code, error.message)


def openai_body(error: ApiError) -> dict[str, object]:
    """Return the error as OpenAI's clients read it."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }


def anthropic_body(error: ApiError) -> dict[str, object]:
    """Return the error as Anthropic's clients read it."""
    kind = _ANTHROPIC_TYPES.get(
        error.status, "api_error" if error.status >= 500 else "invalid_request_error"
    )
    return {"type": "error", "error": {"type": kind, "message": error.message}}


def body_for(path: str, error: ApiError) -> bytes:
    """Return the error as JSON, in the shape that the clients of this path read."""
    is_anthropic = path == ANTHROPIC_PATH or path.startswith(ANTHROPIC_PATH + "/")
    content = anthropic_body(error) if is_anthropic else openai_body(error)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _openai_type(status: int) -> str:
    return _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def _param(code: str, text_param: str) -> str | None:
    """Name the field that an engine's refusal is about, where the code tells."""
    return {
        "context_length_exceeded": text_param,
        "invalid_audio": text_param,
        "invalid_image": text_param,
        "invalid_media": text_param,
        "media_not_supported": text_param,
        "invalid_token": text_param,
        "no_fill_in": "suffix",
        "invalid_schema": "response_format",
        "invalid_grammar": "grammar",
    }.get(code)
