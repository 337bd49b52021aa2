"""Read what a request brings, within bounds, and answer with a model."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from luci_tui.errors import (
    CatalogError,
    ChatError,
    ConfigError,
    DownloadError,
    HostError,
    LuciError,
    ModelLoadError,
    RequestError,
    WorkerLostError,
)
from luci_tui.host.api.messages import ErrorAnswer, error_body

MAX_BODY_BYTES = 64 * 1024 * 1024
"""Frames may carry long prompts; a longer body is a mistake."""

M = TypeVar("M", bound=BaseModel)

_STATUS_BY_CODE = {
    "leaving": 503,
    "busy": 409,
    "not_found": 404,
    "too_long": 413,
    "chat_not_found": 404,
    "message_not_found": 404,
    "medium_not_found": 404,
    "chat_busy": 409,
    "has_ended": 409,
    "not_ended": 409,
    "in_use": 409,
    "disk_space": 507,
    "disk_full": 507,
}
_STATUS_BY_TYPE: tuple[tuple[type[LuciError], int], ...] = (
    (ConfigError, 400),
    (RequestError, 400),
    (CatalogError, 404),
    (ChatError, 400),
    (ModelLoadError, 422),
    (DownloadError, 502),
    (WorkerLostError, 502),
)


async def read_bytes(request: Request) -> bytes:
    """Read a request's body.

    Raises:
        HostError: it is too long.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            msg = f"The request is longer than {MAX_BODY_BYTES} bytes. Send less at once."
            raise HostError(msg, code="too_long")
    return bytes(body)


async def read_model(request: Request, model: type[M]) -> M:
    """Parse a request's body; an empty one stands for a model without fields.

    Raises:
        HostError: it is too long.
        ConfigError: it is not what the route needs.
    """
    body = await read_bytes(request)
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        where = f" at {name}" if name else ""
        msg = f"The request to {request.url.path} cannot be used{where}: {first['msg'].lower()}."
        raise ConfigError(msg, code="invalid_request") from error


def answer(model: BaseModel, status: int = 200) -> Response:
    """Answer with a model as JSON."""
    return Response(model.model_dump_json(), status, media_type="application/json")


def failure(error: LuciError) -> Response:
    """Answer with an error and the status that fits it."""
    return answer(ErrorAnswer(error=error_body(error)), status_of(error))


def status_of(error: LuciError) -> int:
    """Return the HTTP status for an error; what is nobody's fault is a 500."""
    if error.code in _STATUS_BY_CODE:
        return _STATUS_BY_CODE[error.code]
    return next((status for kind, status in _STATUS_BY_TYPE if isinstance(error, kind)), 500)
