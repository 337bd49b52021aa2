"""Two real llama-servers behind one model, one of which is killed in the middle of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from luci_tui.errors import EngineError, RequestError, WorkerLostError
from luci_tui.manager.engines import engine_maker
from luci_tui.manager.entries import Dialect, Endpoint, ModelEntry
from luci_tui.manager.manager import Lease, ModelManager
from tests.support import engines
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.llama_servers import LONG_CONTEXT, LlamaServer, running, server_of
from tests.support.managers import Models

pytestmark = [pytest.mark.native, pytest.mark.slow, pytest.mark.timeout(7200)]

N_CTX = 131072


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[list[LlamaServer]]:
    model = write_arch_model(TinyArch.LLAMA, tmp_path / "llama.gguf")
    options = ("-c", str(2 * N_CTX), "-np", "2", "--metrics")
    both = [server_of(model, tmp_path, *options, *LONG_CONTEXT) for _ in range(2)]
    async with running(*both):
        yield both


def endpoint(server: LlamaServer) -> Endpoint:
    return Endpoint(
        base_url=server.base_url, model="far", dialect=Dialect.LLAMA_SERVER, max_parallel=2
    )


async def answer(lease: Lease) -> engines.Answer:
    return await engines.answer(lease.engine, engines.request(max_tokens=8))


async def begin(lease: Lease) -> tuple[engines.Answer, asyncio.Task[engines.Answer]]:
    """Begin an answer that goes on for long, and have some of it."""
    stream = lease.engine.generate(engines.endless())
    so_far = engines.Answer([await anext(stream)])
    return so_far, asyncio.create_task(so_far.collect(stream))


async def test_manager_given_two_servers_one_of_which_is_killed_then_only_its_answers_are_lost(
    tmp_path: Path, servers: list[LlamaServer]
) -> None:
    models = Models(tmp_path)
    models.entries["far"] = ModelEntry(
        name="far", endpoints=tuple(endpoint(server) for server in servers)
    )
    manager = ModelManager(models, engine_maker(tmp_path))
    async with manager.lease("far") as lease, asyncio.timeout(600):
        assert (lease.info.n_slots, lease.info.n_ctx) == (4, N_CTX)
        _, first = await begin(lease)  # on the first server, for it is the first of two idle ones
        so_far, second = await begin(lease)
        assert not first.done()
        await servers[1].kill()
        with pytest.raises(RequestError) as lost:
            await second
        assert not isinstance(lost.value, WorkerLostError)
        assert lost.value.code in {"endpoint_lost", "endpoint_unreachable"}
        assert servers[1].base_url in lost.value.message
        assert so_far.text
        # The next ones go to the other, also such that meet the dead one first.
        for done in await asyncio.gather(*(answer(lease) for _ in range(4))):
            assert done.done.usage.completion_tokens == 8
        await servers[1].start()
        await until_it_answers(servers[1], lease)
        # With both gone there is one typed error, and the model is asked for anew.
        for server in servers:
            await server.kill()
        with pytest.raises(EngineError, match="Check that the server runs"):
            await first
        with pytest.raises(WorkerLostError) as gone:
            await answer(lease)
        assert gone.value.code == "endpoint_unreachable"
    assert manager.snapshot()[0].n_restarts == 1
    await asyncio.gather(*(server.start() for server in servers))
    async with manager.lease("far") as lease:
        assert (await answer(lease)).text
    await manager.close()


async def until_it_answers(server: LlamaServer, lease: Lease) -> None:
    """Ask until a server that was left alone has answered."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while "tokens_predicted_total 0" in (await client.get(server.metrics_url)).text:
            assert (await answer(lease)).text
