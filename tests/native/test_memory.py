from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.engine import job_frames, memory, native
from luci_tui.engine.core_facts import ask_core
from luci_tui.engine.job_process import run_job
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import EngineError
from luci_tui.gguf.header import read_header
from tests.support.arch_models import TinyArch
from tests.support.memory_table import (
    QUANTIZED,
    TableModel,
    cases,
    load_spec,
    loads_of,
    measure,
    write_model,
)

IN_EVERY_RUN = {"llama Q4_0", "llama-moe Q4_K_M", "gemma2 Q8_0", "gemma2 Q4_0, embeddings Q4_0"}
WORKER_CASES = [
    pytest.param(model, load, marks=() if str(model) in IN_EVERY_RUN else pytest.mark.slow)
    for model, load in cases()
    if model in QUANTIZED
]
WORKER_CASES.append(pytest.param(TableModel(TinyArch.GEMMA4), "4096"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory")


@pytest.mark.parametrize(("model", "load"), cases(), ids=str)
def test_estimate_given_a_model_then_is_within_5_percent_of_llama_cpp(
    folder: Path, model: TableModel, load: str
) -> None:
    spec = load_spec(model, load, folder)
    planned = native.plan_memory(spec)
    # llama.cpp plans as if the file were read.
    is_read = spec.model_copy(update={"use_mmap": False})
    estimated = memory.estimate(read_header(Path(spec.model_path)), is_read, native.repacking())
    assert estimated.weights_bytes == planned.weights_bytes
    assert estimated.repacked_bytes == planned.repacked_bytes
    assert estimated.kv_bytes == planned.state_bytes
    assert estimated.output_bytes == planned.output_bytes
    assert estimated.needed_bytes == pytest.approx(planned.total_bytes, rel=0.05)
    assert estimated.compute_bytes == pytest.approx(planned.compute_bytes, rel=0.1)


@pytest.mark.parametrize("arch", [TinyArch.LLAMA, TinyArch.JAMBA, TinyArch.BERT])
async def test_worker_given_a_load_then_takes_what_the_plan_says(
    folder: Path, arch: TinyArch
) -> None:
    model = TableModel(arch)
    load = next(iter(loads_of(model)))
    measured = await measure(model, load, folder)
    assert measured.taken == native.plan_memory(load_spec(model, load, folder))
    assert abs(measured.error) < 0.05


@pytest.mark.parametrize(("model", "load"), WORKER_CASES, ids=str)
async def test_worker_given_a_mapped_file_then_takes_its_range_and_the_copies(
    folder: Path, model: TableModel, load: str
) -> None:
    measured = await measure(model, load, folder)
    taken, estimated = measured.taken, measured.estimated
    assert taken.repacked_bytes == estimated.repacked_bytes
    kept_bytes = estimated.weights_bytes + estimated.droppable_bytes
    assert taken.weights_bytes == pytest.approx(kept_bytes, abs=4096)
    assert abs(measured.error) < 0.05


async def test_ask_core_given_a_job_process_then_is_that_of_this_build(tmp_path: Path) -> None:
    facts = await ask_core(tmp_path / "log")
    assert facts is not None
    assert facts.repacking == native.repacking()
    assert facts.accelerator == native.system_info().accelerator
    assert [device.name for device in facts.devices] == [one.name for one in native.devices()]


async def test_plan_memory_given_a_job_process_then_answers_or_says_why(tmp_path: Path) -> None:
    path = write_model(TableModel(TinyArch.QWEN3), tmp_path)
    load = LoadSpec(model_path=str(path), n_ctx=1024)
    spec = job_frames.PlanMemorySpec(load=load)
    events = [event async for event in run_job(spec, tmp_path / "log")]
    result = events[-1]
    assert isinstance(result, job_frames.MemoryPlanned)
    assert result.memory == native.plan_memory(load)
    path.write_bytes(b"GGUF")
    with pytest.raises(EngineError, match="is not loaded"):
        _ = [event async for event in run_job(spec, tmp_path / "log")]
