from __future__ import annotations

import struct
from pathlib import Path

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luci_tui.errors import GgufError
from luci_tui.gguf.header import read_header
from luci_tui.gguf.quant import TENSOR_TYPES
from tests.support.arch_models import N_CTX_TRAIN, TinyArch, write_arch_model
from tests.support.arch_parts import TINY


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_arch_model(TinyArch.LLAMA, tmp_path_factory.mktemp("models") / "tiny.gguf")


def test_read_header_given_a_model_then_tells_its_shape(model_path: Path) -> None:
    header = read_header(model_path)
    assert header.architecture == "llama"
    assert header.version == 3
    assert header.size_bytes == model_path.stat().st_size
    assert header.shard_paths == (model_path,)
    assert header.file_type == 0
    assert header.n_ctx_train == N_CTX_TRAIN
    assert header.number("embedding_length") == TINY.n_embd
    assert header.per_layer("attention.head_count") == (TINY.n_head,) * 3
    assert header.number("no.such.key") == 0


def test_read_header_given_one_head_count_per_layer_then_keeps_them(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "jamba")
    writer.add_block_count(3)
    writer.add_head_count_kv([0, 8, 0])
    _write(writer)
    assert read_header(tmp_path / "m.gguf").per_layer("attention.head_count_kv") == (0, 8, 0)


def test_read_header_given_a_missing_file_then_says_so(tmp_path: Path) -> None:
    assert _code_of(tmp_path / "none.gguf") == "missing_file"


def test_read_header_given_a_folder_then_counts_its_models(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").touch()
    with pytest.raises(GgufError, match="is a folder with 1 GGUF files") as caught:
        read_header(tmp_path)
    assert caught.value.code == "is_folder"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"\n <!DOCTYPE html><html>", "html_file"),
        (b"<html><body>404", "html_file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "lfs_pointer"),
        (b"PK\x03\x04", "wrong_magic"),
        (b"GG", "wrong_magic"),
        (b"GGUF", "truncated"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "unsupported_version"),
        (b"GGUF" + struct.pack("<IQQ", 4, 0, 0), "unsupported_version"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big_endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "malformed_header"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "malformed_header"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63), "malformed_header"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 400) + b"k", "truncated"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 13), "malformed_header"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 9, 1), "malformed_header"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 2**60), "truncated"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 4, 2**60), "truncated"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 1, 0, 1, b"t", 5), "malformed_header"),
    ],
)
def test_read_header_given_bad_bytes_then_names_the_reason(
    tmp_path: Path, content: bytes, code: str
) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    assert _code_of(path) == code


def test_read_header_given_a_file_cut_in_its_tensors_then_says_how_much_is_missing(
    model_path: Path, tmp_path: Path
) -> None:
    whole = model_path.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[:-1])
    with pytest.raises(GgufError, match=f"has {len(whole) - 1} bytes and needs") as caught:
        read_header(path)
    assert caught.value.code == "truncated"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_read_header_given_any_cut_then_raises_gguf_error(
    model_path: Path, tmp_path: Path, data: st.DataObject
) -> None:
    whole = model_path.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert _code_of(path) in {"truncated", "empty_file", "wrong_magic"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(position=st.integers(0, 12_000), value=st.integers(0, 255))
def test_read_header_given_a_changed_byte_then_reads_or_raises_gguf_error(
    model_path: Path, tmp_path: Path, position: int, value: int
) -> None:
    content = bytearray(model_path.read_bytes())
    content[position] = value
    path = tmp_path / "changed.gguf"
    path.write_bytes(content)
    try:
        assert read_header(path).size_bytes == len(content)
    except GgufError as error:
        assert str(path) in error.message  # noqa: PT017 - both outcomes are right


def test_read_header_given_a_split_model_then_finds_all_shards(
    model_path: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "m-00001-of-00002.gguf", tmp_path / "m-00002-of-00002.gguf"
    writer = gguf.GGUFWriter(first, "llama")
    writer.add_uint16("split.count", 2)
    _write(writer)
    assert _code_of(first) == "missing_shard"
    second.write_bytes(model_path.read_bytes())
    header = read_header(first)
    assert header.shard_paths == (first, second)
    assert header.size_bytes == first.stat().st_size + second.stat().st_size
    first.rename(tmp_path / "m.gguf")
    assert _code_of(tmp_path / "m.gguf") == "not_first_shard"


def test_tensor_types_given_the_gguf_package_then_agree() -> None:
    known = {int(kind): size for kind, size in gguf.GGML_QUANT_SIZES.items()}
    # gguf-py still has the size that Q8_1 had before its sums became half floats.
    known.pop(int(gguf.GGMLQuantizationType.Q8_1))
    ours = {number: (kind.block_values, kind.block_bytes) for number, kind in TENSOR_TYPES.items()}
    assert known.items() <= ours.items()


def _code_of(path: Path) -> str:
    with pytest.raises(GgufError) as caught:
        read_header(path)
    return caught.value.code


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
