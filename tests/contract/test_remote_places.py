from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.errors import EndpointBusyError
from luci_tui.manager.balance import BalancedEngine
from luci_tui.manager.clock import Clock
from luci_tui.manager.engines import engine_maker
from luci_tui.manager.entries import Endpoint, ModelEntry
from luci_tui.manager.manager import ModelManager
from luci_tui.manager.remote import RemoteEngine
from tests.support import engines
from tests.support.fake_clock import FakeClock
from tests.support.managers import Models
from tests.support.openai_server import MODEL, OpenAiServer, openai_server
from tests.support.waiting import until


@pytest.fixture
async def server() -> AsyncIterator[OpenAiServer]:
    async with openai_server() as running:
        yield running


def engine_of(server: OpenAiServer, max_parallel: int, clock: Clock | None = None) -> RemoteEngine:
    endpoint = Endpoint(base_url=server.base_url, model=MODEL, max_parallel=max_parallel)
    return RemoteEngine(endpoint, clock)


async def load(engine: EngineClient) -> frames.ModelInfo:
    return await engines.load(engine, MODEL)


def ask(engine: EngineClient, text: str) -> asyncio.Task[engines.Answer]:
    messages = json.dumps([{"role": "user", "content": text}])
    wanted = frames.Generate(request_id=0, messages_json=messages)
    return asyncio.create_task(engines.answer(engine, wanted))


def texts(server: OpenAiServer) -> list[str]:
    """Give what the server was asked, in the order in which it came."""
    found: list[str] = []
    for body in server.bodies:
        messages = body["messages"]
        assert isinstance(messages, list)
        message = messages[-1]
        assert isinstance(message, dict)
        found.append(str(message["content"]))
    return found


async def test_remote_given_more_requests_than_places_then_the_rest_wait_in_order(
    server: OpenAiServer,
) -> None:
    engine = engine_of(server, 2)
    assert (await load(engine)).n_slots == 2
    server.faults = ["slow"] * 2
    running = [ask(engine, str(number)) for number in range(5)]
    await until(lambda: server.n_running == 2)
    report = await engine.ask(frames.Status(request_id=0))
    assert isinstance(report, frames.StatusReport)
    assert report.n_queued == 3
    assert sorted(texts(server)) == ["0", "1"]
    # One that goes away leaves its turn to the next.
    running[2].cancel()
    server.gate.set()
    answers = await asyncio.gather(*running, return_exceptions=True)
    assert [isinstance(answer, engines.Answer) for answer in answers] == [1, 1, 0, 1, 1]
    assert texts(server)[2:] == ["3", "4"]
    assert (await ask(engine, "after")).text == "a: after "
    await engine.close()


async def test_remote_given_no_free_place_for_long_then_says_who_is_busy(
    server: OpenAiServer,
) -> None:
    clock = FakeClock()
    engine = engine_of(server, 1, clock)
    await load(engine)
    server.faults = ["slow"]
    first = ask(engine, "first")
    await until(lambda: server.n_running == 1)
    second = ask(engine, "second")
    await until(lambda: clock.sleeping_s == [300.0])
    await clock.move(300)
    with pytest.raises(EndpointBusyError, match=r"1 request at a time.*max_parallel"):
        await second
    server.gate.set()
    assert (await first).text == "a: first "
    assert (await ask(engine, "third")).text == "a: third "
    await engine.close()


async def test_remote_given_a_close_then_those_who_wait_end_as_cancelled_and_are_never_sent(
    server: OpenAiServer,
) -> None:
    engine = engine_of(server, 1)
    await load(engine)
    server.faults = ["slow"]
    both = [ask(engine, text) for text in ("runs", "waits")]
    await until(lambda: server.n_running == 1)
    await engine.close()
    for answer in await asyncio.gather(*both):
        assert answer.done.finish_reason is frames.FinishReason.CANCELLED
    assert texts(server) == ["runs"]


async def test_balanced_given_servers_of_different_size_then_each_gets_its_share_and_the_rest_wait(
    server: OpenAiServer,
) -> None:
    async with openai_server("b") as other:
        engine = BalancedEngine([engine_of(server, 1), engine_of(other, 3)])
        assert (await load(engine)).n_slots == 4
        server.faults, other.faults = ["slow"], ["slow"] * 3
        running = [ask(engine, str(number)) for number in range(5)]
        await until(lambda: (server.n_running, other.n_running) == (1, 3))
        # The last one goes to whoever is free first.
        server.gate.set()
        assert (await running[4]).text == "a: 4 "
        assert not all(one.done() for one in running[:4])
        other.gate.set()
        answers = await asyncio.gather(*running)
        assert sorted(answer.text[0] for answer in answers) == ["a", "a", "b", "b", "b"]
        await engine.close()


async def test_manager_given_an_endpoint_then_eight_requests_run_at_once(tmp_path: Path) -> None:
    models = Models(tmp_path)
    async with openai_server() as server:
        endpoint = Endpoint(base_url=server.base_url, model=MODEL)
        models.entries["far"] = ModelEntry(name="far", endpoints=(endpoint,))
        manager = ModelManager(models, engine_maker(tmp_path))
        server.faults = ["", *["slow"] * 8]
        async with manager.lease("far") as lease:
            assert lease.info.n_slots == 8
            running = [ask(lease.engine, str(number)) for number in range(9)]
            await until(lambda: server.n_running == 8)
            assert len(server.bodies) == 8
            server.gate.set()
            assert len(await asyncio.gather(*running)) == 9
        await manager.close()
