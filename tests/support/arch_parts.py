"""What the tiny models are planned with: sizes, tensors, and parts that many architectures have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from tests.support.tiny_vocab import TinyVocab

SLIDING_WINDOW = 32
"""Gemma's window in tokens: short enough that any test passes its end."""


@dataclass(frozen=True)
class Sizes:
    """How large a model is made; the defaults are as small as the kernels allow."""

    n_vocab: int = 0
    """0 = the tiny vocabulary as it is; more = it is filled up with further words."""
    n_embd: int = 64
    n_ff: int = 128
    n_head: int = 4
    n_head_kv: int = 2
    head_size: int = 32
    """A multiple of 32, so that the KV cache can be quantized."""
    n_expert: int = 4
    n_expert_used: int = 2
    layer_input_size: int = 32
    """Of Gemma 4's input for each layer."""
    sliding_window: int = SLIDING_WINDOW
    conv_size: int = 4
    state_size: int = 16
    delta_state_size: int = 32
    delta_k_heads: int = 2
    delta_v_heads: int = 4

    def vocab(self, tiny: TinyVocab) -> TinyVocab:
        """Give a vocabulary of `n_vocab` tokens, or the tiny one."""
        return tiny.filled_up(self.n_vocab)


TINY = Sizes()


class Fill(Enum):
    """What kind of noise a tensor gets."""

    MATRIX = auto()
    EMBEDDING = auto()
    NORM = auto()
    BIAS = auto()
    DECAY = auto()


@dataclass(frozen=True)
class Tensor:
    """One tensor of a model that is to be written."""

    name: str
    shape: tuple[int, ...]
    """As NumPy has it: GGUF's order reversed, so the last axis is the input of a matrix."""
    fill: Fill = Fill.MATRIX


Value = int | float | bool | Sequence[int] | Sequence[str]
"""Of a key."""


@dataclass(frozen=True)
class Plan:
    """All that a model file holds but its weights."""

    architecture: str
    vocab: TinyVocab
    n_layers: int
    keys: dict[str, Value]
    """Below the architecture's name."""
    tensors: tuple[Tensor, ...]


def norm(s: Sizes, layer: int, name: str, size: int = 0, part: str = "") -> Tensor:
    """Give the weight of one of a layer's norms."""
    return Tensor(f"{part}blk.{layer}.{name}.weight", (size or s.n_embd,), Fill.NORM)


def feed_forward(s: Sizes, layer: int, part: str = "") -> Iterator[Tensor]:
    """Yield a layer's gated feed-forward network and the norm before it."""
    yield norm(s, layer, "ffn_norm", part=part)
    yield Tensor(f"{part}blk.{layer}.ffn_gate.weight", (s.n_ff, s.n_embd))
    yield Tensor(f"{part}blk.{layer}.ffn_up.weight", (s.n_ff, s.n_embd))
    yield Tensor(f"{part}blk.{layer}.ffn_down.weight", (s.n_embd, s.n_ff))
