"""Small GGUF files of special kinds, for the reader and for `luci inspect`."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np


def write_split(folder: Path, *, n_shards: int) -> Path:
    """Write a set of shards with one tensor of four values each and return the first one."""
    for number in range(n_shards):
        path = folder / f"split-{number + 1:05}-of-{n_shards:05}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", n_shards)
        writer.add_tensor("abcdefgh"[number], np.full(4, number, dtype=np.float32))
        finish(writer)
    return folder / f"split-00001-of-{n_shards:05}.gguf"


def write_keys(path: Path, architecture: str, keys: dict[str, str]) -> Path:
    """Write a file with strings and one tensor."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in keys.items():
        writer.add_string(key, value)
    writer.add_tensor("t", np.zeros(32, dtype=np.float32))
    finish(writer)
    return path


def write_tensors(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    """Write a file with the given tensors."""
    writer = gguf.GGUFWriter(path, "llama")
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    finish(writer)
    return path


def write_raw(path: Path, name: str, data: np.ndarray, kind: gguf.GGMLQuantizationType) -> Path:
    """Write a file with one tensor whose blocks are given as bytes, shape (rows, bytes)."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor(name, data, raw_dtype=kind)
    finish(writer)
    return path


def finish(writer: gguf.GGUFWriter) -> None:
    """Write what was collected and close the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
