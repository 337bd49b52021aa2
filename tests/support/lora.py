"""Write a tiny random LoRA adapter for the tiny Llama model of tests/support/arch_models.py."""

from __future__ import annotations

import math
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.support.arch_parts import TINY

RANK = 4


def write_lora(path: Path, *, seed: int = 7, alpha: float = 16.0, n_layers: int = 3) -> Path:
    """Write an adapter for the attention projections and return its path.

    Scaled by `alpha / RANK` the two factors make a change about as large as the weights are, so
    that the adapter's presence shows in the first tokens.

    Args:
        path: The new file; its folder must exist.
        seed: Of the weights; two adapters with different seeds change the model differently.
        alpha: LoRA's alpha; the effective scale is alpha / RANK times the one of the request.
        n_layers: Layers of the model that the adapter is for.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    random = np.random.default_rng(seed)
    n_query, n_kv = TINY.n_head * TINY.head_size, TINY.n_head_kv * TINY.head_size
    shapes = {
        "attn_q": (n_query, TINY.n_embd),
        "attn_k": (n_kv, TINY.n_embd),
        "attn_v": (n_kv, TINY.n_embd),
        "attn_output": (TINY.n_embd, n_query),
    }
    for layer in range(n_layers):
        for name, (n_out, n_in) in shapes.items():
            down = _noise(random, (RANK, n_in))
            up = _noise(random, (n_out, RANK))
            writer.add_tensor(f"blk.{layer}.{name}.weight.lora_a", down)
            writer.add_tensor(f"blk.{layer}.{name}.weight.lora_b", up)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _noise(random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    return random.standard_normal(shape, dtype=np.float32) * np.float32(1 / math.sqrt(shape[-1]))
