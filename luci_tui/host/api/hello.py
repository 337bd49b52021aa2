"""Routes about the host itself: who it is, how it stands, and that it shall leave."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from luci_tui.host.api import bodies
from luci_tui.host.api.messages import Stop
from luci_tui.host.api.sse import EventStream, cursor_of
from luci_tui.host.api.state_of import state_of


def routes() -> list[Route]:
    """Return the routes about the host."""
    return [
        Route("/luci/hello", _hello, methods=["GET"]),
        Route("/luci/status", _status, methods=["GET"]),
        Route("/luci/metrics", _metrics, methods=["GET"]),
        Route("/luci/settings", _settings, methods=["GET"]),
        Route("/luci/events", _events, methods=["GET"]),
        Route("/luci/stop", _stop, methods=["POST"]),
    ]


async def _hello(request: Request) -> Response:
    state = state_of(request)
    # Who says hello is about to ask for more, and shall not meet a host that leaves just then.
    state.activity.touch()
    return bodies.answer(state.hello())


async def _status(request: Request) -> Response:
    return bodies.answer(state_of(request).status())


async def _metrics(request: Request) -> Response:
    return bodies.answer(state_of(request).metrics())


async def _settings(request: Request) -> Response:
    return bodies.answer(state_of(request).settings_in_use())


async def _events(request: Request) -> Response:
    return EventStream(state_of(request).events.subscribe(cursor_of(request)))


async def _stop(request: Request) -> Response:
    wanted = await bodies.read_model(request, Stop)
    state = state_of(request)
    state.ask_to_stop(wanted.drain_s)
    return bodies.answer(state.hello(), 202)
