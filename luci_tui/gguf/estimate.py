"""Say from a header alone what a model will take in memory.

Weights, KV cache and recurrent state follow llama.cpp's own formulas and are exact for the
architectures in `luci_tui.gguf.layers`. Copies of weights depend on the CPU; what they are made of
is in `luci_tui.gguf.weights`. The compute buffer is the peak of a replay of one ubatch's graph, see
`luci_tui.gguf.graph`. docs/memory.md has the error of each architecture; the job `PlanMemorySpec`
asks llama.cpp itself.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Final

from luci_tui.gguf.graph import GraphSizes, compute_bytes
from luci_tui.gguf.graph_t5 import t5_compute_bytes
from luci_tui.gguf.header import GgufHeader
from luci_tui.gguf.layers import LayerMemory, layers_of, recurrent_bytes, sliding_window
from luci_tui.gguf.weights import Repacking, weights_memory

DEFAULT_N_CTX_MAX: Final = 8192
"""The most that n_ctx 0 stands for; the same constant as in native/src/context.cpp."""

_CELL_PADDING: Final = 256
"""llama_context pads the context, and the KV cache the sliding window, to this many tokens."""

KV_BITS: Final = {
    "f32": 32.0,
    "f16": 16.0,
    "bf16": 16.0,
    "q8_0": 8.5,
    "q5_1": 6.0,
    "q5_0": 5.5,
    "q4_1": 5.0,
    "q4_0": 4.5,
    "iq4_nl": 4.5,
}
"""Bits per value of each KV type, block scales included."""

_WITHOUT_MEMORY: Final = frozenset(
    {
        *("bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe", "neo-bert"),
        *("eurobert", "modern-bert", "gemma-embedding", "dream", "llada", "llada-moe", "rnd1"),
    }
)
"""They see a whole text at once. Source: llama_model::create_memory."""


PROMPT_ROWS = 32
"""Rows of logits that a step may need for the probabilities of a prompt, besides those of the
slots. Source: MAX_PROMPT_ROWS in native/include/luci/prompt_logprobs.h."""


@dataclass(frozen=True)
class ContextShape:
    """What is asked of a context; the fields are those of the engine's LoadSpec."""

    n_ctx: int = 0
    n_slots: int = 1
    n_batch: int = 2048
    n_ubatch: int = 512
    kv_type_k: str = "f16"
    kv_type_v: str = "f16"
    has_flash_attention: bool = True
    """Auto counts as on: the CPU and every GPU back end of this build can do it."""
    kv_unified: bool = False
    is_embedding: bool = False
    n_outputs_per_slot: int = 1
    """Tokens of one slot that need logits in one step; more than one for speculation."""
    use_mmap: bool = True
    use_mlock: bool = False
    repacking: Repacking = ()
    """What the build that will load the model rearranges. Empty = nothing, as on a GPU: that is
    right where it is not known, for a copy costs memory only where one is made."""


@dataclass(frozen=True)
class MemoryEstimate:
    """What one load needs, in bytes."""

    weights_bytes: int
    """Tensors that are used as they are in the file."""
    kv_bytes: int
    """KV cache and recurrent state of all slots."""
    compute_bytes: int
    """What the largest graph needs between its operations."""
    output_bytes: int
    """Logits of one step; for embeddings those of a whole batch, and its vectors."""
    repacked_bytes: int = 0
    """Copies of tensors that the CPU back end has rearranged for its kernels."""
    droppable_bytes: int = 0
    """Pages of the mapped file that only those copies were made from. They count as the worker's
    memory until the system needs the room."""

    @property
    def needed_bytes(self) -> int:
        """What has to be there; without it the load fails or the disk is read all the time."""
        context_bytes = self.kv_bytes + self.compute_bytes + self.output_bytes
        return self.weights_bytes + self.repacked_bytes + context_bytes

    @property
    def total_bytes(self) -> int:
        """All that the worker takes as long as there is room."""
        return self.needed_bytes + self.droppable_bytes

    def __add__(self, other: MemoryEstimate) -> MemoryEstimate:
        """Give what both loads need together."""
        both = zip(astuple(self), astuple(other), strict=True)
        return MemoryEstimate(*(mine + its for mine, its in both))


def context_size(header: GgufHeader, n_ctx: int) -> int:
    """Give the tokens of context per slot that the core will make; `n_ctx` 0 = its default."""
    return n_ctx or min(header.n_ctx_train or DEFAULT_N_CTX_MAX, DEFAULT_N_CTX_MAX)


def estimate(header: GgufHeader, shape: ContextShape) -> MemoryEstimate:
    """Estimate what a model takes with one context."""
    shape = _taken(header, shape)
    sizes, layers = graph_sizes(header, shape), layers_of(header)
    weights = weights_memory(
        header, shape.repacking, use_mmap=shape.use_mmap, use_mlock=shape.use_mlock
    )
    return MemoryEstimate(
        weights_bytes=weights.weights_bytes,
        kv_bytes=_state_bytes(header, shape, sizes, layers),
        compute_bytes=t5_compute_bytes(header, sizes)
        if is_encoder_decoder(header)
        else compute_bytes(header, sizes, layers),
        output_bytes=_output_bytes(header, shape),
        repacked_bytes=weights.repacked_bytes,
        droppable_bytes=weights.droppable_bytes,
    )


def _output_bytes(header: GgufHeader, shape: ContextShape) -> int:
    """Rows that are handed out. Source: llama_context::output_reserve."""
    width = header.count("tokenizer.ggml.tokens")
    if is_encoder_decoder(header):
        return 4 * (width + header.number("embedding_length")) * shape.n_batch
    if not shape.is_embedding:
        return 4 * width * shape.n_slots
    n_batch = max(shape.n_batch, context_size(header, shape.n_ctx))
    if not is_encoder(header):
        n_batch = min(n_batch, _pad(context_size(header, shape.n_ctx) * shape.n_slots, 256))
    return 4 * (width + header.number("embedding_length")) * max(n_batch, shape.n_slots)


def is_encoder(header: GgufHeader) -> bool:
    """Tell whether a model sees a whole text at once and keeps nothing of it."""
    return header.architecture in _WITHOUT_MEMORY


def is_encoder_decoder(header: GgufHeader) -> bool:
    """Tell whether a model reads a prompt with an encoder and answers with a decoder."""
    return header.architecture == "t5"


def _taken(header: GgufHeader, shape: ContextShape) -> ContextShape:
    """Give what the core makes of a shape. Source: params_for in native/src/context.cpp."""
    if not is_encoder_decoder(header):
        return shape
    n_ctx = context_size(header, shape.n_ctx)
    return replace(shape, n_slots=1, n_batch=n_ctx, n_ubatch=n_ctx, kv_unified=False)


def graph_sizes(header: GgufHeader, shape: ContextShape) -> GraphSizes:
    """Work out the sizes that llama.cpp gives a context. Source: llama_context's constructor."""
    n_ctx = context_size(header, shape.n_ctx)
    is_unified = shape.kv_unified or shape.is_embedding
    n_batch, n_ubatch = shape.n_batch, min(shape.n_ubatch, shape.n_batch)
    if shape.is_embedding:
        n_batch = n_ubatch = max(n_batch, n_ctx)
    n_ctx_all = _pad(n_ctx * shape.n_slots, _CELL_PADDING)
    n_cells = n_ctx_all if is_unified else _pad(n_ctx_all // shape.n_slots, _CELL_PADDING)
    if not is_unified:
        n_ctx_all = n_cells * shape.n_slots
    has_memory = not is_encoder(header)
    if has_memory:
        n_batch = min(n_batch, n_ctx_all)
    n_ubatch = min(n_ubatch, n_batch)
    n_tokens = min(n_ctx_all, n_ubatch)
    n_outputs = n_tokens
    if not shape.is_embedding:
        n_outputs = min(n_tokens, shape.n_slots * shape.n_outputs_per_slot + PROMPT_ROWS)
    window = sliding_window(header)
    n_window_sequences = shape.n_slots if is_unified else 1
    n_window_cells = _pad(min(n_cells, window * n_window_sequences + n_ubatch), _CELL_PADDING)
    return GraphSizes(
        n_tokens=n_tokens,
        n_outputs=n_outputs,
        n_slots=shape.n_slots,
        n_streams=1 if is_unified else shape.n_slots,
        n_cells=n_cells if has_memory else n_tokens,
        n_window_cells=n_window_cells if window else 0,
        has_memory=has_memory,
        has_flash_attention=shape.has_flash_attention,
        is_embedding=shape.is_embedding,
        kv_type_k=shape.kv_type_k,
        kv_type_v=shape.kv_type_v,
    )


def _state_bytes(
    header: GgufHeader,
    shape: ContextShape,
    sizes: GraphSizes,
    layers: tuple[LayerMemory, ...],
) -> int:
    """KV cache of the attention layers and state of the recurrent ones.

    Source: the constructors of llama_kv_cache and llama_memory_recurrent.
    """
    if not sizes.has_memory:
        return 0
    bits_k, bits_v = KV_BITS.get(shape.kv_type_k, 16.0), KV_BITS.get(shape.kv_type_v, 16.0)
    widest = max((layer.n_value_values for layer in layers), default=0)
    bits = 0.0
    for layer in layers:
        n_cells = sizes.n_window_cells if layer.is_windowed else sizes.n_cells
        # Without flash attention the values are stored turned, each layer as wide as the widest.
        n_values = layer.n_value_values
        if n_values and not shape.has_flash_attention:
            n_values = widest
        width = (layer.n_key_values + layer.n_indexer_values) * bits_k + n_values * bits_v
        bits += n_cells * sizes.n_streams * width
    n_recurrent = sum(layer.is_recurrent for layer in layers)
    return int(bits / 8) + n_recurrent * recurrent_bytes(header) * shape.n_slots


def _pad(value: int, step: int) -> int:
    return -(-value // step) * step
