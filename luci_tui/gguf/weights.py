"""Where the weights of a model end up in memory: in the file's pages, or in a copy of their own.

The CPU back end of ggml rearranges matrices of some quant types for its kernels. Such a copy is
memory that only ends with the process. The pages of the mapped file that it was made from stay in
memory too, but nothing reads them again, so the system drops them as soon as it needs the room.

Source: select_weight_buft, load_all_data and get_mapping_range in src/llama-model-loader.cpp of
the pinned llama.cpp; ggml/src/ggml-cpu/repack.cpp and amx/amx.cpp.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from luci_tui.gguf.header import GgufHeader, TensorInfo
from luci_tui.gguf.quant import TENSOR_TYPES

_TENSOR_PADDING: Final = 32
"""Alignment of tensors in a CPU buffer (TENSOR_ALIGNMENT of ggml)."""

_LOOKED_UP: Final = frozenset(
    {
        *("token_embd", "per_layer_token_embd", "position_embd", "token_types", "attn_rel_b"),
        *("attn_compressor_ape", "indexer_compressor_ape", "embed_tokens"),
    }
)
"""Matrices whose rows are looked up, not multiplied: they are read from the file as they lie.
Source: LLM_TENSOR_INFOS in src/llama-arch.cpp, GGML_OP_GET_ROWS."""


_WITHOUT_OUTPUT: Final = frozenset(
    {
        *("bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe", "neo-bert"),
        *("eurobert", "modern-bert", "t5encoder"),
    }
)
"""Encoders that give vectors and no tokens."""


_OUTPUT_FIRST: Final = frozenset({"gemma3n", "gemma4"})
"""llama.cpp makes their tied output matrix before it makes the token embeddings, and does not see
then that they are the same: read into memory they are there twice in any type."""


@dataclass(frozen=True)
class RepackedType:
    """A tensor type that one build rearranges on one CPU, and the shapes it does that for."""

    type_number: int
    is_expert: bool
    """Stacks of matrices that experts are chosen from; False = single matrices."""
    row_length_step: int = 1
    """The length of a row has to be a multiple of it."""
    n_rows_step: int = 1
    """The number of rows has to be a multiple of it."""
    size_ratio: float = 1.0
    """Bytes of the copy per byte of the tensor in the file."""


Repacking = tuple[RepackedType, ...]
"""What a build rearranges; the first entry that fits a tensor holds for it. Empty = nothing."""

WORST_REPACKING: Final = tuple(
    RepackedType(number, is_expert, size_ratio=1.25)
    for number in TENSOR_TYPES
    for is_expert in (False, True)
)
"""More than any CPU does, to know the most that a model may need without asking the build."""


@dataclass(frozen=True)
class WeightsMemory:
    """What the weights of one model take, in bytes."""

    weights_bytes: int
    """Tensors that are used as they are in the file."""
    repacked_bytes: int
    """Copies that the CPU back end has rearranged."""
    droppable_bytes: int
    """Pages of the mapped file that only the copies were made from."""


def weights_memory(
    header: GgufHeader, repacking: Repacking, *, use_mmap: bool, use_mlock: bool
) -> WeightsMemory:
    """Say where the tensors of a model go.

    Args:
        header: The model's.
        repacking: What the build rearranges.
        use_mmap: The file is mapped, not read into memory.
        use_mlock: Pages of the file cannot be dropped.
    """
    kept: list[TensorInfo] = []
    repacked_bytes = twice_bytes = 0
    is_tied = _has_tied_output(header)
    for tensor in header.tensors:
        copy_bytes = _copy_bytes(tensor, repacking, is_looked_up=_is_looked_up(tensor))
        repacked_bytes += copy_bytes
        if not copy_bytes:
            kept.append(tensor)
        if tensor.name == "token_embd.weight" and is_tied:
            copy_bytes = _copy_bytes(tensor, repacking, is_looked_up=False)
            repacked_bytes += copy_bytes
            if not copy_bytes and header.architecture in _OUTPUT_FIRST:
                twice_bytes = _pad(tensor.size_bytes)
    weights_bytes = sum(_pad(tensor.size_bytes) for tensor in kept)
    if not use_mmap:
        weights_bytes += twice_bytes
    unused_bytes = max(0, _mapped_bytes(kept) - weights_bytes) if use_mmap and repacked_bytes else 0
    if use_mlock:
        return WeightsMemory(weights_bytes + unused_bytes, repacked_bytes, 0)
    return WeightsMemory(weights_bytes, repacked_bytes, unused_bytes)


def _mapped_bytes(kept: list[TensorInfo]) -> int:
    """Give the ranges that stay mapped: in each file from the first tensor in use to the last."""
    starts: dict[int, list[int]] = defaultdict(list)
    ends: dict[int, list[int]] = defaultdict(list)
    for tensor in kept:
        starts[tensor.shard].append(tensor.offset)
        ends[tensor.shard].append(tensor.offset + tensor.size_bytes)
    return sum(max(ends[shard]) - min(starts[shard]) for shard in starts)


def _copy_bytes(tensor: TensorInfo, repacking: Repacking, *, is_looked_up: bool) -> int:
    """Give the bytes of the rearranged copy; 0 = the tensor is used as it is."""
    shape = tensor.shape
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    if is_looked_up or not tensor.name.endswith(".weight") or len(shape) not in (2, 3):
        return 0
    is_expert = tensor.name.endswith("exps.weight")
    if is_expert != (len(shape) == 3):
        return 0
    for one in repacking:
        is_alike = one.type_number == tensor.type_number and one.is_expert == is_expert
        if is_alike and not shape[0] % one.row_length_step and not shape[1] % one.n_rows_step:
            return _pad(int(tensor.size_bytes * one.size_ratio))
    return 0


def _is_looked_up(tensor: TensorInfo) -> bool:
    return tensor.name.removesuffix(".weight").rpartition(".")[2] in _LOOKED_UP


def _has_tied_output(header: GgufHeader) -> bool:
    """Tell whether the token embeddings are the output matrix too: then there are two of them."""
    has_own = any(tensor.name == "output.weight" for tensor in header.tensors)
    return not has_own and header.architecture not in _WITHOUT_OUTPUT


def _pad(size_bytes: int) -> int:
    return -(-size_bytes // _TENSOR_PADDING) * _TENSOR_PADDING
