"""Routes for jobs: start, list, watch, cancel, resume."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from luci_tui.host.api import bodies
from luci_tui.host.api.messages import Jobs, StartJob
from luci_tui.host.api.sse import EventStream, cursor_of
from luci_tui.host.api.state_of import state_of


def routes() -> list[Route]:
    """Return the routes of jobs."""
    return [
        Route("/luci/jobs", _list, methods=["GET"]),
        Route("/luci/jobs", _start, methods=["POST"]),
        Route("/luci/jobs/{job_id}", _get, methods=["GET"]),
        Route("/luci/jobs/{job_id}/events", _events, methods=["GET"]),
        Route("/luci/jobs/{job_id}/cancel", _cancel, methods=["POST"]),
        Route("/luci/jobs/{job_id}/resume", _resume, methods=["POST"]),
    ]


async def _list(request: Request) -> Response:
    return bodies.answer(Jobs(jobs=await state_of(request).jobs.list()))


async def _start(request: Request) -> Response:
    wanted = await bodies.read_model(request, StartJob)
    return bodies.answer(await state_of(request).jobs.start(wanted.kind, wanted.spec), 201)


async def _get(request: Request) -> Response:
    return bodies.answer(await state_of(request).jobs.get(_job_id(request)))


async def _events(request: Request) -> Response:
    jobs = state_of(request).jobs
    record = await jobs.get(_job_id(request))  # refuses an unknown one before the stream begins
    return EventStream(jobs.events(record.id, cursor_of(request)))


async def _cancel(request: Request) -> Response:
    return bodies.answer(await state_of(request).jobs.cancel(_job_id(request)))


async def _resume(request: Request) -> Response:
    return bodies.answer(await state_of(request).jobs.resume(_job_id(request)), 201)


def _job_id(request: Request) -> str:
    return str(request.path_params["job_id"])
