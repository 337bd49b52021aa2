from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from luci_tui.engine import frames
from luci_tui.engine.child import MAX_LOG_BYTES
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.process import WorkerEngine, WorkerOptions
from luci_tui.errors import ModelLoadError, RequestError, WorkerLostError
from tests.support import bad_worker, engines
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.lora import write_lora
from tests.support.tiny_vocab import CHATML_TEMPLATE, TINY_SPM

pytestmark = pytest.mark.native

PROC = Path("/proc")
MakeEngine = Callable[..., WorkerEngine]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return str(write_arch_model(TinyArch.LLAMA, path, chat_template=CHATML_TEMPLATE))


@pytest.fixture
async def make_engine(tmp_path: Path) -> AsyncIterator[MakeEngine]:
    made: list[WorkerEngine] = []

    def make(fault: str = "", **options: float) -> WorkerEngine:
        command = bad_worker.command(fault) if fault else WorkerOptions().command
        engine = WorkerEngine(tmp_path / "worker.log", WorkerOptions(command, **options))
        made.append(engine)
        return engine

    yield make
    for engine in made:
        await engine.close()
    assert [child for child in psutil.Process().children() if is_worker(child)] == []


def is_worker(process: psutil.Process) -> bool:
    words = " ".join(process.cmdline())
    return "luci_tui.engine.worker" in words or "bad_worker" in words


async def status_of(engine: WorkerEngine) -> frames.StatusReport:
    report = await engine.ask(frames.Status(request_id=0))
    assert isinstance(report, frames.StatusReport)
    return report


async def test_worker_given_a_failed_assertion_then_the_sentence_quotes_it(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine("asserts")
    await engines.load(engine, model_path)
    with pytest.raises(
        WorkerLostError, match=r"SIGABRT\): ggml.c:1234: GGML_ASSERT\(n_tok"
    ) as caught:
        await engines.answer(engine, engines.request())
    assert "\x1b" not in caught.value.message
    with pytest.raises(WorkerLostError, match="GGML_ASSERT"):
        await engine.ask(frames.Status(request_id=0))
    assert engine.pid is None


async def test_worker_given_a_model_that_the_core_aborts_on_then_it_refuses_the_load(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    twice = replace(TINY_SPM, texts=(*TINY_SPM.texts[:-1], TINY_SPM.texts[-2]))
    path = write_arch_model(TinyArch.LLAMA, tmp_path / "twice.gguf", vocab=twice)
    engine = make_engine()
    with pytest.raises(ModelLoadError, match=r"stands in the vocabulary twice") as refused:
        await engines.load(engine, str(path))
    assert refused.value.code == "M04"
    assert engine.pid is None


async def test_worker_given_an_exit_code_then_the_sentence_has_it_and_the_last_line(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine("exits")
    await engines.load(engine, model_path)
    with pytest.raises(WorkerLostError, match=r"exit code 9: the disk is on fire\."):
        await engines.answer(engine, engines.request())


async def test_worker_given_a_step_that_never_ends_then_it_is_ended(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine("stuck", stuck_s=0.5)
    await engines.load(engine, model_path)
    pid = engine.pid
    with pytest.raises(WorkerLostError, match="stuck in step 1"):
        await engines.answer(engine, engines.request())
    assert pid is not None
    assert not psutil.pid_exists(pid)


async def test_worker_given_no_sign_of_life_then_it_is_ended(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine(silent_s=3.0)
    await engines.load(engine, model_path)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLostError, match="no sign of life"):
        await engines.answer(engine, engines.request())


async def test_worker_given_an_unknown_error_then_its_requests_fail_and_it_goes_on(
    make_engine: MakeEngine, model_path: str, tmp_path: Path
) -> None:
    engine = make_engine("raises")
    await engines.load(engine, model_path)
    with pytest.raises(RequestError, match="has the traceback") as caught:
        await engines.answer(engine, engines.request())
    assert caught.value.code == "internal"
    assert "a fault that the test put here" in (tmp_path / "worker.log").read_text()
    assert (await engines.answer(engine, engines.request())).text


async def test_worker_given_native_prints_then_frames_stay_whole(
    make_engine: MakeEngine, model_path: str, tmp_path: Path
) -> None:
    engine = make_engine("babbles")
    await engines.load(engine, model_path)
    assert (await engines.answer(engine, engines.request())).text
    assert "hello from a library" in (tmp_path / "worker.log").read_text()


async def test_worker_given_no_frames_from_it_then_it_is_ended(
    make_engine: MakeEngine, model_path: str
) -> None:
    with pytest.raises(WorkerLostError, match="no valid message"):
        await engines.load(make_engine("garbage"), model_path)


async def test_worker_given_a_dead_thread_then_it_leaves(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine("deaf")
    await engines.load(engine, model_path)
    with pytest.raises(WorkerLostError, match="lost one of its threads"):
        await engines.answer(engine, engines.request())


async def test_load_given_no_native_core_then_says_how_to_build_it(
    make_engine: MakeEngine, model_path: str
) -> None:
    with pytest.raises(ModelLoadError, match="pip install") as caught:
        await engines.load(make_engine("no_core"), model_path)
    assert caught.value.code == "no_native_core"


async def test_load_given_a_closed_iterator_then_no_worker_is_left(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine("slow_load")
    spec = LoadSpec(model_path=model_path, n_ctx=256, n_threads=1)
    async with aclosing(engine.load(spec)) as events:
        assert isinstance(await anext(events), frames.LoadProgress)
    assert not [child for child in psutil.Process().children() if is_worker(child)]
    with pytest.raises(ModelLoadError, match="Load one first"):
        await engines.answer(engine, engines.request())


async def test_load_given_close_from_elsewhere_then_it_fails(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine("slow_load")
    events = engine.load(LoadSpec(model_path=model_path, n_ctx=256, n_threads=1))
    assert isinstance(await anext(events), frames.LoadProgress)
    with pytest.raises(RuntimeError, match="another load"):
        await engines.load(engine, model_path)
    await engine.close()
    with pytest.raises(ModelLoadError) as caught:
        [event async for event in events]
    assert caught.value.code == "cancelled"


async def test_close_given_a_worker_that_does_not_answer_then_it_is_killed(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine(grace_s=0.2)
    await engines.load(engine, model_path)
    stream = engine.generate(engines.endless("shift"))
    answer = engines.Answer([await anext(stream)])
    pid = engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await engine.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(WorkerLostError, match="was closed") as caught:
        await answer.collect(stream)
    assert caught.value.code == "closed"


async def test_ask_given_more_than_a_frame_then_refuses_only_this_one(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine()
    await engines.load(engine, model_path)
    command = frames.Tokenize(request_id=0, text="a" * frames.MAX_FRAME_BYTES)
    with pytest.raises(RequestError, match=str(frames.MAX_FRAME_BYTES)) as caught:
        await engine.ask(command)
    assert caught.value.code == "too_long"
    assert (await engines.answer(engine, engines.request())).text


async def test_load_given_a_bad_file_then_the_model_before_stays(
    make_engine: MakeEngine, model_path: str, tmp_path: Path
) -> None:
    engine = make_engine()
    await engines.load(engine, model_path)
    pid = engine.pid
    bad = tmp_path / "bad.gguf"
    bad.write_text("<html>")
    for path, code in [(bad, "html_file"), (tmp_path / "none", "missing_file")]:
        with pytest.raises(ModelLoadError) as caught:
            await engines.load(engine, str(path))
        assert caught.value.code == code
    with pytest.raises(ModelLoadError, match="cannot be read") as caught:
        await engines.load(engine, str(PROC / "self" / "mem"))
    assert caught.value.code == "unreadable_file"
    with pytest.raises(ModelLoadError, match="no file"):
        await engines.load(engine, model_path, loras=[{"path": str(tmp_path / "none")}])
    assert engine.pid == pid
    assert (await engines.answer(engine, engines.request())).text


async def test_load_given_more_than_memory_then_refuses_before_a_worker_starts(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine()
    with pytest.raises(ModelLoadError, match="GiB is free") as caught:
        await engines.load(engine, model_path, n_ctx=2**36)
    assert caught.value.code == "out_of_memory"
    assert engine.pid is None


async def test_load_given_what_the_core_refuses_then_its_sentence_arrives(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine()
    with pytest.raises(ModelLoadError, match="2048") as caught:
        await engines.load(engine, model_path, n_ctx=4096)
    assert caught.value.code == "n_ctx_beyond_training"


async def test_load_given_no_such_program_then_says_so(tmp_path: Path, model_path: str) -> None:
    options = WorkerOptions(command=(str(tmp_path / "no-such-program"),))
    engine = WorkerEngine(tmp_path / "worker.log", options)
    with pytest.raises(ModelLoadError, match="cannot be started") as caught:
        await engines.load(engine, model_path)
    assert caught.value.code == "spawn"


async def test_ask_given_a_cancelled_bench_then_the_engine_is_free_again(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine()
    await engines.load(engine, model_path)
    bench = frames.Bench(request_id=0, n_prompt=64, n_gen=64, repetitions=100_000)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engine.ask(bench), timeout=0.3)
    assert (await engines.answer(engine, engines.request())).text


async def test_generate_given_logprobs_then_each_token_has_them(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine()
    await engines.load(engine, model_path)
    sampling = frames.SamplingParams(temperature=0.0, ignore_eos=True, n_logprobs=3)
    answer = await engines.answer(engine, engines.request(sampling=sampling))
    logprobs = [one for delta in answer.deltas for one in delta.logprobs]
    assert tuple(one.token for one in logprobs) == answer.tokens
    for one in logprobs:
        assert len(one.top) == 3
        assert one.top[0] == (one.token, one.text, one.logprob)
        assert one.logprob < 0


async def test_state_file_given_a_saved_slot_then_its_tokens_are_cached_in_the_next_worker(
    make_engine: MakeEngine, model_path: str, tmp_path: Path
) -> None:
    engine = make_engine()
    await engines.load(engine, model_path)
    first = await engines.answer(engine, engines.request())
    file = tmp_path / "slot.state"
    path = str(file)
    saved = await engine.ask(frames.StateFile(request_id=0, action="save", slot=0, path=path))
    assert isinstance(saved, frames.StateDone)
    assert saved.size_bytes == file.stat().st_size
    await engines.load(engine, model_path)
    restored = await engine.ask(frames.StateFile(request_id=0, action="restore", slot=0, path=path))
    assert isinstance(restored, frames.StateDone)
    assert restored.n_tokens == saved.n_tokens
    second = await engines.answer(engine, engines.request())
    assert second.text == first.text
    assert second.done.usage.cached_tokens == second.done.usage.prompt_tokens - 1
    with pytest.raises(RequestError, match="slot 7") as caught:
        await engine.ask(frames.StateFile(request_id=0, action="save", slot=7, path=path))
    assert caught.value.code == "invalid_request"


async def test_generate_given_loras_then_scales_by_path_and_refuses_unknown_ones(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    base = str(write_arch_model(TinyArch.LLAMA, tmp_path / "base.gguf"))
    adapter = str(write_lora(tmp_path / "adapter.gguf"))
    engine = make_engine()
    await engines.load(engine, base, n_ctx=128, loras=[{"path": adapter, "scale": 0.0}])
    tokens = tuple(range(20, 40))
    plain, on, again = [
        await engines.answer(engine, engines.request(prompt=None, tokens=tokens, loras=loras))
        for loras in (None, [{"path": adapter, "scale": 1.0}], [])
    ]
    assert plain.tokens == again.tokens != on.tokens
    with pytest.raises(RequestError, match="is not loaded with this model"):
        await engines.answer(engine, engines.request(loras=[{"path": base}]))


async def test_generate_given_many_requests_that_end_in_all_ways_then_the_engine_is_clean(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine()
    await engines.load(engine, model_path, n_slots=4)
    chance = random.Random(4)

    async def one(way: str) -> int:
        stream = engine.generate(engines.endless("shift" if way != "whole" else "refuse"))
        async with aclosing(stream):
            for _ in range(chance.randint(1, 5)):
                event = await anext(stream)
            if way == "cancelled":
                await engine.ask(frames.Cancel(request_id=event.request_id))
            if way != "closed":
                return len((await engines.Answer().collect(stream)).events)
        return 0

    ways = [chance.choice(["whole", "closed", "cancelled"]) for _ in range(60)]
    n_events = await asyncio.gather(*(one(way) for way in ways))
    assert [n > 0 for n in n_events] == [way != "closed" for way in ways]
    async with asyncio.timeout(10):
        while not all(slot.state == "idle" for slot in (await status_of(engine)).slots):
            pass
    assert (await status_of(engine)).n_queued == 0


async def test_worker_given_linux_then_dies_first_and_alone(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine()
    await engines.load(engine, model_path)
    assert engine.pid is not None
    assert os.getsid(engine.pid) == engine.pid
    adjustment = PROC / str(engine.pid) / "oom_score_adj"
    assert adjustment.read_text().strip() == "800"


async def test_worker_given_a_long_log_then_the_next_one_starts_a_new_file(
    make_engine: MakeEngine, model_path: str, tmp_path: Path
) -> None:
    log_path = tmp_path / "worker.log"
    log_path.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    await engines.load(make_engine(), model_path)
    assert log_path.with_name("worker.log.1").stat().st_size == MAX_LOG_BYTES + 1
    assert 0 < log_path.stat().st_size < MAX_LOG_BYTES


async def test_load_given_an_iterator_left_at_loaded_then_another_load_may_follow(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine()
    left = engine.load(LoadSpec(model_path=model_path, n_ctx=256, n_threads=1))
    while not isinstance(await anext(left), frames.Loaded):
        pass
    await engines.load(engine, model_path)
    assert (await engines.answer(engine, engines.request())).text


async def test_generate_given_a_message_longer_than_the_pipe_then_it_arrives(
    make_engine: MakeEngine, model_path: str
) -> None:
    engine = make_engine()
    await engines.load(engine, model_path)
    text = "the letters " * 100_000
    tokens = await asyncio.gather(
        *(engine.ask(frames.Tokenize(request_id=0, text=text)) for _ in range(3))
    )
    counts = {len(one.tokens) for one in tokens if isinstance(one, frames.Tokenized)}
    assert len(counts) == 1
    assert counts.pop() > 300_000


async def test_worker_given_a_killed_parent_then_it_leaves(model_path: str, tmp_path: Path) -> None:
    script = Path(bad_worker.__file__).with_name("orphan_maker.py")
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), model_path, str(tmp_path / "worker.log")),
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    worker = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    _, alive = psutil.wait_procs([worker], timeout=10)
    assert alive == []
