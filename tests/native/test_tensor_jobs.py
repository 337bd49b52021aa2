from __future__ import annotations

import os
from pathlib import Path

import gguf
import numpy as np
import pytest

from luci_tui.engine import job_frames, kernels
from luci_tui.engine.job_process import run_job
from luci_tui.engine.native_tensors import compare_models, tensor_stats
from luci_tui.errors import EngineError, GgufError
from luci_tui.gguf import tensors
from tests.support.gguf_files import write_raw, write_tensors


def ignore(progress: job_frames.JobProgress) -> None:
    assert progress.n_done <= progress.n_total


def stats_of(path: Path, name: str) -> job_frames.TensorStatsResult:
    return tensor_stats(job_frames.TensorStatsSpec(path=str(path), name=name), ignore)


def test_tensor_stats_given_values_then_counts_over_all_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "CHUNK_VALUES", 256)
    values = np.random.default_rng(3).standard_normal((10, 100)).astype(np.float32)
    values[2, :50] = 0
    found = stats_of(write_tensors(tmp_path / "m.gguf", {"t": values}), "t")
    assert found.shape == (100, 10)
    assert (found.type_name, found.n_values, found.size_bytes) == ("F32", 1000, 4000)
    assert found.minimum == values.min()
    assert found.maximum == values.max()
    assert found.mean == pytest.approx(values.mean(dtype=np.float64))
    assert found.std == pytest.approx(values.std(dtype=np.float64))
    assert found.rms == pytest.approx(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
    assert found.share_zeros == 0.05
    assert found.first == tuple(float(value) for value in values[0, :8])


def test_tensor_stats_given_nan_and_infinity_then_counts_them_apart(tmp_path: Path) -> None:
    values = np.array([np.nan, np.inf, -np.inf, 1.0, 3.0] + [0.0] * 27, dtype=np.float32)
    found = stats_of(write_tensors(tmp_path / "m.gguf", {"t": values}), "t")
    assert (found.n_nan, found.n_inf) == (1, 2)
    assert (found.minimum, found.maximum) == (0.0, 3.0)
    assert found.first[:4] == (None, None, None, 1.0)
    nothing = write_tensors(tmp_path / "n.gguf", {"t": np.full(32, np.nan, dtype=np.float32)})
    assert stats_of(nothing, "t").mean is None


@pytest.mark.parametrize("kind", ["<i1", "<i2", "<i4", "<i8", "<f8"])
def test_tensor_stats_given_integers_then_reads_them_without_a_kernel(
    tmp_path: Path, kind: str
) -> None:
    values = np.arange(-16, 16).astype(kind)
    found = stats_of(write_tensors(tmp_path / "m.gguf", {"t": values}), "t")
    assert (found.minimum, found.maximum, found.mean) == (-16.0, 15.0, -0.5)


async def test_tensor_stats_given_a_job_process_then_answers_or_says_why(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "m.gguf", {"t": np.ones((4, 32), dtype=np.float32)})
    spec = job_frames.TensorStatsSpec(path=str(path), name="t")
    events = [event async for event in run_job(spec, tmp_path / "log")]
    result = events[-1]
    assert isinstance(result, job_frames.TensorStatsResult)
    assert (result.mean, result.std) == (1.0, 0.0)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(EngineError, match="cut off") as caught:
        _ = [event async for event in run_job(spec, tmp_path / "log")]
    assert caught.value.code == "truncated"


def test_compare_given_a_quantized_copy_then_measures_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "CHUNK_VALUES", 512)
    values = np.random.default_rng(5).standard_normal((8, 256)).astype(np.float32)
    source = write_tensors(tmp_path / "source.gguf", {"t": values})
    data = kernels.quantize(12, values)
    kind = gguf.GGMLQuantizationType.Q4_K
    quantized = write_raw(tmp_path / "q.gguf", "t", data.reshape(8, -1), kind)
    spec = job_frames.CompareSpec(source=str(source), quantized=str(quantized))
    found = compare_models(spec, ignore)
    back = kernels.dequantize(12, data, values.size).astype(np.float64)
    flat = values.ravel().astype(np.float64)
    (row,) = found.tensors
    assert (row.source_type, row.type_name) == ("F32", "Q4_K")
    rmse = np.sqrt(np.mean((back - flat) ** 2))
    assert row.rmse == pytest.approx(rmse)
    assert row.relative_rmse == pytest.approx(rmse / np.sqrt(np.mean(flat**2)))
    assert row.cosine == pytest.approx(
        np.dot(back, flat) / np.linalg.norm(back) / np.linalg.norm(flat)
    )
    assert row.largest_error == pytest.approx(np.abs(back - flat).max())
    assert (found.whole.rmse, found.whole.n_values) == (row.rmse, 2048)


def test_compare_given_equal_and_odd_tensors_then_says_which_were_compared(
    tmp_path: Path,
) -> None:
    zeros = np.zeros(32, dtype=np.float32)
    first = {"same": zeros, "only_here": zeros, "shape": zeros}
    second = {"same": zeros, "shape": np.zeros(64, dtype=np.float32)}
    source = write_tensors(tmp_path / "a.gguf", first)
    other = write_tensors(tmp_path / "b.gguf", second)
    spec = job_frames.CompareSpec(source=str(source), quantized=str(other))
    found = compare_models(spec, ignore)
    assert [row.name for row in found.tensors] == ["same"]
    assert (found.tensors[0].rmse, found.tensors[0].cosine) == (0.0, 1.0)
    assert found.skipped == ("only_here", "shape")


def test_compare_given_models_without_a_common_tensor_then_refuses(tmp_path: Path) -> None:
    zeros = np.zeros(32, dtype=np.float32)
    source = write_tensors(tmp_path / "a.gguf", {"a": zeros})
    other = write_tensors(tmp_path / "b.gguf", {"b": zeros})
    with pytest.raises(GgufError) as caught:
        compare_models(job_frames.CompareSpec(source=str(source), quantized=str(other)), ignore)
    assert caught.value.code == "not_comparable"
