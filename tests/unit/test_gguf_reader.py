from __future__ import annotations

import os
import struct
from pathlib import Path

import gguf
import pytest

from luci_tui.errors import GgufError
from luci_tui.gguf import arrays, reader
from luci_tui.gguf.header import read_header
from luci_tui.gguf.reader import Cursor
from luci_tui.gguf.tensors import find_tensor, iterate_chunks
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.gguf_files import write_split


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_arch_model(TinyArch.LLAMA, tmp_path_factory.mktemp("models") / "tiny.gguf")


def test_read_header_given_a_model_then_lists_its_tensors_as_the_gguf_package_does(
    model_path: Path,
) -> None:
    header = read_header(model_path)
    known = gguf.GGUFReader(model_path).tensors
    ours = [(t.name, t.shape, t.type_number, t.offset, t.size_bytes) for t in header.tensors]
    theirs = [
        (t.name, tuple(int(n) for n in t.shape), int(t.tensor_type), t.data_offset, int(t.n_bytes))
        for t in known
    ]
    assert ours == theirs
    assert header.n_tensors == len(known)


def test_iterate_given_long_arrays_then_gives_every_item(model_path: Path) -> None:
    header = read_header(model_path)
    fields = gguf.GGUFReader(model_path).fields
    for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type"):
        expected = fields[key].contents()
        info = header.arrays.get(key)
        found = header.values[key] if info is None else tuple(arrays.iterate(header, info))
        assert list(found) == expected  # pyright: ignore[reportArgumentType]


def test_strings_at_given_indexes_then_reads_only_those_that_are_there(model_path: Path) -> None:
    header = read_header(model_path)
    found = arrays.strings_at(header, "tokenizer.ggml.tokens", [300, 1, 2, 10**9, -1])
    assert found[1] == "<s>"
    assert found[2] == "</s>"
    assert set(found) == {1, 2, 300}
    assert arrays.strings_at(header, "no.such.key", [0]) == {}


def test_cursor_given_more_strings_than_a_window_then_steps_over_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "WINDOW_BYTES", 64)
    texts = [b"x" * (n % 97) for n in range(300)]
    path = tmp_path / "strings"
    path.write_bytes(b"".join(struct.pack("<Q", len(t)) + t for t in texts) + b"end!")
    with Cursor(path) as cursor:
        cursor.skip_strings(299)
        assert cursor.text(1000, "a string") == texts[299].decode()
        assert cursor.take(4) == b"end!"
        with pytest.raises(GgufError) as caught:
            cursor.take(1)
    assert caught.value.code == "truncated"


def test_read_header_given_a_file_that_shrinks_meanwhile_then_says_truncated(
    model_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "shrinking.gguf"
    path.write_bytes(model_path.read_bytes())
    header = read_header(path)
    chunks = iterate_chunks(header, find_tensor(header, "output.weight"))
    os.truncate(path, 5000)
    with pytest.raises(GgufError) as caught:
        next(chunks)
    assert caught.value.code == "truncated"
    with Cursor(path) as cursor:
        os.truncate(path, 10)
        with pytest.raises(GgufError) as caught:
            cursor.take(4000)
    assert caught.value.code == "truncated"


def test_read_header_given_a_split_model_then_lists_the_tensors_of_all_shards(
    tmp_path: Path,
) -> None:
    first = write_split(tmp_path, n_shards=3)
    header = read_header(first)
    assert [(t.name, t.shard) for t in header.tensors] == [("a", 0), ("b", 1), ("c", 2)]
    assert header.n_tensors == 3
    assert len(header.shard_paths) == 3
    values = b"".join(data for t in header.tensors for _, data in iterate_chunks(header, t))
    assert struct.unpack("<12f", values) == (0.0,) * 4 + (1.0,) * 4 + (2.0,) * 4


def test_read_header_given_a_later_shard_that_is_cut_then_names_it(tmp_path: Path) -> None:
    first = write_split(tmp_path, n_shards=2)
    second = first.with_name(first.name.replace("00001-of", "00002-of"))
    os.truncate(second, second.stat().st_size - 17)
    with pytest.raises(GgufError, match=second.name) as caught:
        read_header(first)
    assert caught.value.code == "truncated"


def test_read_header_given_a_pipe_then_does_not_wait_for_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)
    loop = tmp_path / "loop.gguf"
    loop.symlink_to(loop)
    for path, code in (
        (pipe, "not_a_file"),
        (Path("/dev/zero"), "not_a_file"),
        (loop, "missing_file"),
    ):
        with pytest.raises(GgufError) as caught:
            read_header(path)
        assert caught.value.code == code


def test_find_tensor_given_a_wrong_name_then_offers_near_ones(model_path: Path) -> None:
    header = read_header(model_path)
    with pytest.raises(GgufError, match=r"blk\.0\.attn_q\.weight") as caught:
        find_tensor(header, "0.attn_q")
    assert caught.value.code == "no_such_tensor"
