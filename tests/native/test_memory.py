from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.engine import frames, job_frames, memory, native
from luci_tui.engine.job_process import run_job
from luci_tui.errors import EngineError
from luci_tui.gguf.header import read_header
from tests.support.arch_models import TinyArch
from tests.support.memory_table import loads_of, measure, write_model

CASES = [(arch, load) for arch in TinyArch for load in loads_of(arch)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory")


@pytest.mark.parametrize(("arch", "load"), CASES, ids=str)
def test_estimate_given_a_model_then_is_within_5_percent_of_llama_cpp(
    folder: Path, arch: TinyArch, load: str
) -> None:
    path = write_model(arch, folder)
    spec = frames.LoadSpec.model_validate({"model_path": str(path), **loads_of(arch)[load]})
    planned = native.plan_memory(spec)
    estimated = memory.estimate(read_header(path), spec)
    assert estimated.weights_bytes == planned.weights_bytes
    assert estimated.kv_bytes == planned.state_bytes
    assert estimated.output_bytes == planned.output_bytes
    assert estimated.total_bytes == pytest.approx(planned.total_bytes, rel=0.05)
    assert estimated.compute_bytes == pytest.approx(planned.compute_bytes, rel=0.1)


@pytest.mark.parametrize("arch", [TinyArch.LLAMA, TinyArch.JAMBA, TinyArch.BERT])
async def test_worker_given_a_load_then_takes_what_the_plan_says(
    folder: Path, arch: TinyArch
) -> None:
    load = next(iter(loads_of(arch)))
    measured = await measure(arch, load, folder)
    fields = {"model_path": str(write_model(arch, folder)), **loads_of(arch)[load]}
    assert measured.taken == native.plan_memory(frames.LoadSpec.model_validate(fields))
    assert abs(measured.error) < 0.05


async def test_plan_memory_given_a_job_process_then_answers_or_says_why(tmp_path: Path) -> None:
    path = write_model(TinyArch.QWEN3, tmp_path)
    load = frames.LoadSpec(model_path=str(path), n_ctx=1024)
    spec = job_frames.PlanMemorySpec(load=load)
    events = [event async for event in run_job(spec, tmp_path / "log")]
    result = events[-1]
    assert isinstance(result, job_frames.MemoryPlanned)
    assert result.memory == native.plan_memory(load)
    path.write_bytes(b"GGUF")
    with pytest.raises(EngineError, match="is not loaded"):
        _ = [event async for event in run_job(spec, tmp_path / "log")]
