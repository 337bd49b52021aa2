from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio

from luci_tui.engine.process import WorkerEngine
from luci_tui.errors import WorkerLostError
from tests.support import engines
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.tiny_vocab import CHATML_TEMPLATE

pytestmark = [pytest.mark.native, pytest.mark.asyncio(loop_scope="module")]

SIGNALS = {
    signal.SIGKILL: "ran out of memory",
    signal.SIGSEGV: "touched memory that is not its own",
    signal.SIGABRT: "stopped itself",
}


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return str(write_arch_model(TinyArch.LLAMA, path, chat_template=CHATML_TEMPLATE))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerEngine]:
    client = WorkerEngine(tmp_path_factory.mktemp("kills") / "worker.log")
    yield client
    await client.close()
    assert psutil.Process().children() == []


@pytest.mark.parametrize("seed", range(12))
async def test_worker_killed_while_it_streams_then_the_text_is_kept_and_the_next_load_works(
    engine: WorkerEngine, model_path: str, seed: int
) -> None:
    await kill_once(engine, model_path, random.Random(seed), list(SIGNALS)[seed % len(SIGNALS)])


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_worker_killed_two_hundred_times_then_every_error_is_typed(
    engine: WorkerEngine, model_path: str
) -> None:
    chance = random.Random(200)
    for _ in range(200):
        await kill_once(engine, model_path, chance, chance.choice(list(SIGNALS)))


async def kill_once(
    engine: WorkerEngine, model_path: str, chance: random.Random, number: signal.Signals
) -> None:
    await engines.load(engine, model_path, n_slots=3)
    pid = engine.pid
    assert pid is not None
    streams = [
        engine.generate(engines.endless(context_policy="shift"))
        for _ in range(chance.randint(1, 3))
    ]
    answers = [engines.Answer() for _ in streams]
    for stream, answer in zip(streams, answers, strict=True):
        for _ in range(chance.randint(1, 20)):
            answer.events.append(await anext(stream))
    kept = [answer.text for answer in answers]
    os.kill(pid, number)
    for stream, answer, text in zip(streams, answers, kept, strict=True):
        with pytest.raises(WorkerLostError, match=SIGNALS[number]):
            await answer.collect(stream)
        assert text
        assert answer.text.startswith(text)
    assert not psutil.pid_exists(pid)
    with pytest.raises(WorkerLostError):
        await engines.answer(engine, engines.request())
    await engines.load(engine, model_path)
    assert (await engines.answer(engine, engines.request())).text
