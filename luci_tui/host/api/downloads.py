"""Routes for downloads: plan, add, list, watch, change how they go on, forget, uninstall."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from luci_tui.errors import CatalogError
from luci_tui.host.api import bodies
from luci_tui.host.api.download_messages import (
    ForgetDownloads,
    How,
    MoveDownload,
    PlanInstall,
    SetLimit,
    StartInstall,
    UninstallModel,
)
from luci_tui.host.api.sse import EventStream, cursor_of
from luci_tui.host.api.state_of import state_of


def routes() -> list[Route]:
    """Return the routes of downloads."""
    return [
        Route("/luci/downloads", _list, methods=["GET"]),
        Route("/luci/downloads", _add, methods=["POST"]),
        Route("/luci/downloads/plan", _plan, methods=["POST"]),
        Route("/luci/downloads/events", _events, methods=["GET"]),
        Route("/luci/downloads/limit", _limit, methods=["POST"]),
        Route("/luci/downloads/forget", _forget, methods=["POST"]),
        Route("/luci/downloads/{download_id}", _get, methods=["GET"]),
        Route("/luci/downloads/{download_id}/pause", _pause, methods=["POST"]),
        Route("/luci/downloads/{download_id}/resume", _resume, methods=["POST"]),
        Route("/luci/downloads/{download_id}/cancel", _cancel, methods=["POST"]),
        Route("/luci/downloads/{download_id}/move", _move, methods=["POST"]),
        Route("/luci/models/uninstall", _uninstall, methods=["POST"]),
    ]


async def _list(request: Request) -> Response:
    return bodies.answer(state_of(request).downloads.list())


async def _plan(request: Request) -> Response:
    wanted = await bodies.read_model(request, PlanInstall)
    return bodies.answer(await state_of(request).downloads.plan(wanted))


async def _add(request: Request) -> Response:
    wanted = await bodies.read_model(request, StartInstall)
    started = await state_of(request).downloads.add(wanted.plan, is_enabled=wanted.is_enabled)
    return bodies.answer(started, 201 if started.how is How.QUEUED else 200)


async def _get(request: Request) -> Response:
    return bodies.answer(state_of(request).downloads.get(_id_of(request)))


async def _events(request: Request) -> Response:
    return EventStream(state_of(request).downloads.events(cursor_of(request)))


async def _pause(request: Request) -> Response:
    return bodies.answer(await state_of(request).downloads.pause(_id_of(request)))


async def _resume(request: Request) -> Response:
    return bodies.answer(await state_of(request).downloads.resume(_id_of(request)))


async def _cancel(request: Request) -> Response:
    return bodies.answer(await state_of(request).downloads.cancel(_id_of(request)))


async def _move(request: Request) -> Response:
    wanted = await bodies.read_model(request, MoveDownload)
    return bodies.answer(await state_of(request).downloads.move(_id_of(request), wanted.place))


async def _forget(request: Request) -> Response:
    wanted = await bodies.read_model(request, ForgetDownloads)
    return bodies.answer(await state_of(request).downloads.forget(wanted.ids))


async def _limit(request: Request) -> Response:
    wanted = await bodies.read_model(request, SetLimit)
    return bodies.answer(await state_of(request).downloads.set_limit(wanted.bytes_per_s))


async def _uninstall(request: Request) -> Response:
    wanted = await bodies.read_model(request, UninstallModel)
    return bodies.answer(await state_of(request).downloads.uninstall(wanted))


def _id_of(request: Request) -> int:
    text = str(request.path_params["download_id"])
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        msg = f"There is no download {text[:20]}. `luci downloads` lists them."
        raise CatalogError(msg, code="not_found")
    return int(text)
