"""Routes for models: what there is, what is in memory, load and unload."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from luci_tui.host.api import bodies
from luci_tui.host.api.messages import ModelName, Models, Notice, Progress
from luci_tui.host.api.state_of import state_of
from luci_tui.host.engines import ModelSource
from luci_tui.host.jobs import Result, Work


def routes() -> list[Route]:
    """Return the routes of models."""
    return [
        Route("/luci/models", _list, methods=["GET"]),
        Route("/luci/models/load", _load, methods=["POST"]),
        Route("/luci/models/unload", _unload, methods=["POST"]),
    ]


async def _list(request: Request) -> Response:
    models = state_of(request).models
    return bodies.answer(Models(entries=models.entries(), loaded=models.loaded()))


async def _load(request: Request) -> Response:
    wanted = await bodies.read_model(request, ModelName)
    state = state_of(request)
    work = Work(f"load {wanted.name}", load_events(state.models, wanted.name))
    return bodies.answer(await state.jobs.run("load", work), 202)


async def _unload(request: Request) -> Response:
    wanted = await bodies.read_model(request, ModelName)
    await state_of(request).models.unload(wanted.name, force=wanted.force)
    return Response(status_code=204)


async def load_events(models: ModelSource, name: str) -> AsyncGenerator[Progress | Result]:
    """Load a model and give what is told meanwhile, then the name that serves."""
    notices: deque[Notice] = deque(maxlen=16)
    changed = asyncio.Event()

    def note(notice: Notice) -> None:
        notices.append(notice)
        changed.set()

    task = asyncio.create_task(models.load(name, note), name=f"load {name}")
    task.add_done_callback(lambda _: changed.set())
    try:
        while not task.done():
            await changed.wait()
            changed.clear()
            while notices:
                yield _progress(notices.popleft())
        yield {"name": await task}
    finally:
        task.cancel()
        await asyncio.wait([task])


def _progress(notice: Notice) -> Progress:
    if notice.fraction is None:
        return Progress(what=notice.text)
    return Progress(what=notice.text, n_done=round(notice.fraction * 100), n_total=100, unit="%")
