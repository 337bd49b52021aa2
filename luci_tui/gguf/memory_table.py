"""The memory of a model at several sizes of context and KV types, for people to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from luci_tui.gguf.estimate import ContextShape, context_size, estimate, is_encoder
from luci_tui.gguf.header import GgufHeader

KV_TYPES: Final = ("f16", "q8_0", "q4_0")
_USUAL_N_CTX: Final = (4096, 8192, 32_768, 131_072)
_N_CTX_ENCODER: Final = 512
"""An encoder sees a text in one piece; more than a paragraph is rare."""


@dataclass(frozen=True)
class MemoryRow:
    """What one slot with one context takes, in bytes."""

    n_ctx: int
    """0 = the default of a load."""
    kv_type: str
    weights_bytes: int
    kv_bytes: int
    """KV cache and recurrent state."""
    compute_bytes: int
    output_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes + self.output_bytes


def memory_table(header: GgufHeader, n_ctx: int = 0) -> tuple[MemoryRow, ...]:
    """Estimate one slot at each usual context up to what the model was trained with.

    Args:
        header: The model's.
        n_ctx: Only this many tokens; 0 = the default of a load, and others.
    """
    encodes = is_encoder(header)
    first = min(_N_CTX_ENCODER, header.n_ctx_train or _N_CTX_ENCODER)
    first = n_ctx or (first if encodes else context_size(header, 0))
    sizes = {first}
    if not n_ctx and not encodes:
        sizes |= {size for size in _USUAL_N_CTX if size <= header.n_ctx_train}
    kv_types = KV_TYPES[:1] if encodes else KV_TYPES
    return tuple(_row(header, size, kv, encodes) for size in sorted(sizes) for kv in kv_types)


def _row(header: GgufHeader, n_ctx: int, kv_type: str, is_embedding: bool) -> MemoryRow:
    shape = ContextShape(
        n_ctx=n_ctx,
        n_batch=n_ctx if is_embedding else ContextShape.n_batch,
        kv_type_k=kv_type,
        kv_type_v=kv_type,
        is_embedding=is_embedding,
    )
    needed = estimate(header, shape)
    return MemoryRow(
        n_ctx=n_ctx,
        kv_type=kv_type,
        weights_bytes=needed.weights_bytes,
        kv_bytes=needed.kv_bytes,
        compute_bytes=needed.compute_bytes,
        output_bytes=needed.output_bytes,
    )
