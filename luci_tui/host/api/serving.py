"""Routes that start and stop the HTTP API on a port."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from luci_tui.host.api import bodies
from luci_tui.host.api.messages import ServeState, StartServing
from luci_tui.host.api.state_of import state_of


def routes() -> list[Route]:
    """Return the routes of serving."""
    return [
        Route("/luci/serve", _show, methods=["GET"]),
        Route("/luci/serve", _start, methods=["POST"]),
        Route("/luci/serve", _stop, methods=["DELETE"]),
    ]


async def _show(request: Request) -> Response:
    return bodies.answer(ServeState(serving=state_of(request).serve.serving))


async def _start(request: Request) -> Response:
    wanted = await bodies.read_model(request, StartServing)
    serving = await state_of(request).serve.start(wanted)
    return bodies.answer(ServeState(serving=serving), 201)


async def _stop(request: Request) -> Response:
    return bodies.answer(ServeState(serving=await state_of(request).serve.stop()))
