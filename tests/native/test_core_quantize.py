from __future__ import annotations

import json
import os
from pathlib import Path

import gguf
import numpy as np
import pytest

from luci_tui import _native
from luci_tui.engine.job_frames import ImatrixSpec, JobProgress
from luci_tui.engine.native_imatrix import make_imatrix
from luci_tui.engine.native_quantize import find_type, quantize, quantize_types
from luci_tui.errors import EngineError, GgufError
from luci_tui.gguf.imatrix import read_imatrix
from luci_tui.gguf.naming import derived_name
from tests.support import core
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.jobs import quantize_here, quantize_spec
from tests.support.wide_models import calibration_text, split_model, write_wide_model

pytestmark = pytest.mark.native

TYPES = [one.name for one in quantize_types() if not one.alias_of]
SLOW_TYPES = ("IQ1_S", "IQ1_M", "IQ2_M")
"""llama.cpp computes for seconds on their tables before the first weight."""
N_CTX = 64


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # One layer: the smallest types take seconds for each million weights.
    return write_wide_model(tmp_path_factory.mktemp("wide") / "wide-F16.gguf", n_layers=1)


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    return write_wide_model(folder / "moe-F16.gguf", has_experts=True, n_layers=1)


def imatrix_of(model: Path, folder: Path) -> Path:
    text = calibration_text(folder / "text.txt")
    path = folder / f"{model.stem}.imatrix.gguf"
    spec = ImatrixSpec(
        model=str(model), text=str(text), output=str(path), n_ctx=N_CTX, n_chunks=4, n_threads=1
    )
    made = make_imatrix(spec, lambda _: None)
    assert (made.n_chunks, made.n_ctx) == (4, N_CTX)
    return path


@pytest.fixture(scope="module")
def imatrix(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imatrix_of(source, tmp_path_factory.mktemp("imatrix"))


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=[pytest.mark.slow] if one in SLOW_TYPES else []) for one in TYPES],
)
def test_quantize_to_each_type_has_the_planned_size_and_generates(
    source: Path, imatrix: Path, tmp_path: Path, name: str
) -> None:
    options = {"imatrix": str(imatrix), "n_threads": 1}
    planned = quantize_here(source, name, tmp_path / "out.gguf", dry_run=True, **options)
    assert list(tmp_path.iterdir()) == []
    made = quantize_here(source, name, tmp_path / "out.gguf", **options)
    assert made.model_copy(update={"seconds": 0.0}) == planned
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"]
    assert (tmp_path / "out.gguf").stat().st_size == made.size_bytes
    engine = core.load(tmp_path / "out.gguf", n_ctx=64, n_threads=1)
    assert len(core.answer(engine, core.request("the", max_tokens=4)).tokens) == 4


def test_quantize_reads_a_split_model_as_one(source: Path, tmp_path: Path) -> None:
    first = split_model(source, tmp_path, 3)
    whole = quantize_here(source, "Q4_K_M", tmp_path / "whole.gguf")
    quantize_here(first, "Q4_K_M", tmp_path / "joined.gguf")
    assert (tmp_path / "joined.gguf").stat().st_size == whole.size_bytes
    kept = quantize_here(first, "Q4_K_M", tmp_path / "kept.gguf", keep_split=True)
    assert [Path(path).name for path in kept.paths] == [
        f"kept-{number:05}-of-00003.gguf" for number in (1, 2, 3)
    ]
    assert sum(Path(path).stat().st_size for path in kept.paths) == kept.size_bytes
    assert len(core.answer(core.load(Path(kept.path)), core.request("the")).tokens) == 24


def test_quantize_applies_overrides(source: Path, tmp_path: Path) -> None:
    made = quantize_here(
        source,
        "q4_k",
        tmp_path / "out.gguf",
        tensor_types=(("FFN_down", "Q8_0"),),
        output_type="f16",
        embedding_type="q5_0",
        pure=True,
    )
    types = {one.name: one.tensor_type.name for one in gguf.GGUFReader(made.path).tensors}
    assert made.type == "Q4_K_M"
    assert types["blk.0.ffn_down.weight"] == "Q8_0"
    assert types["output.weight"] == "F16"
    assert types["token_embd.weight"] == "Q5_0"
    assert types["blk.0.attn_v.weight"] == "Q4_K"
    left = quantize_here(source, "Q4_0", tmp_path / "left.gguf", leave_output=True)
    assert left.n_by_type["f16"] == 1


def test_quantize_keeps_what_is_finished_and_makes_the_rest(source: Path, tmp_path: Path) -> None:
    outputs = [("Q4_0", tmp_path / "a.gguf"), ("Q8_0", tmp_path / "b.gguf")]
    quantize_here(source, *outputs[0])
    kept = outputs[0][1].stat().st_mtime_ns
    spec = quantize_spec(source, outputs, keep_finished=True)
    made = quantize(spec, lambda _: None)
    assert [file.was_kept for file in made.files] == [True, False]
    assert outputs[0][1].stat().st_mtime_ns == kept
    assert [file.was_kept for file in quantize(spec, lambda _: None).files] == [True, True]
    # What is there and was made in another way is somebody's file, not a finished output.
    other = spec.model_copy(update={"output_type": "f16"})
    with pytest.raises(EngineError, match="is there already"):
        quantize(other, lambda _: None)
    os.utime(outputs[0][1], ns=(1, 1))
    with pytest.raises(EngineError, match="is there already"):
        quantize(spec, lambda _: None)


def test_quantize_makes_the_imatrix_from_a_text_first(source: Path, tmp_path: Path) -> None:
    text = calibration_text(tmp_path / "text.txt")
    options = {"imatrix_text": str(text), "keep_finished": True, "n_threads": 1}
    spec = quantize_spec(source, [("IQ3_XXS", tmp_path / "a.gguf")], **options)
    made = quantize(spec, lambda _: None)
    matrix = tmp_path / "wide-imatrix.gguf"
    assert made.imatrix == str(matrix)
    assert read_imatrix(matrix).entries
    first = matrix.stat().st_mtime_ns
    more = quantize_spec(source, [("Q2_K", tmp_path / "b.gguf")], **options)
    assert not quantize(more, lambda _: None).files[0].was_kept
    assert matrix.stat().st_mtime_ns == first
    both = spec.model_copy(update={"imatrix": str(matrix)})
    with pytest.raises(EngineError, match="exclude each other"):
        quantize(both, lambda _: None)


def test_quantize_says_which_tensors_fell_back(tmp_path: Path) -> None:
    narrow = write_arch_model(TinyArch.LLAMA, tmp_path / "narrow.gguf", n_layers=1)
    made = quantize_here(narrow, "Q4_K_M", tmp_path / "out.gguf")
    by_name = {one.name: one for one in made.fallbacks}
    assert by_name["blk.0.ffn_up.weight"].wanted_type == "q4_K"
    assert by_name["blk.0.ffn_up.weight"].type == "q5_0"


def test_quantize_reports_tensors_over_all_outputs(source: Path, tmp_path: Path) -> None:
    seen: list[JobProgress] = []
    spec = quantize_spec(source, [("Q4_0", tmp_path / "a.gguf"), ("Q8_0", tmp_path / "b.gguf")])
    result = quantize(spec, seen.append)
    last = seen[-1]
    assert last.n_done == last.n_total == 2 * result.files[0].n_tensors
    assert last.bytes_done == last.bytes_total
    assert [one.n_done for one in seen] == sorted(one.n_done for one in seen)


def test_quantize_cancelled_before_the_first_tensor_stops_and_the_next_one_works(
    source: Path, tmp_path: Path
) -> None:
    params = _native.QuantizeParams()
    params.sources = [str(source)]
    params.destination = str(tmp_path / "out.gguf")
    params.type = "Q4_0"
    progress = _native.QuantizeProgress()
    progress.cancel()
    with pytest.raises(_native.QuantizeError, match="was cancelled"):
        _native.quantize(params, progress)
    assert (progress.n_done, progress.n_total > 0) == (0, True)
    _native.quantize(params, _native.QuantizeProgress())


def refusal(source: Path, type_name: str, path: Path, **options: object) -> EngineError:
    with pytest.raises((EngineError, GgufError)) as raised:
        quantize_here(source, type_name, path, **options)
    assert raised.value.message.count("\n") == 0
    error = raised.value
    return EngineError(error.message, code=error.code)


def test_quantize_onto_the_source_is_refused_through_any_link(tmp_path: Path) -> None:
    source = write_wide_model(tmp_path / "wide.gguf", n_layers=1)
    before = source.read_bytes()
    (tmp_path / "soft.gguf").symlink_to(source)
    (tmp_path / "hard.gguf").hardlink_to(source)
    for name in ("wide.gguf", "soft.gguf", "hard.gguf"):
        for force in (False, True):
            error = refusal(source, "Q4_0", tmp_path / name, force=force)
            assert error.code == "same_file"
    assert source.read_bytes() == before


def test_quantize_refuses_what_cannot_become_a_file(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.gguf"
    target.write_bytes(b"mine")
    assert refusal(source, "Q4_0", target).code == "exists"
    assert target.read_bytes() == b"mine"
    assert refusal(source, "Q4_0", tmp_path / "no" / "out.gguf").code == "no_folder"
    (tmp_path / "folder").mkdir()
    assert refusal(source, "Q4_0", tmp_path / "folder").code == "is_folder"
    assert refusal(tmp_path / "none.gguf", "Q4_0", tmp_path / "a.gguf").code == "missing_file"
    twice = quantize_spec(source, [("Q4_0", tmp_path / "a.gguf")] * 2)
    with pytest.raises(EngineError, match="Two outputs have the name"):
        quantize(twice, lambda _: None)
    made = quantize_here(source, "Q4_0", target, force=True)
    assert target.stat().st_size == made.size_bytes


def test_quantize_of_a_source_that_the_validator_rejects_is_refused(tmp_path: Path) -> None:
    source = write_wide_model(tmp_path / "wide.gguf", n_layers=1)
    source.write_bytes(source.read_bytes().replace(b"llama", b"../ma", 1))
    error = refusal(source, "Q4_0", tmp_path / "out.gguf")
    assert error.code == "M01"
    assert "is not read" in error.message


def test_quantize_refuses_unknown_types_and_names_near_ones(source: Path, tmp_path: Path) -> None:
    error = refusal(source, "Q4_K_X", tmp_path / "out.gguf")
    assert error.code == "unknown_type"
    assert "Q4_K_S" in error.message or "Q4_K_M" in error.message
    options = {"tensor_types": (("ffn", "q9_0"),)}
    assert refusal(source, "Q4_0", tmp_path / "out.gguf", **options).code == "unknown_type"
    options = {"tensor_types": (("ffn_(", "q8_0"),)}
    assert "no regular expression" in refusal(source, "Q4_0", tmp_path / "o", **options).message


def test_quantize_again_is_refused_unless_it_is_allowed(source: Path, tmp_path: Path) -> None:
    quantize_here(source, "Q4_0", tmp_path / "small.gguf")
    error = refusal(tmp_path / "small.gguf", "Q8_0", tmp_path / "out.gguf")
    assert error.code == "already_quantized"
    assert "from q4_0 to q8_0" in error.message
    quantize_here(tmp_path / "small.gguf", "COPY", tmp_path / "copy.gguf")
    quantize_here(tmp_path / "small.gguf", "Q8_0", tmp_path / "out.gguf", allow_requantize=True)


def test_quantize_without_a_needed_imatrix_is_refused(source: Path, tmp_path: Path) -> None:
    error = refusal(source, "IQ2_XXS", tmp_path / "out.gguf")
    assert error.code == "needs_imatrix"
    assert quantize_here(source, "IQ2_XXS", tmp_path / "out.gguf", dry_run=True).needs_imatrix


def test_quantize_to_a_type_that_would_abort_without_data_is_refused(
    source: Path, imatrix: Path, tmp_path: Path
) -> None:
    options = {"imatrix": str(imatrix), "embedding_type": "iq1_s"}
    assert refusal(source, "Q4_0", tmp_path / "o.gguf", **options).code == "imatrix_incomplete"


def test_quantize_with_an_imatrix_of_another_model_is_refused(
    experts: Path, imatrix: Path, source: Path, tmp_path: Path
) -> None:
    other = write_wide_model(tmp_path / "other.gguf", n_ff=512)
    error = refusal(other, "IQ2_XS", tmp_path / "out.gguf", imatrix=str(imatrix))
    assert error.code == "other_imatrix"
    assert "of its 7 entries match" in error.message
    experts_imatrix = imatrix_of(experts, tmp_path)
    wrong = refusal(source, "Q4_0", tmp_path / "out.gguf", imatrix=str(experts_imatrix))
    assert wrong.code == "other_imatrix"
    assert refusal(source, "Q4_0", tmp_path / "o", imatrix=str(source)).code == "bad_imatrix"


def test_imatrix_of_the_first_layer_is_what_numpy_computes(source: Path, imatrix: Path) -> None:
    tensors = {one.name: one.data for one in gguf.GGUFReader(source).tensors}
    engine = core.load(source, n_ctx=64)
    text = (imatrix.parent / "text.txt").read_text()
    tokens = np.array(engine.tokenize(text, True, False)[: 4 * N_CTX])
    tokens[::N_CTX] = 1  # each chunk starts with BOS
    embedded = tensors["token_embd.weight"].astype(np.float64)[tokens]
    scale = np.sqrt((embedded**2).mean(axis=1, keepdims=True) + 1e-5)
    normed = embedded / scale * tensors["blk.0.attn_norm.weight"]
    expected = (normed**2).mean(axis=0)
    found = read_imatrix(imatrix)
    for name in ("attn_q", "attn_k", "attn_v"):
        np.testing.assert_allclose(found.entries[f"blk.0.{name}.weight"], expected, rtol=1e-4)
    assert (found.n_chunks, len(found.datasets), len(found.entries)) == (4, 1, 7)


def test_imatrix_of_experts_counts_the_tokens_each_one_got(experts: Path, tmp_path: Path) -> None:
    path = imatrix_of(experts, tmp_path)
    counts = {one.name: one.data for one in gguf.GGUFReader(path).tensors}
    for name in ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"):
        # Two of four experts for each of the 256 tokens.
        assert counts[f"blk.0.{name}.weight.counts"].sum() == 2 * 4 * N_CTX
    assert counts["blk.0.attn_q.weight.counts"].sum() == 4 * N_CTX


def test_imatrix_refuses_a_text_that_is_too_short(source: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("the and of")
    spec = ImatrixSpec(
        model=str(source), text=str(tmp_path / "text"), output=str(tmp_path / "out.gguf")
    )
    with pytest.raises(EngineError, match="one chunk needs 512"):
        make_imatrix(spec, lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


@pytest.mark.parametrize(
    ("source_name", "type_name", "expected"),
    [
        ("model-F16.gguf", "Q4_K_M", "model-Q4_K_M.gguf"),
        ("model.f16.gguf", "Q8_0", "model.Q8_0.gguf"),
        ("model-Q4_K_M.gguf", "Q2_K", "model-Q2_K.gguf"),
        ("model-BF16-00001-of-00003.gguf", "Q8_0", "model-Q8_0.gguf"),
        ("model.gguf", "Q8_0", "model-Q8_0.gguf"),
        ("f16.gguf", "Q8_0", "f16-Q8_0.gguf"),
        ("a-f16-v2.gguf", "Q8_0", "a-f16-v2-Q8_0.gguf"),
    ],
)
def test_output_is_named_after_its_source(source_name: str, type_name: str, expected: str) -> None:
    assert derived_name(source_name, type_name, TYPES) == expected


def test_types_are_listed_once_with_proper_names() -> None:
    names = [one.name for one in quantize_types()]
    assert len(names) == len(set(names)) >= 39
    assert json.dumps(names)
    assert find_type("q5_k") == "Q5_K_M"
