"""The HTTP API as one app: all routers, one way to say errors, the guard around everything."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from luci_tui.errors import LuciError
from luci_tui.host.openai import (
    anthropic,
    chat_completions,
    completions,
    embeddings,
    responses,
    status,
    tokenize,
)
from luci_tui.host.openai.errors import ApiError, body_for, from_luci
from luci_tui.host.openai.security import Guard
from luci_tui.host.openai.services import Services

_CODES = {404: "not_found", 405: "method_not_allowed"}


def routers(services: Services) -> list[APIRouter]:
    """Return all endpoints, module by module."""
    apis = (chat_completions, completions, embeddings, tokenize, responses, anthropic)
    return [module.router(services) for module in (status, *apis)]


def build_app(services: Services) -> FastAPI:
    """Return the app; it answers nothing that the guard has not let through."""
    # No page of documentation: it would load scripts from other hosts.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    for router in routers(services):
        app.include_router(router)

    @app.exception_handler(ApiError)
    async def on_api_error(request: Request, error: ApiError) -> Response:
        return _error_response(request, error)

    @app.exception_handler(LuciError)
    async def on_luci_error(request: Request, error: LuciError) -> Response:
        return _error_response(request, from_luci(error))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "invalid_request")
        told = "There is nothing at this path" if error.status_code == 404 else error.detail
        said = ApiError(error.status_code, code, f"{told}. docs/api.md lists the endpoints.")
        response = _error_response(request, said)
        response.headers.update(error.headers or {})
        return response

    # The handlers are only met through the app, but a linter cannot see that.
    del on_api_error, on_luci_error, on_http_error
    app.add_middleware(Guard, services=services)
    return app


def _error_response(request: Request, error: ApiError) -> Response:
    return Response(
        body_for(request.url.path, error),
        status_code=error.status,
        headers=error.headers(),
        media_type="application/json",
    )
