from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.gguf.header import GgufHeader, TensorInfo
from luci_tui.gguf.weights import RepackedType, WeightsMemory, weights_memory

Q4_0, F32 = 2, 0
REPACKING = (
    RepackedType(Q4_0, is_expert=False, row_length_step=32, n_rows_step=8),
    RepackedType(Q4_0, is_expert=True, row_length_step=32, n_rows_step=8),
)
SIZE = 1152


def header_of(*tensors: TensorInfo, architecture: str = "llama") -> GgufHeader:
    return GgufHeader(
        path=Path("m.gguf"),
        shard_paths=(Path("m.gguf"),),
        size_bytes=10_000,
        version=3,
        n_tensors=len(tensors),
        architecture=architecture,
        file_type=None,
        values={},
        tensors=tensors,
    )


def tensor(
    name: str,
    shape: tuple[int, ...] = (64, 32),
    *,
    offset: int = 0,
    type_number: int = Q4_0,
    shard: int = 0,
) -> TensorInfo:
    return TensorInfo(name, shape, type_number, offset, SIZE, shard)


def memory_of(
    header: GgufHeader, *, use_mmap: bool = True, use_mlock: bool = False
) -> WeightsMemory:
    return weights_memory(header, REPACKING, use_mmap=use_mmap, use_mlock=use_mlock)


@pytest.mark.parametrize(
    ("one", "is_copied"),
    [
        (tensor("blk.0.attn_q.weight"), True),
        (tensor("blk.0.attn_q.weight", (64, 36)), False),
        (tensor("blk.0.attn_q.weight", (48, 32)), False),
        (tensor("blk.0.attn_q.weight", type_number=F32), False),
        (tensor("blk.0.attn_q.bias"), False),
        (tensor("blk.0.attn_norm.weight", (64,)), False),
        (tensor("blk.0.attn_k_b.weight", (64, 32, 4)), False),
        (tensor("blk.0.ffn_up_exps.weight", (64, 32, 4)), True),
        (tensor("blk.0.ffn_up_exps.weight", (64, 32)), False),
        (tensor("token_embd.weight"), False),
        (tensor("per_layer_token_embd.weight"), False),
        (tensor("output.weight"), True),
    ],
)
def test_weights_given_a_tensor_then_only_multiplied_matrices_that_fit_are_copied(
    one: TensorInfo, is_copied: bool
) -> None:
    found = memory_of(header_of(one, tensor("output.weight", type_number=F32)))
    assert found.repacked_bytes == (SIZE if is_copied else 0)
    assert found.weights_bytes == 2 * SIZE - found.repacked_bytes


def test_weights_given_no_repacking_then_all_are_used_in_the_file() -> None:
    header = header_of(tensor("token_embd.weight"), tensor("blk.0.attn_q.weight", offset=SIZE))
    found = weights_memory(header, (), use_mmap=True, use_mlock=False)
    assert found == WeightsMemory(2 * SIZE, 0, 0)


@pytest.mark.parametrize(("architecture", "n_copies"), [("llama", 1), ("bert", 0)])
def test_weights_given_tied_embeddings_then_the_output_matrix_is_a_copy(
    architecture: str, n_copies: int
) -> None:
    header = header_of(tensor("token_embd.weight"), architecture=architecture)
    assert memory_of(header) == WeightsMemory(SIZE, n_copies * SIZE, 0)


def test_weights_given_copies_between_tensors_in_use_then_their_pages_can_be_dropped() -> None:
    tensors = (
        tensor("blk.0.attn_k.weight", offset=0),
        tensor("token_embd.weight", offset=SIZE),
        tensor("blk.0.attn_q.weight", offset=2 * SIZE),
        tensor("output_norm.weight", (64,), offset=3 * SIZE, type_number=F32),
        tensor("output.weight", offset=4 * SIZE),
        tensor("blk.1.attn_q.weight", shard=1),
    )
    header = header_of(*tensors)
    # What lies before the first tensor in use, after the last, or in a file of its own is unmapped.
    assert memory_of(header) == WeightsMemory(2 * SIZE, 4 * SIZE, SIZE)
    assert memory_of(header, use_mmap=False) == WeightsMemory(2 * SIZE, 4 * SIZE, 0)
    assert memory_of(header, use_mlock=True) == WeightsMemory(3 * SIZE, 4 * SIZE, 0)


def test_weights_given_a_wider_layout_then_the_first_entry_that_fits_holds() -> None:
    repacking = (
        RepackedType(Q4_0, is_expert=False, n_rows_step=32, size_ratio=1.5),
        *REPACKING,
    )
    wide = header_of(tensor("blk.0.attn_q.weight"), tensor("output.weight", (64, 8)))
    found = weights_memory(wide, repacking, use_mmap=False, use_mlock=False)
    assert found.repacked_bytes == SIZE * 3 // 2 + SIZE
