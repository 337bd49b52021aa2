"""The management API as one Starlette application."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from luci_tui.errors import HostError, LuciError
from luci_tui.host.api import (
    bodies,
    chats,
    downloads,
    generate,
    hello,
    jobs,
    models,
    parameters,
    serving,
)
from luci_tui.host.api.messages import ErrorAnswer, ErrorBody

if TYPE_CHECKING:
    from luci_tui.host.state import HostState

UNCOUNTED = frozenset(
    {"/luci/hello", "/luci/status", "/luci/metrics", "/luci/settings", "/luci/stop"}
)
"""Who only looks keeps nobody busy."""

logger = logging.getLogger(__name__)


def build_app(state: HostState) -> Starlette:
    """Make the application of a host."""
    parts = (hello, models, parameters, jobs, downloads, chats, generate, serving)
    app = Starlette(
        routes=[route for part in parts for route in part.routes()],
        middleware=[Middleware(_Watch, state=state)],
        exception_handlers={
            LuciError: _on_luci_error,
            HTTPException: _on_http_error,
            Exception: _on_mistake,
        },
    )
    app.state.host = state
    return app


class _Watch:
    """Counts requests for as long as they are answered, and takes no new work while leaving."""

    def __init__(self, app: ASGIApp, state: HostState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] in UNCOUNTED:
            await self._app(scope, receive, send)
            return
        if self._state.is_leaving and _begins_work(scope):
            msg = "The host is leaving and takes no new work. Try again in a moment."
            await bodies.failure(HostError(msg, code="leaving"))(scope, receive, send)
            return
        with self._state.activity.request():
            await self._app(scope, receive, send)


def _begins_work(scope: Scope) -> bool:
    return scope["method"] == "POST" and not str(scope["path"]).endswith("/cancel")


async def _on_luci_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, LuciError)
    return bodies.failure(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path[:200]}: {error.detail.lower()}."
    body = ErrorBody(code="no_route", message=message, type="HostError")
    return bodies.answer(ErrorAnswer(error=body), error.status_code)


async def _on_mistake(request: Request, error: Exception) -> Response:
    # Starlette raises it again after this answer, and the server logs the traceback.
    message = f"The host met a mistake in luci at {request.url.path[:200]}: {error!r}. Report it."
    return bodies.answer(ErrorAnswer(error=ErrorBody(code="internal", message=message)), 500)
