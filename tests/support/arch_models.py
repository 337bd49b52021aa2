"""Tiny random-weight GGUF models, one for each kind of memory that llama.cpp has.

The weights are noise, but a fixed noise: the same call writes the same bytes. They are large
enough that the next token depends on the whole context, so a wrong reuse of a KV cache or of a
recurrent state changes the output. Tensor names and shapes are those that the pinned llama.cpp
asks for in src/models/*.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.support.tiny_vocab import TINY_SPM, TINY_WPM, TinyVocab

N_EMBD = 64
N_FF = 128
N_HEAD = 4
N_HEAD_KV = 2
HEAD_SIZE = 32
"""A multiple of 32, so that the KV cache can be quantized."""
N_CTX_TRAIN = 2048
N_EXPERT = 4
N_EXPERT_USED = 2
SLIDING_WINDOW = 32
"""Gemma's window in tokens: short enough that any test passes its end."""
CONV_SIZE = 4
STATE_SIZE = 16
DELTA_STATE_SIZE = 32
DELTA_K_HEADS = 2
DELTA_V_HEADS = 4


class TinyArch(StrEnum):
    """A model that this module can write, named by what it puts to the test."""

    LLAMA = "llama"
    """Grouped-query attention; rewinds, and takes LoRA adapters."""
    LLAMA_MOE = "llama-moe"
    """Mixtral's shape: experts."""
    QWEN3 = "qwen3"
    """Attention with normed queries and keys."""
    GEMMA3 = "gemma3"
    """Every second layer sees a sliding window of SLIDING_WINDOW tokens."""
    MAMBA = "mamba"
    """Recurrent memory only: nothing can be rewound."""
    JAMBA = "jamba"
    """Hybrid: Mamba and attention layers."""
    QWEN3NEXT = "qwen3next"
    """Hybrid: gated delta net and attention layers, with experts."""
    BERT = "bert"
    """Embeddings, mean pooling, no causal mask."""
    RERANKER = "reranker"
    """BERT with one score per pair, rank pooling."""


GENERATING_ARCHS = (
    TinyArch.LLAMA,
    TinyArch.LLAMA_MOE,
    TinyArch.QWEN3,
    TinyArch.GEMMA3,
    TinyArch.MAMBA,
    TinyArch.JAMBA,
    TinyArch.QWEN3NEXT,
)
RECURRENT_ARCHS = (TinyArch.MAMBA, TinyArch.JAMBA, TinyArch.QWEN3NEXT)
"""Their memory holds a state that cannot go back to an earlier token."""


class _Fill(Enum):
    MATRIX = auto()
    EMBEDDING = auto()
    NORM = auto()
    BIAS = auto()
    DECAY = auto()


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    """As NumPy has it: GGUF's order reversed, so the last axis is the input of a matrix."""
    fill: _Fill = _Fill.MATRIX


_Value = int | float | bool | Sequence[int] | Sequence[str]


@dataclass(frozen=True)
class _Plan:
    architecture: str
    vocab: TinyVocab
    n_layers: int
    keys: dict[str, _Value]
    """Below the architecture's name."""
    tensors: tuple[_Tensor, ...]


def write_arch_model(
    arch: TinyArch,
    path: Path,
    *,
    seed: int = 1,
    n_layers: int | None = None,
    chat_template: str | None = None,
    n_ctx_train: int = N_CTX_TRAIN,
) -> Path:
    """Write one tiny model and return its path.

    Args:
        arch: Which shape to write.
        path: The new file; its folder must exist.
        seed: Of the weights; two models with different seeds answer differently.
        n_layers: None = the shape's own count. A count of 1 makes a draft model for LLAMA.
        chat_template: Jinja source; None = the file has none.
        n_ctx_train: Context the file says that it was trained with.
    """
    plan = _plan(arch, n_layers, n_ctx_train)
    writer = gguf.GGUFWriter(path, plan.architecture)
    writer.add_name(f"tiny {arch.value} {seed}")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(n_ctx_train)
    writer.add_block_count(plan.n_layers)
    for key, value in plan.keys.items():
        _add_key(writer, f"{plan.architecture}.{key}", value)
    plan.vocab.write(writer)
    if plan.vocab is TINY_WPM:
        writer.add_token_type_count(2)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    random = np.random.default_rng(seed)
    for tensor in plan.tensors:
        writer.add_tensor(tensor.name, _values(tensor, random))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_key(writer: gguf.GGUFWriter, key: str, value: _Value) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_array(key, list(value))


def _values(tensor: _Tensor, random: np.random.Generator) -> NDArray[np.float32]:
    noise = random.standard_normal(tensor.shape, dtype=np.float32)
    match tensor.fill:
        case _Fill.MATRIX:
            # 1.5 over the usual 1/sqrt(inputs): the layers then outweigh the first embedding.
            return noise * np.float32(1.5 / math.sqrt(tensor.shape[-1]))
        case _Fill.EMBEDDING:
            return noise
        case _Fill.NORM:
            return np.float32(1.0) + np.float32(0.1) * noise
        case _Fill.BIAS:
            return np.float32(0.1) * noise
        case _Fill.DECAY:
            # Negative, so that a state fades, but so slowly that the first token still matters.
            return np.float32(-0.02) * np.exp(noise)


def _plan(arch: TinyArch, n_layers: int | None, n_ctx_train: int) -> _Plan:
    match arch:
        case TinyArch.LLAMA:
            return _attention_plan("llama", n_layers or 3)
        case TinyArch.LLAMA_MOE:
            return _attention_plan("llama", n_layers or 2, has_experts=True)
        case TinyArch.QWEN3:
            return _attention_plan("qwen3", n_layers or 3, has_qk_norm=True)
        case TinyArch.GEMMA3:
            return _attention_plan("gemma3", n_layers or 4, has_qk_norm=True, is_gemma=True)
        case TinyArch.MAMBA:
            return _mamba_plan(n_layers or 3)
        case TinyArch.JAMBA:
            return _jamba_plan(n_layers or 4)
        case TinyArch.QWEN3NEXT:
            return _qwen3next_plan(n_layers or 4)
        case TinyArch.BERT:
            return _bert_plan(n_layers or 2, n_ctx_train, gguf.PoolingType.MEAN)
        case TinyArch.RERANKER:
            return _bert_plan(n_layers or 2, n_ctx_train, gguf.PoolingType.RANK)


def _decoder_ends(vocab: TinyVocab) -> tuple[_Tensor, ...]:
    n_vocab = len(vocab.texts)
    return (
        _Tensor("token_embd.weight", (n_vocab, N_EMBD), _Fill.EMBEDDING),
        _Tensor("output_norm.weight", (N_EMBD,), _Fill.NORM),
        _Tensor("output.weight", (n_vocab, N_EMBD)),
    )


def _attention_keys() -> dict[str, _Value]:
    return {
        "embedding_length": N_EMBD,
        "feed_forward_length": N_FF,
        "attention.head_count": N_HEAD,
        "attention.head_count_kv": N_HEAD_KV,
        "attention.key_length": HEAD_SIZE,
        "attention.value_length": HEAD_SIZE,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": HEAD_SIZE,
    }


def _attention(
    layer: int, *, head_size: int = HEAD_SIZE, has_gate: bool = False
) -> Iterator[_Tensor]:
    """Yield one layer's four projections; with `has_gate` the queries carry an output gate."""
    prefix = f"blk.{layer}"
    n_query = N_HEAD * head_size
    n_kv = N_HEAD_KV * head_size
    yield _Tensor(f"{prefix}.attn_q.weight", (n_query * (2 if has_gate else 1), N_EMBD))
    yield _Tensor(f"{prefix}.attn_k.weight", (n_kv, N_EMBD))
    yield _Tensor(f"{prefix}.attn_v.weight", (n_kv, N_EMBD))
    yield _Tensor(f"{prefix}.attn_output.weight", (N_EMBD, n_query))


def _qk_norm(layer: int) -> Iterator[_Tensor]:
    yield _Tensor(f"blk.{layer}.attn_q_norm.weight", (HEAD_SIZE,), _Fill.NORM)
    yield _Tensor(f"blk.{layer}.attn_k_norm.weight", (HEAD_SIZE,), _Fill.NORM)


def _norm(layer: int, name: str, size: int = N_EMBD) -> _Tensor:
    return _Tensor(f"blk.{layer}.{name}.weight", (size,), _Fill.NORM)


def _feed_forward(layer: int) -> Iterator[_Tensor]:
    yield _norm(layer, "ffn_norm")
    yield _Tensor(f"blk.{layer}.ffn_gate.weight", (N_FF, N_EMBD))
    yield _Tensor(f"blk.{layer}.ffn_up.weight", (N_FF, N_EMBD))
    yield _Tensor(f"blk.{layer}.ffn_down.weight", (N_EMBD, N_FF))


def _experts(layer: int, n_ff: int) -> Iterator[_Tensor]:
    yield _Tensor(f"blk.{layer}.ffn_gate_inp.weight", (N_EXPERT, N_EMBD))
    yield _Tensor(f"blk.{layer}.ffn_gate_exps.weight", (N_EXPERT, n_ff, N_EMBD))
    yield _Tensor(f"blk.{layer}.ffn_up_exps.weight", (N_EXPERT, n_ff, N_EMBD))
    yield _Tensor(f"blk.{layer}.ffn_down_exps.weight", (N_EXPERT, N_EMBD, n_ff))


def _attention_plan(
    architecture: str,
    n_layers: int,
    *,
    has_experts: bool = False,
    has_qk_norm: bool = False,
    is_gemma: bool = False,
) -> _Plan:
    keys = _attention_keys()
    if has_experts:
        keys |= {"expert_count": N_EXPERT, "expert_used_count": N_EXPERT_USED}
    if is_gemma:
        keys |= {
            "attention.sliding_window": SLIDING_WINDOW,
            "attention.sliding_window_pattern": 2,
            "rope.freq_base": 1e6,
        }
    tensors = list(_decoder_ends(TINY_SPM))
    for layer in range(n_layers):
        tensors += [_norm(layer, "attn_norm"), *_attention(layer)]
        if has_qk_norm:
            tensors += _qk_norm(layer)
        if has_experts:
            tensors += [_norm(layer, "ffn_norm"), *_experts(layer, N_FF // 2)]
        else:
            tensors += _feed_forward(layer)
        if is_gemma:
            tensors += [_norm(layer, "post_attention_norm"), _norm(layer, "post_ffw_norm")]
    if has_experts:
        keys["feed_forward_length"] = N_FF // 2
    return _Plan(architecture, TINY_SPM, n_layers, keys, tuple(tensors))


def _mamba_keys() -> dict[str, _Value]:
    return {
        "embedding_length": N_EMBD,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "ssm.conv_kernel": CONV_SIZE,
        "ssm.inner_size": 2 * N_EMBD,
        "ssm.state_size": STATE_SIZE,
        "ssm.time_step_rank": N_EMBD // 16,
    }


def _mamba_block(layer: int) -> Iterator[_Tensor]:
    prefix = f"blk.{layer}"
    n_inner = 2 * N_EMBD
    n_step = N_EMBD // 16
    yield _Tensor(f"{prefix}.ssm_in.weight", (2 * n_inner, N_EMBD))
    yield _Tensor(f"{prefix}.ssm_conv1d.weight", (n_inner, CONV_SIZE))
    yield _Tensor(f"{prefix}.ssm_conv1d.bias", (n_inner,), _Fill.BIAS)
    yield _Tensor(f"{prefix}.ssm_x.weight", (n_step + 2 * STATE_SIZE, n_inner))
    yield _Tensor(f"{prefix}.ssm_dt.weight", (n_inner, n_step))
    yield _Tensor(f"{prefix}.ssm_dt.bias", (n_inner,), _Fill.BIAS)
    yield _Tensor(f"{prefix}.ssm_a", (n_inner, STATE_SIZE), _Fill.DECAY)
    yield _Tensor(f"{prefix}.ssm_d", (n_inner,), _Fill.NORM)
    yield _Tensor(f"{prefix}.ssm_out.weight", (N_EMBD, n_inner))


def _mamba_plan(n_layers: int) -> _Plan:
    keys = _mamba_keys() | {"feed_forward_length": 0, "attention.head_count": 0}
    tensors = list(_decoder_ends(TINY_SPM))
    for layer in range(n_layers):
        tensors += [_norm(layer, "attn_norm"), *_mamba_block(layer)]
    return _Plan("mamba", TINY_SPM, n_layers, keys, tuple(tensors))


def _jamba_plan(n_layers: int) -> _Plan:
    # 0 KV heads is how the format marks a Mamba layer; every second layer attends.
    kv_heads = [N_HEAD_KV if layer % 2 else 0 for layer in range(n_layers)]
    head_size = N_EMBD // N_HEAD
    keys = _mamba_keys() | {
        "feed_forward_length": N_FF,
        "attention.head_count": N_HEAD,
        "attention.head_count_kv": kv_heads,
    }
    tensors = list(_decoder_ends(TINY_SPM))
    for layer, n_kv_heads in enumerate(kv_heads):
        tensors.append(_norm(layer, "attn_norm"))
        if n_kv_heads:
            tensors += _attention(layer, head_size=head_size)
        else:
            tensors += _mamba_block(layer)
            tensors.append(_norm(layer, "ssm_dt_norm", N_EMBD // 16))
            tensors.append(_norm(layer, "ssm_b_norm", STATE_SIZE))
            tensors.append(_norm(layer, "ssm_c_norm", STATE_SIZE))
        tensors += _feed_forward(layer)
    return _Plan("jamba", TINY_SPM, n_layers, keys, tuple(tensors))


def _delta_net_block(layer: int) -> Iterator[_Tensor]:
    prefix = f"blk.{layer}"
    n_key = DELTA_K_HEADS * DELTA_STATE_SIZE
    n_value = DELTA_V_HEADS * DELTA_STATE_SIZE
    yield _Tensor(f"{prefix}.attn_qkv.weight", (2 * n_key + n_value, N_EMBD))
    yield _Tensor(f"{prefix}.attn_gate.weight", (n_value, N_EMBD))
    yield _Tensor(f"{prefix}.ssm_conv1d.weight", (2 * n_key + n_value, CONV_SIZE))
    yield _Tensor(f"{prefix}.ssm_dt.bias", (DELTA_V_HEADS,), _Fill.BIAS)
    yield _Tensor(f"{prefix}.ssm_a", (DELTA_V_HEADS,), _Fill.DECAY)
    yield _Tensor(f"{prefix}.ssm_ba.weight", (2 * DELTA_V_HEADS, N_EMBD))
    yield _Tensor(f"{prefix}.ssm_norm.weight", (DELTA_STATE_SIZE,), _Fill.NORM)
    yield _Tensor(f"{prefix}.ssm_out.weight", (N_EMBD, n_value))


def _qwen3next_plan(n_layers: int) -> _Plan:
    n_ff = N_FF // 4
    keys = _attention_keys() | {
        "full_attention_interval": 2,
        "ssm.conv_kernel": CONV_SIZE,
        "ssm.inner_size": DELTA_V_HEADS * DELTA_STATE_SIZE,
        "ssm.state_size": DELTA_STATE_SIZE,
        "ssm.time_step_rank": DELTA_V_HEADS,
        "ssm.group_count": DELTA_K_HEADS,
        "expert_count": N_EXPERT,
        "expert_used_count": N_EXPERT_USED,
        "expert_feed_forward_length": n_ff,
        "expert_shared_feed_forward_length": n_ff,
    }
    tensors = list(_decoder_ends(TINY_SPM))
    for layer in range(n_layers):
        tensors += [_norm(layer, "attn_norm"), _norm(layer, "post_attention_norm")]
        if layer % 2:
            tensors += [*_attention(layer, has_gate=True), *_qk_norm(layer)]
        else:
            tensors += _delta_net_block(layer)
        tensors += _experts(layer, n_ff)
        tensors += [
            _Tensor(f"blk.{layer}.ffn_gate_inp_shexp.weight", (N_EMBD,), _Fill.BIAS),
            _Tensor(f"blk.{layer}.ffn_gate_shexp.weight", (n_ff, N_EMBD)),
            _Tensor(f"blk.{layer}.ffn_up_shexp.weight", (n_ff, N_EMBD)),
            _Tensor(f"blk.{layer}.ffn_down_shexp.weight", (N_EMBD, n_ff)),
        ]
    return _Plan("qwen3next", TINY_SPM, n_layers, keys, tuple(tensors))


def _bert_layer(layer: int) -> Iterator[_Tensor]:
    prefix = f"blk.{layer}"
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        yield _Tensor(f"{prefix}.{name}.weight", (N_EMBD, N_EMBD))
        yield _Tensor(f"{prefix}.{name}.bias", (N_EMBD,), _Fill.BIAS)
    yield _Tensor(f"{prefix}.ffn_up.weight", (N_FF, N_EMBD))
    yield _Tensor(f"{prefix}.ffn_up.bias", (N_FF,), _Fill.BIAS)
    yield _Tensor(f"{prefix}.ffn_down.weight", (N_EMBD, N_FF))
    yield _Tensor(f"{prefix}.ffn_down.bias", (N_EMBD,), _Fill.BIAS)
    for name in ("attn_output_norm", "layer_output_norm"):
        yield _norm(layer, name)
        yield _Tensor(f"{prefix}.{name}.bias", (N_EMBD,), _Fill.BIAS)


def _bert_plan(n_layers: int, n_ctx_train: int, pooling: gguf.PoolingType) -> _Plan:
    keys: dict[str, _Value] = {
        "embedding_length": N_EMBD,
        "feed_forward_length": N_FF,
        "attention.head_count": N_HEAD,
        "attention.layer_norm_epsilon": 1e-12,
        "attention.causal": False,
        "pooling_type": int(pooling),
    }
    tensors = [
        _Tensor("token_embd.weight", (len(TINY_WPM.texts), N_EMBD), _Fill.EMBEDDING),
        _Tensor("token_types.weight", (2, N_EMBD), _Fill.BIAS),
        _Tensor("position_embd.weight", (n_ctx_train, N_EMBD), _Fill.BIAS),
        _Tensor("token_embd_norm.weight", (N_EMBD,), _Fill.NORM),
        _Tensor("token_embd_norm.bias", (N_EMBD,), _Fill.BIAS),
    ]
    for layer in range(n_layers):
        tensors += _bert_layer(layer)
    if pooling == gguf.PoolingType.RANK:
        keys["classifier.output_labels"] = ["score"]
        tensors += [
            _Tensor("cls.weight", (N_EMBD, N_EMBD)),
            _Tensor("cls.bias", (N_EMBD,), _Fill.BIAS),
            _Tensor("cls.output.weight", (1, N_EMBD)),
            _Tensor("cls.output.bias", (1,), _Fill.BIAS),
        ]
    return _Plan("bert", TINY_WPM, n_layers, keys, tuple(tensors))
