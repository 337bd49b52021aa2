"""BalancedEngine: several servers with the same model behind one EngineClient.

Each request goes to the server with the fewest of ours for what it takes at a time, and waits while
all have as many as they take. One that fails is left alone for a while,
longer each time, and is asked whether it is there before it gets a request again. A request moves
on to another server only as long as nothing of its answer has arrived.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import EndpointBusyError, EngineError, ModelLoadError, RequestError
from luci_tui.manager.clock import Clock, SystemClock
from luci_tui.manager.entries import Endpoint
from luci_tui.manager.places import Places

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 60.0
_MOVES_ON = frozenset({"endpoint_failed", "broken_endpoint"})
"""Codes of refused requests that another server may well answer."""

logger = logging.getLogger(__name__)


class CheckedEngine(EngineClient, Protocol):
    """An engine that can tell whether its server is there."""

    @property
    def endpoint(self) -> Endpoint:
        """Where the server is, and how many requests it gets at a time."""
        ...

    async def check(self) -> None:
        """Raise EngineError if it is not."""
        ...


@dataclass
class _Server:
    engine: CheckedEngine
    index: int
    n_running: int = 0
    n_failures: int = 0
    """In a row."""
    retry_at_s: float = 0.0
    error: EngineError | None = None
    """Why it is left alone; None = it is well."""

    @property
    def load(self) -> float:
        """Requests that it has, as a share of what it takes at a time."""
        return self.n_running / self.engine.endpoint.max_parallel


class BalancedEngine:
    """See `EngineClient` for the contract. Belongs to one event loop."""

    def __init__(self, engines: Sequence[CheckedEngine], clock: Clock | None = None) -> None:
        """Take engines without a model.

        Args:
            engines: One for each server.
            clock: Where time comes from; None = this machine.
        """
        self._servers = [_Server(engine, index) for index, engine in enumerate(engines)]
        self._clock = clock or SystemClock()
        endpoints = [engine.endpoint for engine in engines]
        self._n_places = sum(endpoint.max_parallel for endpoint in endpoints)
        self._places = Places(
            ", ".join(endpoint.base_url for endpoint in endpoints),
            self._n_places,
            max(endpoint.idle_s for endpoint in endpoints),
            self._clock,
        )
        self._spec: LoadSpec | None = None
        self._request_ids = itertools.count(1)
        self._running: dict[int, tuple[_Server, int]] = {}
        """Request -> its server and its id there, once its answer has begun."""

    async def load(self, spec: LoadSpec) -> AsyncGenerator[frames.LoadProgress | frames.Loaded]:
        """Connect all; one that answers is enough. See `EngineClient.load`."""
        loaded: frames.Loaded | None = None
        yield frames.LoadProgress(request_id=0, fraction=0.0)
        found = await asyncio.gather(*(self._load(server, spec) for server in self._servers))
        for one in found:
            loaded = loaded or one
        if loaded is None:
            first = next(server.error for server in self._servers if server.error is not None)
            words = " ".join(server.error.message for server in self._servers if server.error)
            raise ModelLoadError(words, code=first.code)
        self._spec = spec
        info = loaded.info.model_copy(update={"n_slots": self._n_places})
        yield loaded.model_copy(update={"info": info})

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        """Stream one answer; see `EngineClient.generate`."""
        async with self._places.one(), aclosing(self._generate(request)) as events:
            async for event in events:
                yield event

    async def _generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        tried: set[int] = set()
        request_id = next(self._request_ids)
        while True:
            server = await self._choose(tried)
            tried.add(server.index)
            has_begun = False
            server.n_running += 1
            try:
                async with aclosing(server.engine.generate(request)) as events:
                    async for event in events:
                        has_begun = True
                        self._running[request_id] = (server, event.request_id)
                        yield event.model_copy(update={"request_id": request_id})
                self._note_well(server)
                return
            except EngineError as error:
                self._note_failure(server, error)
                if has_begun or not _may_move_on(error) or not self._has_another(tried):
                    raise self._for_caller(error) from error
                logger.warning("a request moves on from %d: %s", server.index, error.message)
            finally:
                server.n_running -= 1
                self._running.pop(request_id, None)

    async def ask(self, command: frames.Command) -> frames.Event:
        """Send a command with a single answer; see `EngineClient.ask`."""
        if isinstance(command, frames.Cancel):
            if command.request_id in self._running:
                server, inner_id = self._running[command.request_id]
                await server.engine.ask(frames.Cancel(request_id=inner_id))
            return frames.Acknowledged(request_id=command.request_id)
        async with self._places.one():
            return await self._ask(command)

    async def _ask(self, command: frames.Command) -> frames.Event:
        tried: set[int] = set()
        while True:
            server = await self._choose(tried)
            tried.add(server.index)
            server.n_running += 1
            try:
                event = await server.engine.ask(command)
            except EngineError as error:
                self._note_failure(server, error)
                if not _may_move_on(error) or not self._has_another(tried):
                    raise self._for_caller(error) from error
                logger.warning("a request moves on from %d: %s", server.index, error.message)
            else:
                self._note_well(server)
                return event
            finally:
                server.n_running -= 1

    async def close(self) -> None:
        """Close all; see `EngineClient.close`."""
        self._spec = None
        await asyncio.gather(*(server.engine.close() for server in self._servers))

    async def _load(self, server: _Server, spec: LoadSpec) -> frames.Loaded | None:
        try:
            async with aclosing(server.engine.load(spec)) as events:
                async for event in events:
                    if isinstance(event, frames.Loaded):
                        self._note_well(server)
                        return event
        except EngineError as error:
            self._leave_alone(server, error)
        return None

    async def _choose(self, tried: set[int]) -> _Server:
        """Give the least loaded server that is well, or is well again."""
        if self._spec is None:
            raise ModelLoadError(
                f"No model is loaded in this engine ({len(self._servers)} endpoints). "
                "Load one first.",
                code="not_loaded",
            )
        now_s = self._clock.now()
        left = [one for one in self._servers if one.index not in tried]
        for server in sorted(left, key=lambda one: (one.load, one.index)):
            if server.error is None:
                return server
            if server.retry_at_s <= now_s and await self._is_well_again(server):
                return server
        # None is well: a server that was left alone is better than no answer at all.
        waiting = sorted(left, key=lambda one: one.retry_at_s)
        if not waiting:
            msg = "every server was tried"
            raise RuntimeError(msg)
        return waiting[0]

    async def _is_well_again(self, server: _Server) -> bool:
        """Ask a server that was left alone, or connect it if it never was."""
        # Whoever else comes meanwhile takes another one.
        server.retry_at_s = self._clock.now() + self._pause_s(server)
        try:
            await server.engine.check()
        except EngineError as error:
            if error.code == "not_loaded" and self._spec is not None:
                return await self._load(server, self._spec) is not None
            self._leave_alone(server, error)
            return False
        server.error = None
        return True

    def _has_another(self, tried: set[int]) -> bool:
        return any(one.index not in tried for one in self._servers)

    def _note_well(self, server: _Server) -> None:
        server.n_failures, server.error = 0, None

    def _note_failure(self, server: _Server, error: EngineError) -> None:
        """Leave a server alone that failed; a request that it refuses says nothing about it."""
        if _may_move_on(error):
            self._leave_alone(server, error)

    def _leave_alone(self, server: _Server, error: EngineError) -> None:
        server.n_failures += 1
        server.error = error
        pause_s = self._pause_s(server)
        if isinstance(error, EndpointBusyError) and error.retry_after_s is not None:
            pause_s = error.retry_after_s
        server.retry_at_s = self._clock.now() + pause_s
        logger.warning("server %d is left alone for %.0f s: %s", server.index, pause_s, error)

    def _pause_s(self, server: _Server) -> float:
        return min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(16, max(0, server.n_failures - 1)))

    def _for_caller(self, error: EngineError) -> EngineError:
        """Make a lost server one failed request, as long as there are others.

        A WorkerLostError would say that this engine is of no more use.
        """
        is_anyone_well = any(server.error is None for server in self._servers)
        if isinstance(error, RequestError) or not is_anyone_well:
            return error
        return RequestError(error.message, code=error.code)


def _may_move_on(error: EngineError) -> bool:
    is_refusal = isinstance(error, RequestError) and not isinstance(error, EndpointBusyError)
    return not is_refusal or error.code in _MOVES_ON
