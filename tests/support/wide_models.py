"""Small models whose rows are 256 long, so that every quant type fits them, in F16."""

from __future__ import annotations

import math
from pathlib import Path
from random import Random

import gguf
import numpy as np

from tests.support.tiny_vocab import TINY_SPM

N_EMBD = 256
N_FF = 256
N_HEAD = 4
N_HEAD_KV = 2
N_EXPERT = 4
N_EXPERT_USED = 2
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
    data_type: type[np.float16] | type[np.float32] = np.float16,
) -> Path:
    """Write one model and return its path.

    Args:
        path: The new file; its folder must exist.
        seed: Of the weights.
        n_layers: How many layers; the size grows with it.
        n_ff: A multiple of 256; the size grows with it.
        has_experts: Mixtral's shape: N_EXPERT experts.
        has_qk_norm: Qwen 3's shape.
        has_output: False = the embeddings are the output as well.
        data_type: Of the matrices; norms are F32 as always.
    """
    architecture = "qwen3" if has_qk_norm else "llama"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"wide {architecture} {seed}")
    is_half = data_type is np.float16
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if is_half else gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(N_CTX_TRAIN)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(n_layers)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD_KV)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(N_EMBD // N_HEAD)
    if has_experts:
        writer.add_expert_count(N_EXPERT)
        writer.add_expert_used_count(N_EXPERT_USED)
    TINY_SPM.write(writer)
    random = np.random.default_rng(seed)

    def matrix(name: str, *shape: int) -> None:
        scale = np.float32(1.5 / math.sqrt(shape[-1]))
        values = random.standard_normal(shape, dtype=np.float32) * scale
        writer.add_tensor(name, values.astype(data_type))

    def norm(name: str, size: int) -> None:
        noise = random.standard_normal(size, dtype=np.float32)
        writer.add_tensor(name, np.float32(1.0) + np.float32(0.1) * noise)

    n_vocab = len(TINY_SPM.texts)
    matrix("token_embd.weight", n_vocab, N_EMBD)
    norm("output_norm.weight", N_EMBD)
    if has_output:
        matrix("output.weight", n_vocab, N_EMBD)
    n_kv = N_EMBD // N_HEAD * N_HEAD_KV
    for layer in range(n_layers):
        block = f"blk.{layer}"
        norm(f"{block}.attn_norm.weight", N_EMBD)
        matrix(f"{block}.attn_q.weight", N_EMBD, N_EMBD)
        matrix(f"{block}.attn_k.weight", n_kv, N_EMBD)
        matrix(f"{block}.attn_v.weight", n_kv, N_EMBD)
        matrix(f"{block}.attn_output.weight", N_EMBD, N_EMBD)
        if has_qk_norm:
            norm(f"{block}.attn_q_norm.weight", N_EMBD // N_HEAD)
            norm(f"{block}.attn_k_norm.weight", N_EMBD // N_HEAD)
        norm(f"{block}.ffn_norm.weight", N_EMBD)
        experts, suffix = ((N_EXPERT,), "_exps") if has_experts else ((), "")
        if has_experts:
            matrix(f"{block}.ffn_gate_inp.weight", N_EXPERT, N_EMBD)
        matrix(f"{block}.ffn_gate{suffix}.weight", *experts, n_ff, N_EMBD)
        matrix(f"{block}.ffn_up{suffix}.weight", *experts, n_ff, N_EMBD)
        matrix(f"{block}.ffn_down{suffix}.weight", *experts, N_EMBD, n_ff)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


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
