"""GET /health, /metrics, /v1/models and /v1/models/{id}."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from luci_tui.host.openai import metrics
from luci_tui.host.openai.answers import find_entry
from luci_tui.host.openai.services import EntryView, Services


def router(services: Services) -> APIRouter:
    """Return the routes that only look."""
    routes = APIRouter()
    created = int(time.time())

    @routes.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    @routes.get("/metrics")
    async def counters() -> Response:
        gate = services.gate
        text = services.metrics.text(gate.n_running, gate.n_queued)
        return Response(text, media_type=metrics.CONTENT_TYPE)

    @routes.get("/v1/models")
    async def list_models() -> Response:
        states = _states(services)
        shown = [_model(entry, states, created) for entry in services.models.names()]
        return JSONResponse({"object": "list", "data": shown})

    @routes.get("/v1/models/{model_id:path}")
    async def show_model(model_id: str) -> Response:
        entry = find_entry(services, model_id)
        return JSONResponse(_model(entry, _states(services), created))

    return routes


def _states(services: Services) -> dict[str, str]:
    return {resident.name: str(resident.state) for resident in services.models.snapshot()}


def _model(entry: EntryView, states: dict[str, str], created: int) -> dict[str, object]:
    return {
        "id": entry.name,
        "object": "model",
        "created": created,
        "owned_by": "luci",
        "aliases": list(entry.aliases),
        # "unloaded" is not an error: the first request loads it.
        "state": states.get(entry.name, "unloaded"),
    }
