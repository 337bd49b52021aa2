"""Small models whose rows are 256 long, so that every quant type fits them, in F16."""

from __future__ import annotations

from pathlib import Path
from random import Random

import gguf

from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.arch_parts import Sizes

N_EMBD = 256
N_FF = 256
N_CTX_TRAIN = 1024


def write_wide_model(
    path: Path,
    *,
    seed: int = 1,
    n_layers: int = 2,
    n_ff: int = N_FF,
    has_experts: bool = False,
    has_qk_norm: bool = False,
    has_output: bool = True,
) -> Path:
    """Write one model and return its path.

    Args:
        path: The new file; its folder must exist.
        seed: Of the weights.
        n_layers: How many layers; the size grows with it.
        n_ff: A multiple of 256; the size grows with it.
        has_experts: Mixtral's shape.
        has_qk_norm: Qwen 3's shape.
        has_output: False = the embeddings are the output as well.
    """
    arch = TinyArch.QWEN3 if has_qk_norm else TinyArch.LLAMA
    if has_experts:
        # Each of its experts is half as wide as the whole.
        arch, n_ff = TinyArch.LLAMA_MOE, 2 * n_ff
    return write_arch_model(
        arch,
        path,
        seed=seed,
        n_layers=n_layers,
        n_ctx_train=N_CTX_TRAIN,
        sizes=Sizes(n_embd=N_EMBD, n_ff=n_ff, head_size=N_EMBD // 4),
        has_output=has_output,
        is_half=True,
    )


def calibration_text(path: Path, n_words: int = 1200) -> Path:
    """Write a text of words from the vocabulary, the same on every run."""
    words = ("the", "and", "of", "list", "files", "show", "find", "count", "lines", "large")
    path.write_text(" ".join(Random(7).choices(words, k=n_words)), encoding="utf-8")
    return path


def split_model(source: Path, folder: Path, n_shards: int) -> Path:
    """Write a model as shards named after it, and return the first one."""
    reader = gguf.GGUFReader(source)
    per_shard = -(-len(reader.tensors) // n_shards)
    paths = [
        folder / f"{source.stem}-{number:05}-of-{n_shards:05}.gguf"
        for number in range(1, n_shards + 1)
    ]
    for index, path in enumerate(paths):
        writer = gguf.GGUFWriter(path, "llama")
        if index == 0:
            _copy_values(reader, writer)
        writer.add_uint16("split.no", index)
        writer.add_uint16("split.count", n_shards)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in reader.tensors[index * per_shard : (index + 1) * per_shard]:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths[0]


def _copy_values(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> None:
    for value in reader.fields.values():
        if value.name.startswith("GGUF.") or value.name == "general.architecture":
            continue
        sub_type = value.types[1] if len(value.types) > 1 else None
        writer.add_key_value(value.name, value.contents(), value.types[0], sub_type)
