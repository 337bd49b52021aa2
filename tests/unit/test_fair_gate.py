from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from luci_tui.host.openai.errors import ApiError
from luci_tui.host.openai.limits import FairGate


class Visitor:
    """One request at the gate, which stays inside until it is told to go."""

    def __init__(
        self,
        gate: FairGate,
        client: str,
        order: list[str],
        places: int = 1,
        lane: str = "model",
    ) -> None:
        self._gate, self._client, self._order, self._places = gate, client, order, places
        self._lane = lane
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit())

    async def _visit(self) -> None:
        async with self._gate.enter(self._lane, self._client, self._places):
            self._order.append(self._client)
            await self._leave.wait()

    async def leave(self) -> None:
        self._leave.set()
        await self.task


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_gate_given_a_greedy_client_then_the_others_take_turns_with_it() -> None:
    gate = FairGate()
    order: list[str] = []
    visitors = [Visitor(gate, client, order) for client in ("a", "a", "a", "b", "c", "b")]
    await settle()
    for turn in range(len(visitors)):
        assert gate.n_running == 1
        assert len(order) == turn + 1
        inside = next(v for v in visitors if v._client == order[-1] and not v.task.done())
        await inside.leave()
        await settle()
    assert order == ["a", "a", "b", "c", "a", "b"]
    assert (gate.n_running, gate.n_queued) == (0, 0)


async def test_gate_given_a_known_capacity_then_lets_in_as_many_and_no_more() -> None:
    gate = FairGate(max_running=4)
    order: list[str] = []
    visitors = [Visitor(gate, f"client {n}", order) for n in range(6)]
    await settle()
    assert (gate.n_running, gate.n_queued) == (1, 5)
    gate.set_capacity("model", 3)
    await settle()
    assert (gate.n_running, gate.n_queued) == (3, 3)
    gate.set_capacity("model", 9)
    await settle()
    assert (gate.n_running, gate.n_queued) == (4, 2)
    for visitor in visitors:
        await visitor.leave()
    assert (gate.n_running, gate.n_queued) == (0, 0)


async def test_gate_given_a_request_for_several_places_then_smaller_ones_do_not_overtake() -> None:
    gate = FairGate()
    gate.set_capacity("model", 2)
    order: list[str] = []
    first = Visitor(gate, "first", order)
    wide = Visitor(gate, "wide", order, places=5)
    late = Visitor(gate, "late", order)
    await settle()
    assert order == ["first"]
    await first.leave()
    await settle()
    assert order == ["first", "wide"]
    assert gate.n_running == 2
    await wide.leave()
    await late.leave()
    assert order == ["first", "wide", "late"]


async def test_gate_given_too_many_from_one_client_then_429_and_the_others_still_wait() -> None:
    gate = FairGate(max_queued=9, max_queued_per_client=1)
    order: list[str] = []
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(gate.enter("model", "a"))
        second = Visitor(gate, "a", order)
        await settle()
        with pytest.raises(ApiError) as caught:
            await stack.enter_async_context(gate.enter("model", "a"))
        other = Visitor(gate, "b", order)
        await settle()
        assert gate.n_queued == 2
    assert (caught.value.status, caught.value.headers()["retry-after"]) == (429, "2")
    await second.leave()
    await other.leave()
    assert sorted(order) == ["a", "b"]


async def test_gate_given_a_full_queue_then_503() -> None:
    gate = FairGate(max_queued=0)
    async with gate.enter("model", "a"):
        with pytest.raises(ApiError, match="wait already") as caught:
            await gate.enter("model", "b").__aenter__()
    assert (caught.value.status, caught.value.code) == (503, "server_overloaded")
    assert (gate.n_running, gate.n_queued) == (0, 0)


async def test_gate_given_a_wait_beyond_the_timeout_then_503_and_the_queue_is_empty() -> None:
    gate = FairGate(timeout_s=0.01)
    async with gate.enter("model", "a"):
        with pytest.raises(ApiError, match="its turn did not come") as caught:
            await gate.enter("model", "b").__aenter__()
        assert gate.n_queued == 0
    assert caught.value.code == "queue_timeout"


async def test_gate_given_a_request_cancelled_as_it_is_let_in_then_no_place_is_lost() -> None:
    gate = FairGate()
    order: list[str] = []
    first, second = Visitor(gate, "a", order), Visitor(gate, "b", order)
    await settle()
    first._leave.set()
    first.task.add_done_callback(lambda _: second.task.cancel())
    await asyncio.gather(first.task, second.task, return_exceptions=True)
    assert (gate.n_running, gate.n_queued) == (0, 0)
    async with gate.enter("model", "c"):
        assert gate.n_running == 1


async def test_gate_given_a_wide_request_then_other_models_do_not_keep_it_out() -> None:
    gate = FairGate(max_running=2)
    for lane in ("model", "other"):
        gate.set_capacity(lane, 2)
    order: list[str] = []
    running = [Visitor(gate, f"a{n}", order, lane="other") for n in range(2)]
    await settle()
    wide = Visitor(gate, "wide", order, places=2)
    late = Visitor(gate, "late", order, lane="other")
    await settle()
    await running[0].leave()
    await settle()
    assert order == ["a0", "a1"]
    await running[1].leave()
    await settle()
    assert order == ["a0", "a1", "wide"]
    await wide.leave()
    await late.leave()
    assert order[-1] == "late"
