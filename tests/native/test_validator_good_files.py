from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from luci_tui.engine.native_validate import check_file
from luci_tui.gguf.findings import Verdict
from luci_tui.gguf.quant import TENSOR_TYPES
from luci_tui.paths import builtin_model_file
from tests.support import raw_gguf as raw
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.lora import write_lora
from tests.support.split_model import write_shards

pytestmark = pytest.mark.native

ROOT = Path(__file__).parents[2]
VOCABULARIES = sorted(ROOT.glob(".cache/llama.cpp/**/models/ggml-vocab-*.gguf"))
RAW_FILES = {
    "model": raw.good_model,
    "lora": raw.good_lora,
    "projector": raw.good_projector,
    "imatrix": raw.good_imatrix,
    "control vector": raw.good_control_vector,
    "vocabulary": raw.good_vocabulary,
}


def assert_good(path: Path, *, deep: bool = False) -> None:
    report = check_file(str(path), deep=deep)
    assert (report.verdict, report.findings) == (Verdict.OK, ())


@pytest.mark.parametrize("arch", TinyArch)
def test_check_file_accepts_every_architecture(arch: TinyArch, tmp_path: Path) -> None:
    assert_good(write_arch_model(arch, tmp_path / "model.gguf"), deep=True)


@pytest.mark.parametrize("name", RAW_FILES)
def test_check_file_accepts_every_kind_of_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "good.gguf"
    path.write_bytes(RAW_FILES[name]().build())
    assert_good(path)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [8, 16, 32, 64])
def test_check_file_accepts_versions_and_alignments(
    version: int, alignment: int, tmp_path: Path
) -> None:
    path = tmp_path / "good.gguf"
    model = replace(raw.good_model(), version=version, alignment=alignment)
    entry = ("general.alignment", raw.U32, raw.scalar(raw.U32, alignment))
    path.write_bytes(model.with_entry(*entry).build())
    assert_good(path)


@pytest.mark.parametrize("number", TENSOR_TYPES)
def test_check_file_accepts_every_tensor_type(number: int, tmp_path: Path) -> None:
    kind = TENSOR_TYPES[number]
    width = kind.block_values * 2
    content = bytes(1 + i % 43 for i in range(kind.block_bytes * 8))
    model = raw.good_model().plus_tensor(
        raw.RawTensor(b"extra.weight", (width, 4), kind=number, data=content)
    )
    path = tmp_path / "good.gguf"
    path.write_bytes(model.build())
    assert_good(path, deep=True)


def test_check_file_accepts_a_written_adapter(tmp_path: Path) -> None:
    assert_good(write_lora(tmp_path / "lora.gguf"), deep=True)


def test_check_file_accepts_the_model_that_ships() -> None:
    path = builtin_model_file()
    assert path is not None
    assert_good(path, deep=True)


def test_pinned_tree_has_tokenizer_files() -> None:
    assert len(VOCABULARIES) >= 10


@pytest.mark.parametrize("path", VOCABULARIES, ids=lambda path: path.stem)
def test_check_file_accepts_the_tokenizers_of_the_pinned_tree(path: Path) -> None:
    report = check_file(str(path))
    assert [one for one in report.findings if one.severity == "error"] == []


def test_check_file_accepts_each_shard_of_a_split_model(tmp_path: Path) -> None:
    for path in write_shards(tmp_path, n_shards=3):
        assert_good(path, deep=True)
