"""The memory of a model at several sizes of context and KV types, for people to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from luci_tui.gguf.estimate import (
    ContextShape,
    MemoryEstimate,
    context_size,
    estimate,
    is_encoder,
    is_encoder_decoder,
)
from luci_tui.gguf.header import GgufHeader
from luci_tui.gguf.weights import Repacking

_KV_TYPES: Final = ("f16", "q8_0", "q4_0")
_USUAL_N_CTX: Final = (4096, 8192, 32_768, 131_072)
_N_CTX_ENCODER: Final = 512
"""An encoder sees a text in one piece; more than a paragraph is rare."""


@dataclass(frozen=True)
class MemoryRow:
    """What one slot with one context takes."""

    n_ctx: int
    """0 = the default of a load."""
    kv_type: str
    memory: MemoryEstimate


def kv_types_of(header: GgufHeader) -> tuple[str, ...]:
    """Give the KV types to choose from, the largest first; some models take no other than f16."""
    has_choice = not (is_encoder(header) or is_encoder_decoder(header))
    return _KV_TYPES if has_choice else _KV_TYPES[:1]


def memory_table(
    header: GgufHeader, n_ctx: int = 0, repacking: Repacking = ()
) -> tuple[MemoryRow, ...]:
    """Estimate one slot at each usual context up to what the model was trained with.

    Args:
        header: The model's.
        n_ctx: Only this many tokens; 0 = the default of a load, and others.
        repacking: What the build that would load it rearranges; empty = nothing, or not known.
    """
    encodes = is_encoder(header)
    first = min(_N_CTX_ENCODER, header.n_ctx_train or _N_CTX_ENCODER)
    first = n_ctx or (first if encodes else context_size(header, 0))
    sizes = {first}
    if not n_ctx and not encodes:
        sizes |= {size for size in _USUAL_N_CTX if size <= header.n_ctx_train}
    rows: list[MemoryRow] = []
    for size in sorted(sizes):
        for kv_type in kv_types_of(header):
            shape = _shape(size, kv_type, encodes, repacking)
            rows.append(MemoryRow(size, kv_type, estimate(header, shape)))
    return tuple(rows)


def _shape(n_ctx: int, kv_type: str, is_embedding: bool, repacking: Repacking) -> ContextShape:
    return ContextShape(
        n_ctx=n_ctx,
        n_batch=n_ctx if is_embedding else ContextShape.n_batch,
        kv_type_k=kv_type,
        kv_type_v=kv_type,
        is_embedding=is_embedding,
        repacking=repacking,
    )
