"""Routes for engines: an answer as a stream of frames, one question, an engine that is held."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from luci_tui.host.api import bodies
from luci_tui.host.api.messages import EngineCall, OpenEngine
from luci_tui.host.api.sse import EventStream
from luci_tui.host.api.state_of import state_of


def routes() -> list[Route]:
    """Return the routes of engines.

    All but DELETE answer with a stream, so that both sides know of each other while a model loads;
    the request ends with the connection.
    """
    return [
        Route("/luci/generate", _generate, methods=["POST"]),
        Route("/luci/ask", _ask, methods=["POST"]),
        Route("/luci/engines", _open, methods=["POST"]),
        Route("/luci/engines/{engine_id}", _close, methods=["DELETE"]),
    ]


async def _generate(request: Request) -> Response:
    call = await bodies.read_model(request, EngineCall)
    return EventStream(state_of(request).engines.generate(call))


async def _ask(request: Request) -> Response:
    call = await bodies.read_model(request, EngineCall)
    return EventStream(state_of(request).engines.ask(call))


async def _open(request: Request) -> Response:
    wanted = await bodies.read_model(request, OpenEngine)
    return EventStream(state_of(request).engines.open(wanted))


async def _close(request: Request) -> Response:
    await state_of(request).engines.close(str(request.path_params["engine_id"]))
    return Response(status_code=204)
