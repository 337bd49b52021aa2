"""The seam between everything above and an engine: what a front end may ask for.

Two implementations pass the same contract tests (tests/contract/test_engine_client.py):
`luci_tui.engine.process.WorkerEngine` (a worker process with the native core) and
`luci_tui.engine.echo.EchoEngine` (no model at all).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec


class EngineClient(Protocol):
    """One engine with one model. All methods belong to one asyncio event loop.

    Raises, from every method:
        ModelLoadError: the model could not be loaded.
        RequestError: this request is refused or failed; others go on.
        WorkerLostError: the worker ended; `load` starts another one.
    """

    def load(self, spec: LoadSpec) -> AsyncGenerator[frames.LoadProgress | frames.Loaded]:
        """Load a model, replacing the one before; the last event is Loaded."""
        ...

    def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        """Stream one answer; the last event is Done. Closing the iterator cancels the request.

        `request.request_id` is replaced by one of the client's own.
        """
        ...

    async def ask(self, command: frames.Command) -> frames.Event:
        """Send a command with a single answer (embed, rerank, tokenize, state, bench, status)."""
        ...

    async def close(self) -> None:
        """Cancel what runs and let the worker leave; safe to call twice."""
        ...
