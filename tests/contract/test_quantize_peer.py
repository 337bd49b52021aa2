"""Files beside those of llama-quantize, which is built from the same tree if it is not there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from luci_tui import _native
from luci_tui.bench.peers import build
from luci_tui.engine.job_frames import ImatrixSpec
from luci_tui.engine.native_imatrix import make_imatrix
from luci_tui.engine.native_quantize import quantize_types
from tests.support import core
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.jobs import quantize_here
from tests.support.wide_models import calibration_text, split_model, write_wide_model

pytestmark = [pytest.mark.native, pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
TYPES = [one.name for one in quantize_types()]
TENSOR_TYPES = _native.quantize_tensor_types()
"""Some, such as NVFP4, are given to single tensors only."""
NARROW_TYPES = ("Q4_0", "Q8_0", "F16", "BF16", "Q2_K", "Q4_K_M", "Q6_K", "IQ4_XS", "MXFP4_MOE")


@pytest.fixture(scope="module")
def tool() -> Path:
    path = build.peers_of(ROOT).binary("llama-quantize")
    if not path.exists():
        build.build_tool(ROOT, "llama-quantize", os.cpu_count() or 1)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_wide_model(folder / "llama.gguf", n_layers=1)
    write_wide_model(folder / "moe.gguf", has_experts=True, n_layers=1)
    write_wide_model(folder / "qwen3.gguf", has_qk_norm=True, has_output=False, n_layers=1)
    for name in ("llama", "moe", "qwen3"):
        text = calibration_text(folder / "text.txt")
        output = folder / f"{name}.imatrix"
        spec = ImatrixSpec(
            model=str(folder / f"{name}.gguf"),
            text=str(text),
            output=str(output),
            n_ctx=64,
            n_threads=1,
        )
        make_imatrix(spec, lambda _: None)
    return folder


def compare(tool: Path, source: Path, type_name: str, folder: Path, *options: str) -> Path:
    """Make one file with each, compare, and return ours; `options` are the tool's."""
    fields = as_fields(options)
    ours = quantize_here(source, type_name, folder / "ours.gguf", force=True, **fields)
    theirs = folder / "theirs.gguf"
    command = [str(tool), *options, str(source), str(theirs), type_name, "2"]
    subprocess.run(command, check=True, capture_output=True)
    assert Path(ours.path).read_bytes() == theirs.read_bytes()
    return Path(ours.path)


def check_generates(path: Path) -> None:
    engine = core.load(path, n_ctx=64, n_threads=1)
    assert len(core.answer(engine, core.request("the", max_tokens=4)).tokens) == 4


def as_fields(options: tuple[str, ...]) -> dict[str, object]:
    fields: dict[str, object] = {}
    words = iter(options)
    for word in words:
        match word:
            case "--imatrix":
                fields["imatrix"] = next(words)
            case "--tensor-type":
                pattern, _, name = next(words).partition("=")
                fields["tensor_types"] = ((pattern, name),)
            case "--output-tensor-type":
                fields["output_type"] = next(words)
            case "--token-embedding-type":
                fields["embedding_type"] = next(words)
            case "--leave-output-tensor":
                fields["leave_output"] = True
            case _:
                fields[word.removeprefix("--").replace("-", "_")] = True
    return fields


@pytest.mark.parametrize("model", ["llama", "moe", "qwen3"])
@pytest.mark.parametrize("type_name", TYPES)
def test_file_equals_that_of_llama_quantize_and_generates(
    tool: Path, models: Path, tmp_path: Path, model: str, type_name: str
) -> None:
    source = models / f"{model}.gguf"
    imatrix = str(models / f"{model}.imatrix")
    check_generates(compare(tool, source, type_name, tmp_path, "--imatrix", imatrix))
    if not quantize_here(source, type_name, tmp_path / "o", dry_run=True).needs_imatrix:
        check_generates(compare(tool, source, type_name, tmp_path))


@pytest.mark.parametrize("tensor_type", TENSOR_TYPES)
def test_tensor_of_each_type_equals_that_of_llama_quantize_and_generates(
    tool: Path, models: Path, tmp_path: Path, tensor_type: str
) -> None:
    options = (
        "--tensor-type",
        f"ffn_down={tensor_type}",
        "--imatrix",
        str(models / "llama.imatrix"),
    )
    check_generates(compare(tool, models / "llama.gguf", "Q4_0", tmp_path, *options))


@pytest.mark.parametrize("arch", list(TinyArch))
@pytest.mark.parametrize("type_name", NARROW_TYPES)
def test_file_of_short_rows_equals_that_of_llama_quantize(
    tool: Path, tmp_path: Path, arch: TinyArch, type_name: str
) -> None:
    source = write_arch_model(arch, tmp_path / "narrow.gguf")
    compare(tool, source, type_name, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        ("--pure",),
        ("--leave-output-tensor",),
        ("--tensor-type", "FFN_down=q8_0"),
        ("--output-tensor-type", "q4_0", "--token-embedding-type", "f16"),
    ],
)
def test_file_with_options_equals_that_of_llama_quantize(
    tool: Path, models: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    compare(tool, models / "llama.gguf", "Q4_K_M", tmp_path, *options)


def test_file_of_a_quantized_or_split_source_equals_that_of_llama_quantize(
    tool: Path, models: Path, tmp_path: Path
) -> None:
    quantize_here(models / "llama.gguf", "Q8_0", tmp_path / "q8.gguf")
    compare(tool, tmp_path / "q8.gguf", "Q4_K_S", tmp_path, "--allow-requantize")
    compare(tool, split_model(models / "llama.gguf", tmp_path, 3), "Q4_K_M", tmp_path)
