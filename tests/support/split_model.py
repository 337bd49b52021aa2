"""Write the good model of `raw_gguf` in shards, whole or with something wrong between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.support import raw_gguf as raw
from tests.support.raw_gguf import RawGguf


def shards(n_shards: int) -> list[RawGguf]:
    """Cut the good model into shards, the metadata in the first."""
    model = raw.good_model()
    per_shard = -(-len(model.tensors) // n_shards)
    parts: list[RawGguf] = []
    for no in range(n_shards):
        tensors = model.tensors[no * per_shard : (no + 1) * per_shard]
        part = replace(model if no == 0 else RawGguf(), tensors=tensors)
        part = part.with_entry("split.no", raw.U16, raw.scalar(raw.U16, no))
        part = part.with_entry("split.count", raw.U16, raw.scalar(raw.U16, n_shards))
        count = raw.scalar(raw.I32, len(model.tensors))
        parts.append(part.with_entry("split.tensors.count", raw.I32, count))
    return parts


def shard_path(folder: Path, no: int, n_shards: int) -> Path:
    """Give the path of shard `no`, counted from 0, as llama.cpp names it."""
    return folder / f"model-{no + 1:05}-of-{n_shards:05}.gguf"


def write_shards(folder: Path, n_shards: int) -> list[Path]:
    """Write all shards and return their paths."""
    paths: list[Path] = []
    for no, part in enumerate(shards(n_shards)):
        path = shard_path(folder, no, n_shards)
        path.write_bytes(part.build())
        paths.append(path)
    return paths
