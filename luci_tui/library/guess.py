"""Guess the shape of a model from its number of parameters, for one that is not on this machine.

A transformer with layers of 12 width² weights and a width of 128 times its depth has about the
parameters of real ones: 8 billion make 34 layers 4,400 wide (Llama 3 8B: 32 and 4,096), 70 billion
make 71 layers (80). With 8 KV heads of 128 values its KV cache is within a factor of two of most
models of today. A mixture of experts counts as the geometric mean of all and active parameters.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from luci_tui.catalog.entries import CatalogEntry
from luci_tui.gguf.estimate import ContextShape, estimate
from luci_tui.gguf.header import ArrayInfo, GgufHeader, TensorInfo, Value

WEIGHTS_PER_LAYER: Final = 12
"""Of width²: 4 for the attention, 8 for the feed-forward network."""
WIDTH_PER_LAYER: Final = 128
HEAD_WIDTH: Final = 128
MAX_KV_HEADS: Final = 8
N_VOCAB: Final = 128_000
_F16: Final = 1


def guessed_header(parameters_b: float, active_b: float | None, n_ctx_train: int) -> GgufHeader:
    """Make a header of a model of that size, for `estimate`; no file has it.

    Args:
        parameters_b: Billions of parameters.
        active_b: Billions that one token uses; None = all.
        n_ctx_train: Tokens of context that it was trained with.
    """
    n_values = 1e9 * math.sqrt(parameters_b * (active_b or parameters_b))
    n_layers = max(4, round((n_values / (WEIGHTS_PER_LAYER * WIDTH_PER_LAYER**2)) ** (1 / 3)))
    width = WIDTH_PER_LAYER * n_layers
    n_heads = width // HEAD_WIDTH
    n_kv = min(MAX_KV_HEADS, n_heads)
    n_ff = 8 * width // 3
    values: dict[str, Value] = {
        "general.architecture": "llama",
        "llama.block_count": n_layers,
        "llama.context_length": n_ctx_train,
        "llama.embedding_length": width,
        "llama.feed_forward_length": n_ff,
        "llama.attention.head_count": n_heads,
        "llama.attention.head_count_kv": n_kv,
        "llama.attention.key_length": HEAD_WIDTH,
        "llama.attention.value_length": HEAD_WIDTH,
    }
    tensors = tuple(
        TensorInfo(f"{name}.weight", shape, _F16, 0, 2 * math.prod(shape), 0)
        for name, shape in _shapes(n_layers, width, n_kv * HEAD_WIDTH, n_ff).items()
    )
    return GgufHeader(
        path=Path("/"),
        shard_paths=(),
        size_bytes=0,
        version=3,
        n_tensors=len(tensors),
        architecture="llama",
        file_type=_F16,
        values=values,
        arrays={"tokenizer.ggml.tokens": ArrayInfo("string", N_VOCAB, 0)},
        tensors=tensors,
    )


def _shapes(n_layers: int, width: int, kv_width: int, n_ff: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (width, N_VOCAB),
        "output_norm": (width,),
        "output": (width, N_VOCAB),
    }
    layer_shapes: dict[str, tuple[int, ...]] = {
        "attn_norm": (width,),
        "attn_q": (width, width),
        "attn_k": (width, kv_width),
        "attn_v": (width, kv_width),
        "attn_output": (width, width),
        "ffn_norm": (width,),
        "ffn_gate": (width, n_ff),
        "ffn_up": (width, n_ff),
        "ffn_down": (n_ff, width),
    }
    for layer in range(n_layers):
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in layer_shapes.items()}
    return shapes


def needed_bytes(entry: CatalogEntry) -> int:
    """Estimate what a load of an entry's model with its defaults takes."""
    header = guessed_header(entry.parameters_b, entry.active_parameters_b, entry.n_ctx)
    memory = estimate(header, ContextShape())
    return memory.needed_bytes - memory.weights_bytes + entry.size_bytes
