"""A fair queue: how many requests run, how many wait, and whose turn it is."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from luci_tui.host.openai.errors import RETRY_AFTER_S, ApiError


@dataclass(eq=False)
class _Waiter:
    lane: str
    client: str
    places: int
    admitted: asyncio.Future[None]


@dataclass
class _Lane:
    """One model's queue: clients take turns, each has its requests in order."""

    capacity: int = 1
    """Unknown until the model is loaded: one request loads it, the others wait fairly."""
    n_running: int = 0
    clients: OrderedDict[str, deque[_Waiter]] = field(
        default_factory=OrderedDict[str, deque[_Waiter]]
    )

    def head(self) -> _Waiter | None:
        """Return the request whose turn it is."""
        return next(iter(self.clients.values()))[0] if self.clients else None

    def add(self, waiter: _Waiter) -> None:
        self.clients.setdefault(waiter.client, deque()).append(waiter)

    def remove(self, waiter: _Waiter) -> None:
        """Take a request out; if it was admitted, its client goes to the end of the line."""
        waiters = self.clients[waiter.client]
        waiters.remove(waiter)
        if not waiters:
            del self.clients[waiter.client]
        elif waiter.admitted.done():
            self.clients.move_to_end(waiter.client)


class FairGate:
    """Lets requests in, client by client in turn, so that no client can starve another.

    Each model is a lane with as many places as it has slots; over all lanes at most `max_running`
    places are taken. Belongs to one event loop.

    Args:
        max_running: Places over all lanes.
        max_queued: Requests that may wait over all lanes.
        max_queued_per_client: Of one client.
        timeout_s: How long a request waits before it is turned away.
    """

    def __init__(
        self,
        max_running: int = 16,
        max_queued: int = 128,
        max_queued_per_client: int = 64,
        timeout_s: float = 300.0,
    ) -> None:
        self._max_running = max_running
        self._max_queued = max_queued
        self._max_queued_per_client = max_queued_per_client
        self._timeout_s = timeout_s
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()
        self.n_running = 0
        """Places that are taken."""
        self.n_queued = 0
        """Requests that wait."""

    def set_capacity(self, lane: str, n_places: int) -> None:
        """Say how many requests a model answers at once, as soon as that is known."""
        self._lane(lane).capacity = max(1, n_places)
        self._admit()

    @asynccontextmanager
    async def enter(self, lane: str, client: str, places: int = 1) -> AsyncGenerator[None]:
        """Wait for a turn, and hold `places` places inside the `async with`.

        More places than a lane has are taken as all that it has.

        Raises:
            ApiError: 429 when this client has too many requests waiting, 503 when all have.
        """
        taken = await self._wait(lane, client, places)
        try:
            yield
        finally:
            self._lanes[lane].n_running -= taken
            self.n_running -= taken
            self._admit()

    async def _wait(self, lane_name: str, client: str, places: int) -> int:
        lane = self._lane(lane_name)
        waiter = _Waiter(
            lane_name, client, max(1, places), asyncio.get_running_loop().create_future()
        )
        lane.add(waiter)
        self.n_queued += 1
        self._admit()
        if not waiter.admitted.done():
            try:
                self._check_room(client)
                async with asyncio.timeout(self._timeout_s):
                    # Shielded, so that "done" keeps meaning "admitted" when the request goes away.
                    await asyncio.shield(waiter.admitted)
            except BaseException as error:
                self._give_up(waiter)
                if isinstance(error, TimeoutError):
                    raise self._timed_out() from error
                raise
        return waiter.places

    def _check_room(self, client: str) -> None:
        """Turn away the request that was just queued if it is one too many."""
        n_of_client = sum(len(lane.clients.get(client, ())) for lane in self._lanes.values())
        if n_of_client > self._max_queued_per_client:
            raise ApiError(
                429,
                "rate_limit_exceeded",
                f"{n_of_client - 1} of your requests wait already, and no more than "
                f"{self._max_queued_per_client} may. Wait for an answer and try again.",
                retry_after_s=RETRY_AFTER_S,
            )
        if self.n_queued > self._max_queued:
            raise ApiError(
                503,
                "server_overloaded",
                f"{self.n_queued - 1} requests wait already, and no more than "
                f"{self._max_queued} may. Try again later.",
                retry_after_s=RETRY_AFTER_S,
            )

    def _timed_out(self) -> ApiError:
        return ApiError(
            503,
            "queue_timeout",
            f"The request waited {self._timeout_s:g} s and its turn did not come. Try again later.",
            retry_after_s=RETRY_AFTER_S,
        )

    def _give_up(self, waiter: _Waiter) -> None:
        """Leave the queue, or give back the places that came at the same moment."""
        lane = self._lanes[waiter.lane]
        if waiter.admitted.done():
            lane.n_running -= waiter.places
            self.n_running -= waiter.places
        else:
            lane.remove(waiter)
            self.n_queued -= 1
        self._admit()

    def _admit(self) -> None:
        """Let in whom there is room for; lanes take turns, and in each lane its clients do."""
        has_moved = True
        while has_moved:
            has_moved = False
            for name in list(self._lanes):
                lane = self._lanes[name]
                waiter = lane.head()
                if waiter is None:
                    continue
                places = min(waiter.places, lane.capacity, self._max_running)
                if places > lane.capacity - lane.n_running:
                    continue
                if places > self._max_running - self.n_running:
                    # Places that come free are kept for it, or smaller ones would always be first.
                    return
                self._let_in(lane, waiter, places)
                self._lanes.move_to_end(name)
                has_moved = True

    def _let_in(self, lane: _Lane, waiter: _Waiter, places: int) -> None:
        waiter.places = places
        waiter.admitted.set_result(None)
        lane.remove(waiter)
        lane.n_running += places
        self.n_running += places
        self.n_queued -= 1

    def _lane(self, name: str) -> _Lane:
        return self._lanes.setdefault(name, _Lane())
