"""Routes for how models are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from luci_tui.errors import HostError
from luci_tui.host.api import bodies
from luci_tui.host.api.messages import ChangeModelParameters
from luci_tui.host.api.state_of import state_of

if TYPE_CHECKING:
    from luci_tui.host.model_parameters import ModelParameterDesk


def routes() -> list[Route]:
    """Return the routes of parameters."""
    return [
        Route("/luci/models/parameters", _read, methods=["GET"]),
        Route("/luci/models/parameters", _change, methods=["PATCH"]),
    ]


async def _read(request: Request) -> Response:
    return bodies.answer(await _desk(request).read(request.query_params.get("name", "")))


async def _change(request: Request) -> Response:
    wanted = await bodies.read_model(request, ChangeModelParameters)
    return bodies.answer(await _desk(request).change(wanted))


def _desk(request: Request) -> ModelParameterDesk:
    desk = state_of(request).parameters
    if desk is None:
        msg = "This host was started without models. Start it again with `luci host restart`."
        raise HostError(msg, code="no_models")
    return desk
