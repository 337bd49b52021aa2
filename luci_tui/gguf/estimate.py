"""Say from a header alone what a model will take in memory.

Weights, KV cache and recurrent state follow llama.cpp's own formulas and are exact for the
architectures below. The compute buffer is the largest set of tensors that are alive at the same
time in the graph of one ubatch; `_compute_bytes` names what it counts. docs/memory.md has the
error of each architecture; the job `PlanMemorySpec` asks llama.cpp itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from luci_tui.gguf.graph import GraphSizes, LayerKind, compute_bytes
from luci_tui.gguf.header import GgufHeader

DEFAULT_N_CTX_MAX: Final = 8192
"""The most that n_ctx 0 stands for; the same constant as in native/src/context.cpp."""

_CELL_PADDING: Final = 256
"""llama_context pads the context, and the KV cache the sliding window, to this many tokens."""
_TENSOR_PADDING: Final = 32
"""Alignment of tensors in a CPU buffer (TENSOR_ALIGNMENT of ggml)."""

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

_WINDOW_PATTERNS: Final = {
    "afmoe": (4, False),
    "cohere2": (4, False),
    "cohere2moe": (4, True),
    "exaone-moe": (4, False),
    "exaone4": (4, False),
    "gemma2": (2, False),
    "gemma3": (6, False),
    "gemma3n": (5, False),
    "gpt-oss": (2, False),
    "llama4": (4, False),
    "mellum": (4, False),
    "olmo2": (4, False),
    "plamo3": (8, False),
    "smallthinker": (4, True),
}
"""(period, the full layer comes first) of the layers with a sliding window, where the file does not
say. Source: load_swa_pattern in src/models/*.cpp."""

_WINDOWS: Final = {"exaone-moe": 128, "gemma2": 4096, "llama4": 8192, "smallthinker": 4096}
"""Windows that llama.cpp assumes where the file has none."""


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


@dataclass(frozen=True)
class MemoryEstimate:
    """What one load needs, in bytes."""

    weights_bytes: int
    kv_bytes: int
    """KV cache and recurrent state of all slots."""
    compute_bytes: int
    """What the largest graph needs between its operations."""
    output_bytes: int
    """Logits of one step; for embeddings those of a whole batch, and its vectors."""

    @property
    def total_bytes(self) -> int:
        """All of it together."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes + self.output_bytes

    def __add__(self, other: MemoryEstimate) -> MemoryEstimate:
        """Give what both loads need together."""
        return MemoryEstimate(
            weights_bytes=self.weights_bytes + other.weights_bytes,
            kv_bytes=self.kv_bytes + other.kv_bytes,
            compute_bytes=self.compute_bytes + other.compute_bytes,
            output_bytes=self.output_bytes + other.output_bytes,
        )


def context_size(header: GgufHeader, n_ctx: int) -> int:
    """Give the tokens of context per slot that the core will make; `n_ctx` 0 = its default."""
    return n_ctx or min(header.n_ctx_train or DEFAULT_N_CTX_MAX, DEFAULT_N_CTX_MAX)


def estimate(header: GgufHeader, shape: ContextShape) -> MemoryEstimate:
    """Estimate what a model takes with one context."""
    sizes = graph_sizes(header, shape)
    kinds = zip(recurrent_layers(header), window_layers(header), strict=False)
    layers = tuple(LayerKind(*kind) for kind in kinds)
    return MemoryEstimate(
        weights_bytes=_weights_bytes(header),
        kv_bytes=_state_bytes(header, shape, sizes),
        compute_bytes=compute_bytes(header, sizes, layers),
        output_bytes=_output_bytes(header, shape),
    )


def _output_bytes(header: GgufHeader, shape: ContextShape) -> int:
    """Rows that are handed out. Source: llama_context::output_reserve."""
    width = header.count("tokenizer.ggml.tokens")
    if not shape.is_embedding:
        return 4 * width * shape.n_slots
    n_batch = max(shape.n_batch, context_size(header, shape.n_ctx))
    if not is_encoder(header):
        n_batch = min(n_batch, _pad(context_size(header, shape.n_ctx) * shape.n_slots, 256))
    return 4 * (width + header.number("embedding_length")) * max(n_batch, shape.n_slots)


def is_encoder(header: GgufHeader) -> bool:
    """Tell whether a model sees a whole text at once and keeps nothing of it."""
    return header.architecture in _WITHOUT_MEMORY


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
        n_outputs = min(n_tokens, shape.n_batch, shape.n_slots * shape.n_outputs_per_slot)
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


def sliding_window(header: GgufHeader) -> int:
    """Give the tokens that layers with a sliding window see; 0 = the model has no such layers."""
    pattern = header.values.get(f"{header.architecture}.attention.sliding_window_pattern")
    if header.architecture not in _WINDOW_PATTERNS and not isinstance(pattern, tuple):
        return 0
    return header.number("attention.sliding_window") or _WINDOWS.get(header.architecture, 0)


def window_layers(header: GgufHeader) -> tuple[bool, ...]:
    """Tell for each layer whether it has a sliding window."""
    n_layers = header.n_layers
    if not sliding_window(header):
        return (False,) * n_layers
    pattern = header.values.get(f"{header.architecture}.attention.sliding_window_pattern")
    if isinstance(pattern, tuple):
        return tuple(bool(entry) for entry in pattern[:n_layers])
    period, full_is_first = _WINDOW_PATTERNS[header.architecture]
    if isinstance(pattern, int):
        period = pattern
    if period == 0:
        return (True,) * n_layers
    full = 0 if full_is_first else period - 1
    return tuple(layer % period != full for layer in range(n_layers))


def _weights_bytes(header: GgufHeader) -> int:
    return sum(_pad(tensor.size_bytes, _TENSOR_PADDING) for tensor in header.tensors)


def _state_bytes(header: GgufHeader, shape: ContextShape, sizes: GraphSizes) -> int:
    """KV cache of the attention layers and state of the recurrent ones.

    Source: llama_kv_cache's constructor, llama_hparams::n_embd_k_gqa, n_embd_r and n_embd_s.
    """
    if not sizes.has_memory:
        return 0
    bits_k, bits_v = KV_BITS.get(shape.kv_type_k, 16.0), KV_BITS.get(shape.kv_type_v, 16.0)
    windows = window_layers(header)
    recurrent = recurrent_layers(header)
    n_heads_kv = header.per_layer("attention.head_count_kv") or header.per_layer(
        "attention.head_count"
    )
    key_length, value_length = _head_lengths(header)
    bits = 0.0
    for layer, n_head_kv in enumerate(n_heads_kv):
        if layer < len(recurrent) and recurrent[layer]:
            continue
        is_windowed = layer < len(windows) and windows[layer]
        n_cells = sizes.n_window_cells if is_windowed else sizes.n_cells
        width = n_head_kv * (key_length * bits_k + value_length * bits_v)
        bits += n_cells * sizes.n_streams * width
    return int(bits / 8) + sum(recurrent) * _recurrent_bytes(header) * shape.n_slots


def _head_lengths(header: GgufHeader) -> tuple[int, int]:
    n_heads = max(1, max(header.per_layer("attention.head_count"), default=1))
    default = header.number("embedding_length") // n_heads
    key_length = header.number("attention.key_length") or default
    value_length = header.number("attention.value_length") or default
    if header.number("attention.kv_lora_rank"):
        value_length = 0  # multi-head latent attention reads the values from the keys' cache
    return key_length, value_length


def recurrent_layers(header: GgufHeader) -> tuple[bool, ...]:
    """Tell for each layer whether it keeps a state that does not grow with the context."""
    n_layers = header.n_layers
    interval = header.number("full_attention_interval")
    if interval:
        return tuple((layer + 1) % interval != 0 for layer in range(n_layers))
    if not (header.number("ssm.conv_kernel") or header.number("wkv.head_size")):
        return (False,) * n_layers
    n_heads_kv = header.per_layer("attention.head_count_kv")
    return tuple(layer >= len(n_heads_kv) or n_heads_kv[layer] == 0 for layer in range(n_layers))


def _recurrent_bytes(header: GgufHeader) -> int:
    """Bytes of one layer's state for one slot, in float of 32 bits."""
    if head_size := header.number("wkv.head_size"):
        n_embd = header.number("embedding_length")
        n_shifts = header.number("token_shift_count") or 2
        return 4 * n_embd * (n_shifts + head_size)
    inner, state = header.number("ssm.inner_size"), header.number("ssm.state_size")
    n_conv = max(0, header.number("ssm.conv_kernel") - 1)
    return 4 * (n_conv * (inner + 2 * header.number("ssm.group_count") * state) + state * inner)


def _pad(value: int, step: int) -> int:
    return -(-value // step) * step
