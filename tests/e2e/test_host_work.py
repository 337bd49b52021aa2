from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import psutil
import pytest

from luci_tui.errors import WorkerLostError
from luci_tui.host.api.messages import ChatFields, JobRecord, JobState, StartTurn
from luci_tui.host.client import HostClient
from luci_tui.host.host_engine import HostEngine
from luci_tui.host.lifecycle import Launcher, ensure_host, wait_gone
from tests.support import engines
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.hosts import ECHO, TALKING, children_of, pid_of, running_host
from tests.support.jobs import names_in, part_bytes, quantize_spec
from tests.support.tiny_vocab import CHATML_TEMPLATE
from tests.support.wide_models import write_wide_model


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
async def client(home: Path) -> AsyncIterator[HostClient]:
    async with running_host(home, TALKING) as found:
        yield found


async def begin_turn(client: HostClient, text: str) -> str:
    chat = await client.request("POST", "/luci/chats", ChatFields({"title": "a test"}))
    return await client.start_turn(json.loads(chat.content)["id"], StartTurn(text=text))


async def read_turn(client: HostClient, turn_id: str, after: int, n_events: int) -> list[bytes]:
    """Read some events of a turn, and leave in the middle of it."""
    found: list[bytes] = []
    async with asyncio.timeout(60), aclosing(client.turn_events(turn_id, after)) as events:
        async for event in events:
            assert event.seq == after + len(found) + 1
            found.append(event.data)
            if len(found) == n_events:
                break
    return found


async def test_front_ends_that_vanish_in_a_turn_lose_no_event(
    home: Path, client: HostClient
) -> None:
    words = [f"word{number}" for number in range(150)]
    turn_id = await begin_turn(client, " ".join(words))
    seen: list[bytes] = []
    for n_events in (1, 7, 40, 1000):
        front_end = await ensure_host(home, TALKING)
        seen += await read_turn(front_end, turn_id, len(seen), n_events)
        await front_end.close()
    told = [json.loads(data) for data in seen]
    said = "".join(one["text"] for one in told if one["kind"] == "turn_delta")
    assert said.split() == words
    assert told[-1]["kind"] == "turn_done"


async def test_turn_that_is_cancelled_ends_and_keeps_what_was_said(client: HostClient) -> None:
    turn_id = await begin_turn(client, "word " * 5000)
    await read_turn(client, turn_id, 0, 3)
    await client.cancel_turn(turn_id)
    *_, last = await read_turn(client, turn_id, 0, 10_000)
    assert json.loads(last) == {"kind": "turn_failed", "code": "cancelled"}


async def test_host_that_is_asked_to_leave_lets_an_answer_end_first(
    home: Path, client: HostClient
) -> None:
    turn_id = await begin_turn(client, "word " * 100)
    await read_turn(client, turn_id, 0, 2)
    reading = asyncio.create_task(read_turn(client, turn_id, 2, 1000))
    pid = pid_of(home)
    os.kill(pid, signal.SIGTERM)
    assert json.loads((await reading)[-1])["kind"] == "turn_done"
    assert await wait_gone(pid, 30)


async def test_answer_whose_reader_goes_away_is_cancelled(client: HostClient) -> None:
    engine = HostEngine(client)
    await engines.load(engine, "any.gguf", n_ctx=1_000_000)
    async with aclosing(engine.generate(engines.endless())) as stream:
        await anext(stream)
    async with asyncio.timeout(30):
        while (await client.status()).n_clients > 1:  # the engine that is held
            pass
    await engine.close()
    async with asyncio.timeout(30):
        while not (await client.hello()).is_idle:
            pass


async def test_engine_of_a_host_that_was_killed_is_lost(home: Path, client: HostClient) -> None:
    engine = HostEngine(client)
    await engines.load(engine, "any.gguf", n_ctx=1_000_000)
    stream = engine.generate(engines.endless())
    await anext(stream)
    os.kill(pid_of(home), signal.SIGKILL)
    with pytest.raises(WorkerLostError, match="does not answer"):
        await engines.Answer().collect(stream)
    with pytest.raises(WorkerLostError):
        await engine.ask(engines.frames.Status(request_id=0))
    await engine.close()


@pytest.mark.native
async def test_killed_host_leaves_no_worker_behind(home: Path, tmp_path: Path) -> None:
    model = str(
        write_arch_model(TinyArch.LLAMA, tmp_path / "tiny.gguf", chat_template=CHATML_TEMPLATE)
    )
    async with running_host(home, Launcher(arguments=("--idle-exit-s", "60"))) as client:
        engine = HostEngine(client)
        await engines.load(engine, model)
        assert (await engines.answer(engine, engines.request())).text
        (worker,) = children_of(pid_of(home))
        os.kill(pid_of(home), signal.SIGKILL)
        assert await wait_gone(worker.pid, 30)
        await engine.close()


@pytest.mark.native
async def test_job_goes_on_without_its_front_end_and_is_found_again(
    home: Path, tmp_path: Path
) -> None:
    source = await asyncio.to_thread(write_wide_model, tmp_path / "wide-F16.gguf")
    output = tmp_path / "wide-Q8_0.gguf"
    spec = quantize_spec(source, [("Q8_0", output)]).model_dump(mode="json", exclude={"kind"})
    async with running_host(home):
        first = await ensure_host(home, ECHO)
        job = await first.start_job("quantize", spec)
        await first.close()
        second = await ensure_host(home, ECHO)
        ended = await follow(second, job.id)
        assert ended.state is JobState.DONE
        assert ended.result is not None
        (made,) = cast("list[dict[str, int]]", ended.result["files"])
        assert output.stat().st_size == made["size_bytes"]
        await second.close()


@pytest.mark.native
async def test_job_of_a_killed_host_is_interrupted_and_leaves_no_process(
    home: Path, tmp_path: Path
) -> None:
    source = await asyncio.to_thread(write_wide_model, tmp_path / "wide-F16.gguf")
    folder = tmp_path / "out"
    folder.mkdir()
    outputs = [(name, folder / f"{name}.gguf") for name in ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M")]
    spec = quantize_spec(source, outputs, n_threads=1).model_dump(mode="json", exclude={"kind"})
    async with running_host(home) as client:
        job = await client.start_job("quantize", spec)
        async with asyncio.timeout(60):
            while not part_bytes(folder):
                assert (await client.job(job.id)).state is JobState.RUNNING
        children: list[psutil.Process] = children_of(pid_of(home))
        os.kill(pid_of(home), signal.SIGKILL)
        for child in children:
            assert await wait_gone(child.pid, 30)
        again = await ensure_host(home, ECHO)
        assert (await again.job(job.id)).state is JobState.INTERRUPTED
        assert (await follow(again, job.id)).state is JobState.INTERRUPTED
        await again.close()


@pytest.mark.native
async def test_quantize_job_of_a_killed_host_is_resumed_and_keeps_what_is_done(
    home: Path, tmp_path: Path
) -> None:
    source = await asyncio.to_thread(write_wide_model, tmp_path / "wide-F16.gguf")
    outputs = [(name, tmp_path / f"{name}.gguf") for name in ("Q8_0", "Q2_K", "Q3_K_M", "Q4_K_M")]
    spec = quantize_spec(source, outputs, n_threads=1).model_dump(mode="json", exclude={"kind"})
    async with running_host(home) as client:
        job = await client.start_job("quantize", spec)
        async with asyncio.timeout(60):
            while not outputs[0][1].exists():
                assert (await client.job(job.id)).state is JobState.RUNNING
        children: list[psutil.Process] = children_of(pid_of(home))
        os.kill(pid_of(home), signal.SIGKILL)
        for child in children:
            assert await wait_gone(child.pid, 30)
        first = outputs[0][1].stat()
        again = await ensure_host(home, ECHO)
        resumed = await again.resume_job(job.id)
        ended = await follow(again, resumed.id)
        assert ended.state is JobState.DONE, ended.error
        assert ended.result is not None
        files = cast("list[dict[str, object]]", ended.result["files"])
        assert files[0]["was_kept"] is True
        assert files[-1]["was_kept"] is False
        assert outputs[0][1].stat().st_mtime_ns == first.st_mtime_ns
        assert [path.exists() for _, path in outputs] == [True] * 4
        assert not any(".part-" in name for name in names_in(tmp_path))
        await again.close()


async def follow(client: HostClient, job_id: str) -> JobRecord:
    """Read a job's events to their end."""
    last = None
    async with asyncio.timeout(120), aclosing(client.job_events(job_id)) as events:
        async for event in events:
            last = event
    assert last is not None
    assert last.kind == "job"
    return last.job


@pytest.mark.native
async def test_engines_of_single_clients_are_listed_and_run_asks_the_host_for_one(
    home: Path, tmp_path: Path
) -> None:
    write_arch_model(TinyArch.LLAMA, tmp_path / "tiny.gguf", chat_template=CHATML_TEMPLATE)
    async with running_host(home, Launcher(arguments=("--idle-exit-s", "60"))) as client:
        engine = HostEngine(client)
        await engines.load(engine, str(tmp_path / "tiny.gguf"))
        (held,) = (await client.models()).loaded
        assert (held.name, held.is_own, held.n_leases) == ("tiny.gguf#1", True, 1)
        assert held.needed_bytes > 0
        command = [sys.executable, "-m", "luci_tui", "run", "tiny.gguf", "the", "--max-tokens", "4"]
        env = {**os.environ, "LUCI_HOME": str(home), "PYTHONPATH": str(Path.cwd())}
        run = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=env)
        assert await asyncio.wait_for(run.wait(), 60) == 0
        assert (home / "logs" / "worker-tiny.gguf-2.log").exists()
        assert not (home / "logs" / "worker.log").exists()
        await engine.close()
        async with asyncio.timeout(30):
            while (await client.models()).loaded:
                pass
