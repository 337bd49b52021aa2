from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from luci_tui.errors import CatalogError
from luci_tui.library.convert_source import SourceKind, read_source, require_room

KNOWN = ("LlamaForCausalLM", "GPT2LMHeadModel")


def safetensors(tensors: dict[str, tuple[int, ...]], *, cut: int = 0) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        n_bytes = 2
        for size in shape:
            n_bytes *= size
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + n_bytes]}
        end += n_bytes
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end - cut)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes(safetensors({"a": (4, 8), "b": (16,)}))
    return path


def refusal(path: Path, base: Path | None = None) -> CatalogError:
    with pytest.raises(CatalogError) as raised:
        read_source(path, base, KNOWN)
    assert raised.value.message.count("\n") == 0
    return raised.value


def test_source_that_is_whole_is_measured_from_its_headers(folder: Path) -> None:
    source = read_source(folder, None, KNOWN)
    assert (source.kind, source.architecture) == (SourceKind.MODEL, "LlamaForCausalLM")
    assert (source.n_weights, source.largest_tensor, source.is_pickled) == (48, 32, False)
    require_room(source, "f16", free_disk=10**9, free_memory=10**12)
    with pytest.raises(CatalogError, match="Make room"):
        require_room(source, "f16", free_disk=10**6, free_memory=10**12)
    with pytest.raises(CatalogError, match="Close other programs"):
        require_room(source, "f16", free_disk=10**9, free_memory=10**6)


def test_source_without_config_tokenizer_or_weights_is_refused_in_that_order(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert refusal(folder).code == "no_weights"
    (folder / "tokenizer.json").unlink()
    assert refusal(folder).code == "no_tokenizer"
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLN"]}')
    error = refusal(folder)
    assert error.code == "unknown_architecture"
    assert "It knows LlamaForCausalLM" in error.message
    (folder / "config.json").write_text("{}")
    assert refusal(folder).code == "no_architecture"
    (folder / "config.json").write_text("{")
    assert refusal(folder).code == "bad_config"
    (folder / "config.json").unlink()
    assert refusal(folder).code == "no_config"
    assert refusal(folder / "elsewhere").code == "no_folder"


def test_source_with_a_missing_shard_names_it(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}))
    error = refusal(folder)
    assert error.code == "missing_shard"
    assert "lacks model-00002-of-00002.safetensors of 2 files" in error.message
    (folder / "model-00002-of-00002.safetensors").write_bytes(safetensors({"c": (2, 2)}))
    assert read_source(folder, None, KNOWN).n_weights == 52
    index.write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    assert "outside its folder" in refusal(folder).message


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (safetensors({"a": (4, 8)}, cut=1), "bad_weights"),
        (b"", "bad_weights"),
        (b"\xff" * 64, "bad_weights"),
        (struct.pack("<Q", 4) + b"[1]]", "bad_weights"),
        (struct.pack("<Q", 2) + b"[]", "bad_weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "lfs_pointer"),
    ],
)
def test_source_with_damaged_weights_is_refused(folder: Path, content: bytes, code: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    assert refusal(folder).code == code


def test_source_of_pickles_is_taken_where_there_is_nothing_else(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"x" * 100)
    assert not read_source(folder, None, KNOWN).is_pickled
    (folder / "model.safetensors").unlink()
    assert read_source(folder, None, KNOWN).is_pickled


def test_adapter_needs_the_folder_of_its_base(folder: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    assert refusal(adapter).code == "needs_base"
    assert refusal(adapter, tmp_path / "none").code == "no_base"
    assert refusal(adapter, folder).code == "no_weights"
    (adapter / "adapter_model.safetensors").write_bytes(safetensors({"a": (2, 8)}))
    assert read_source(adapter, folder, KNOWN).kind is SourceKind.LORA


def test_file_is_only_taken_if_it_is_from_before_gguf(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"tjgg" + bytes(60))
    assert read_source(path, None, KNOWN).kind is SourceKind.LEGACY
    path.write_bytes(b"GGUF" + bytes(60))
    assert refusal(path).code == "is_gguf"
    path.write_bytes(b"PK\x03\x04")
    assert refusal(path).code == "no_folder"
