"""Tiny random-weight GGUF models, one for each kind of memory that llama.cpp has.

The weights are noise, but a fixed noise: the same call writes the same bytes. They are large
enough that the next token depends on the whole context, so a wrong reuse of a KV cache or of a
recurrent state changes the output. Tensor names and shapes are those that the pinned llama.cpp
asks for in src/models/*.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.support.arch_encoders import bert_plan, t5_plan
from tests.support.arch_parts import TINY, Fill, Plan, Sizes, Tensor, Value, feed_forward, norm
from tests.support.tiny_vocab import TINY_SPM, TinyVocab

N_CTX_TRAIN = 2048


class TinyArch(StrEnum):
    """A model that this module can write, named by what it puts to the test."""

    LLAMA = "llama"
    """Grouped-query attention; rewinds, and takes LoRA adapters."""
    LLAMA_MOE = "llama-moe"
    """Mixtral's shape: experts."""
    QWEN3 = "qwen3"
    """Attention with normed queries and keys."""
    QWEN2 = "qwen2"
    """Attention with biases on queries, keys and values."""
    QWEN2VL = "qwen2vl"
    """Qwen2 with M-RoPE: a position has parts for time, height and width."""
    QWEN3_MOE = "qwen3moe"
    """Normed queries and keys, and experts."""
    GEMMA2 = "gemma2"
    """Norms after each part too; every second layer sees a sliding window."""
    GEMMA3 = "gemma3"
    """Every second layer sees a sliding window of SLIDING_WINDOW tokens."""
    GEMMA4 = "gemma4"
    """The second half of its layers reads the KV cache of the first; each layer has an input of its
    own; heads are longer in layers without a sliding window."""
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
    T5 = "t5"
    """An encoder reads the prompt, a decoder answers."""


GENERATING_ARCHS = (
    TinyArch.LLAMA,
    TinyArch.LLAMA_MOE,
    TinyArch.QWEN3,
    TinyArch.QWEN2,
    TinyArch.QWEN2VL,
    TinyArch.QWEN3_MOE,
    TinyArch.GEMMA2,
    TinyArch.GEMMA3,
    TinyArch.GEMMA4,
    TinyArch.MAMBA,
    TinyArch.JAMBA,
    TinyArch.QWEN3NEXT,
)
RECURRENT_ARCHS = (TinyArch.MAMBA, TinyArch.JAMBA, TinyArch.QWEN3NEXT)
"""Their memory holds a state that cannot go back to an earlier token."""


def write_arch_model(
    arch: TinyArch,
    path: Path,
    *,
    seed: int = 1,
    n_layers: int | None = None,
    chat_template: str | Sequence[Mapping[str, str]] | None = None,
    n_ctx_train: int = N_CTX_TRAIN,
    sizes: Sizes = TINY,
    vocab: TinyVocab | None = None,
    has_output: bool = True,
    is_half: bool = False,
) -> Path:
    """Write one tiny model and return its path.

    Args:
        arch: Which shape to write.
        path: The new file; its folder must exist.
        seed: Of the weights; two models with different seeds answer differently.
        n_layers: None = the shape's own count. A count of 1 makes a draft model for LLAMA.
        chat_template: Jinja source, or several as {"name": …, "template": …}; None = the file has
            none.
        n_ctx_train: Context the file says that it was trained with.
        sizes: Widths and counts; larger ones where a figure must mean something.
        vocab: As many tokens as the shape's own, with something wrong; None = the shape's own.
        has_output: False = the embeddings are the output as well.
        is_half: Matrices are F16 and not F32.
    """
    plan = _plan(sizes, arch, n_layers, n_ctx_train)
    writer = gguf.GGUFWriter(path, plan.architecture)
    writer.add_name(f"tiny {arch.value} {seed}")
    file_types = gguf.LlamaFileType
    writer.add_file_type(file_types.MOSTLY_F16 if is_half else file_types.ALL_F32)
    writer.add_context_length(n_ctx_train)
    writer.add_block_count(plan.n_layers)
    for key, value in plan.keys.items():
        _add_key(writer, f"{plan.architecture}.{key}", value)
    (vocab or plan.vocab).write(writer)
    if plan.vocab.model == "bert":
        writer.add_token_type_count(2)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    random = np.random.default_rng(seed)
    for tensor in plan.tensors:
        if tensor.name == "output.weight" and not has_output:
            continue
        values = _values(tensor, random)
        is_matrix = tensor.fill in (Fill.MATRIX, Fill.EMBEDDING)
        writer.add_tensor(
            tensor.name, values.astype(np.float16) if is_half and is_matrix else values
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_key(writer: gguf.GGUFWriter, key: str, value: Value) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_array(key, list(value))


def _values(tensor: Tensor, random: np.random.Generator) -> NDArray[np.float32]:
    noise = random.standard_normal(tensor.shape, dtype=np.float32)
    match tensor.fill:
        case Fill.MATRIX:
            # 1.5 over the usual 1/sqrt(inputs): the layers then outweigh the first embedding.
            return noise * np.float32(1.5 / math.sqrt(tensor.shape[-1]))
        case Fill.EMBEDDING:
            return noise
        case Fill.NORM:
            return np.float32(1.0) + np.float32(0.1) * noise
        case Fill.BIAS:
            return np.float32(0.1) * noise
        case Fill.DECAY:
            # Negative, so that a state fades, but so slowly that the first token still matters.
            return np.float32(-0.02) * np.exp(noise)


def _plan(s: Sizes, arch: TinyArch, n_layers: int | None, n_ctx_train: int) -> Plan:
    match arch:
        case TinyArch.GEMMA4:
            return _gemma4_plan(s, n_layers or 4)
        case TinyArch.MAMBA:
            return _mamba_plan(s, n_layers or 3)
        case TinyArch.JAMBA:
            return _jamba_plan(s, n_layers or 4)
        case TinyArch.QWEN3NEXT:
            return _qwen3next_plan(s, n_layers or 4)
        case TinyArch.BERT:
            return bert_plan(s, n_layers or 2, n_ctx_train, gguf.PoolingType.MEAN)
        case TinyArch.RERANKER:
            return bert_plan(s, n_layers or 2, n_ctx_train, gguf.PoolingType.RANK)
        case TinyArch.T5:
            return t5_plan(s, n_layers or 2)
        case _:
            return _transformer_plan(s, arch, n_layers)


def _transformer_plan(s: Sizes, arch: TinyArch, n_layers: int | None) -> Plan:
    match arch:
        case TinyArch.LLAMA_MOE:
            return _attention_plan(s, "llama", n_layers or 2, has_experts=True)
        case TinyArch.QWEN3:
            return _attention_plan(s, "qwen3", n_layers or 3, has_qk_norm=True)
        case TinyArch.QWEN2 | TinyArch.QWEN2VL:
            # Its heads together are as wide as the model.
            n_head = s.n_embd // s.head_size
            wide = replace(s, n_head=n_head, n_head_kv=max(1, n_head // 2))
            plan = _attention_plan(wide, arch.value, n_layers or 3, has_bias=True)
            if arch is TinyArch.QWEN2VL:
                # Pairs of a head's numbers that turn with time, height and width.
                pairs = s.head_size // 2
                sections = (pairs // 4, pairs * 3 // 8, pairs * 3 // 8, 0)
                return replace(plan, keys=plan.keys | {"rope.dimension_sections": sections})
            return plan
        case TinyArch.QWEN3_MOE:
            return _attention_plan(s, "qwen3moe", n_layers or 2, has_experts=True, has_qk_norm=True)
        case TinyArch.GEMMA2:
            plan = _attention_plan(s, "gemma2", n_layers or 4, is_gemma=True)
            # Its output matrix is its token embeddings.
            tensors = tuple(t for t in plan.tensors if t.name != "output.weight")
            return replace(plan, tensors=tensors)
        case TinyArch.GEMMA3:
            return _attention_plan(s, "gemma3", n_layers or 4, has_qk_norm=True, is_gemma=True)
        case _:
            return _attention_plan(s, "llama", n_layers or 3)


def _decoder_ends(s: Sizes) -> tuple[Tensor, ...]:
    n_vocab = len(s.vocab(TINY_SPM).texts)
    return (
        Tensor("token_embd.weight", (n_vocab, s.n_embd), Fill.EMBEDDING),
        Tensor("output_norm.weight", (s.n_embd,), Fill.NORM),
        Tensor("output.weight", (n_vocab, s.n_embd)),
    )


def _attention_keys(s: Sizes) -> dict[str, Value]:
    return {
        "embedding_length": s.n_embd,
        "feed_forward_length": s.n_ff,
        "attention.head_count": s.n_head,
        "attention.head_count_kv": s.n_head_kv,
        "attention.key_length": s.head_size,
        "attention.value_length": s.head_size,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": s.head_size,
    }


def _attention(
    s: Sizes, layer: int, *, head_size: int = 0, has_gate: bool = False
) -> Iterator[Tensor]:
    """Yield one layer's four projections; with `has_gate` the queries carry an output gate."""
    prefix = f"blk.{layer}"
    head_size = head_size or s.head_size
    n_query = s.n_head * head_size
    n_kv = s.n_head_kv * head_size
    yield Tensor(f"{prefix}.attn_q.weight", (n_query * (2 if has_gate else 1), s.n_embd))
    yield Tensor(f"{prefix}.attn_k.weight", (n_kv, s.n_embd))
    yield Tensor(f"{prefix}.attn_v.weight", (n_kv, s.n_embd))
    yield Tensor(f"{prefix}.attn_output.weight", (s.n_embd, n_query))


def _attention_bias(s: Sizes, layer: int) -> Iterator[Tensor]:
    sizes = {"q": s.n_head, "k": s.n_head_kv, "v": s.n_head_kv}
    for name, n_heads in sizes.items():
        yield Tensor(f"blk.{layer}.attn_{name}.bias", (n_heads * s.head_size,), Fill.BIAS)


def _qk_norm(s: Sizes, layer: int) -> Iterator[Tensor]:
    yield Tensor(f"blk.{layer}.attn_q_norm.weight", (s.head_size,), Fill.NORM)
    yield Tensor(f"blk.{layer}.attn_k_norm.weight", (s.head_size,), Fill.NORM)


def _experts(s: Sizes, layer: int, n_ff: int) -> Iterator[Tensor]:
    yield Tensor(f"blk.{layer}.ffn_gate_inp.weight", (s.n_expert, s.n_embd))
    yield Tensor(f"blk.{layer}.ffn_gate_exps.weight", (s.n_expert, n_ff, s.n_embd))
    yield Tensor(f"blk.{layer}.ffn_up_exps.weight", (s.n_expert, n_ff, s.n_embd))
    yield Tensor(f"blk.{layer}.ffn_down_exps.weight", (s.n_expert, s.n_embd, n_ff))


def _attention_plan(
    s: Sizes,
    architecture: str,
    n_layers: int,
    *,
    has_experts: bool = False,
    has_qk_norm: bool = False,
    has_bias: bool = False,
    is_gemma: bool = False,
) -> Plan:
    keys = _attention_keys(s)
    if has_experts:
        keys |= {"expert_count": s.n_expert, "expert_used_count": s.n_expert_used}
    if is_gemma:
        keys |= {
            "attention.sliding_window": s.sliding_window,
            "attention.sliding_window_pattern": 2,
            "rope.freq_base": 1e6,
        }
    tensors = list(_decoder_ends(s))
    for layer in range(n_layers):
        tensors += [norm(s, layer, "attn_norm"), *_attention(s, layer)]
        if has_qk_norm:
            tensors += _qk_norm(s, layer)
        if has_bias:
            tensors += _attention_bias(s, layer)
        if has_experts:
            tensors += [norm(s, layer, "ffn_norm"), *_experts(s, layer, s.n_ff // 2)]
        else:
            tensors += feed_forward(s, layer)
        if is_gemma:
            tensors += [norm(s, layer, "post_attention_norm"), norm(s, layer, "post_ffw_norm")]
    if has_experts:
        keys["feed_forward_length"] = s.n_ff // 2
        keys["expert_feed_forward_length"] = s.n_ff // 2
    return Plan(architecture, s.vocab(TINY_SPM), n_layers, keys, tuple(tensors))


def _gemma4_plan(s: Sizes, n_layers: int) -> Plan:
    """Every second layer has a sliding window; the last half has no KV cache of its own.

    Its output matrix is its token embeddings.
    """
    full, n_caching = 3 * s.head_size, n_layers - n_layers // 2
    plan = _attention_plan(s, "gemma4", n_layers, has_qk_norm=True, is_gemma=True)
    keys = plan.keys | {
        "attention.sliding_window_pattern": [layer % 2 == 0 for layer in range(n_layers)],
        "attention.shared_kv_layers": n_layers - n_caching,
        "attention.key_length": full,
        "attention.value_length": full,
        "attention.key_length_swa": s.head_size,
        "attention.value_length_swa": s.head_size,
        "rope.dimension_count": full,
        "rope.dimension_count_swa": s.head_size,
        "embedding_length_per_layer_input": s.layer_input_size,
    }
    n_inputs, n_vocab = s.layer_input_size * n_layers, len(s.vocab(TINY_SPM).texts)
    tensors = [
        *(tensor for tensor in plan.tensors if not tensor.name.startswith(("blk.", "output."))),
        Tensor("rope_freqs.weight", (full // 2,), Fill.NORM),
        Tensor("per_layer_token_embd.weight", (n_vocab, n_inputs), Fill.EMBEDDING),
        Tensor("per_layer_model_proj.weight", (n_inputs, s.n_embd)),
        Tensor("per_layer_proj_norm.weight", (s.layer_input_size,), Fill.NORM),
    ]
    for layer in range(n_layers):
        tensors += _gemma4_layer(
            s, layer, s.head_size if layer % 2 == 0 else full, layer < n_caching
        )
    return Plan("gemma4", s.vocab(TINY_SPM), n_layers, keys, tuple(tensors))


def _gemma4_layer(s: Sizes, layer: int, head_size: int, has_kv: bool) -> Iterator[Tensor]:
    wide = replace(s, head_size=head_size)
    for tensor in [*_attention(wide, layer), *_qk_norm(wide, layer)]:
        if has_kv or not tensor.name.startswith((f"blk.{layer}.attn_k", f"blk.{layer}.attn_v")):
            yield tensor
    yield norm(s, layer, "attn_norm")
    yield from feed_forward(s, layer)
    yield Tensor(f"blk.{layer}.inp_gate.weight", (s.layer_input_size, s.n_embd))
    yield Tensor(f"blk.{layer}.proj.weight", (s.n_embd, s.layer_input_size))
    for name in ("post_attention_norm", "post_ffw_norm", "post_norm"):
        yield norm(s, layer, name)


def _mamba_keys(s: Sizes) -> dict[str, Value]:
    return {
        "embedding_length": s.n_embd,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "ssm.conv_kernel": s.conv_size,
        "ssm.inner_size": 2 * s.n_embd,
        "ssm.state_size": s.state_size,
        "ssm.time_step_rank": s.n_embd // 16,
    }


def _mamba_block(s: Sizes, layer: int) -> Iterator[Tensor]:
    prefix = f"blk.{layer}"
    n_inner = 2 * s.n_embd
    n_step = s.n_embd // 16
    yield Tensor(f"{prefix}.ssm_in.weight", (2 * n_inner, s.n_embd))
    yield Tensor(f"{prefix}.ssm_conv1d.weight", (n_inner, s.conv_size))
    yield Tensor(f"{prefix}.ssm_conv1d.bias", (n_inner,), Fill.BIAS)
    yield Tensor(f"{prefix}.ssm_x.weight", (n_step + 2 * s.state_size, n_inner))
    yield Tensor(f"{prefix}.ssm_dt.weight", (n_inner, n_step))
    yield Tensor(f"{prefix}.ssm_dt.bias", (n_inner,), Fill.BIAS)
    yield Tensor(f"{prefix}.ssm_a", (n_inner, s.state_size), Fill.DECAY)
    yield Tensor(f"{prefix}.ssm_d", (n_inner,), Fill.NORM)
    yield Tensor(f"{prefix}.ssm_out.weight", (s.n_embd, n_inner))


def _mamba_plan(s: Sizes, n_layers: int) -> Plan:
    keys = _mamba_keys(s) | {"feed_forward_length": 0, "attention.head_count": 0}
    tensors = list(_decoder_ends(s))
    for layer in range(n_layers):
        tensors += [norm(s, layer, "attn_norm"), *_mamba_block(s, layer)]
    return Plan("mamba", s.vocab(TINY_SPM), n_layers, keys, tuple(tensors))


def _jamba_plan(s: Sizes, n_layers: int) -> Plan:
    # 0 KV heads is how the format marks a Mamba layer; every second layer attends.
    kv_heads = [s.n_head_kv if layer % 2 else 0 for layer in range(n_layers)]
    head_size = s.n_embd // s.n_head
    keys = _mamba_keys(s) | {
        "feed_forward_length": s.n_ff,
        "attention.head_count": s.n_head,
        "attention.head_count_kv": kv_heads,
    }
    tensors = list(_decoder_ends(s))
    for layer, n_kv_heads in enumerate(kv_heads):
        tensors.append(norm(s, layer, "attn_norm"))
        if n_kv_heads:
            tensors += _attention(s, layer, head_size=head_size)
        else:
            tensors += _mamba_block(s, layer)
            tensors.append(norm(s, layer, "ssm_dt_norm", s.n_embd // 16))
            tensors.append(norm(s, layer, "ssm_b_norm", s.state_size))
            tensors.append(norm(s, layer, "ssm_c_norm", s.state_size))
        tensors += feed_forward(s, layer)
    return Plan("jamba", s.vocab(TINY_SPM), n_layers, keys, tuple(tensors))


def _delta_net_block(s: Sizes, layer: int) -> Iterator[Tensor]:
    prefix = f"blk.{layer}"
    n_key = s.delta_k_heads * s.delta_state_size
    n_value = s.delta_v_heads * s.delta_state_size
    yield Tensor(f"{prefix}.attn_qkv.weight", (2 * n_key + n_value, s.n_embd))
    yield Tensor(f"{prefix}.attn_gate.weight", (n_value, s.n_embd))
    yield Tensor(f"{prefix}.ssm_conv1d.weight", (2 * n_key + n_value, s.conv_size))
    yield Tensor(f"{prefix}.ssm_dt.bias", (s.delta_v_heads,), Fill.BIAS)
    yield Tensor(f"{prefix}.ssm_a", (s.delta_v_heads,), Fill.DECAY)
    yield Tensor(f"{prefix}.ssm_ba.weight", (2 * s.delta_v_heads, s.n_embd))
    yield Tensor(f"{prefix}.ssm_norm.weight", (s.delta_state_size,), Fill.NORM)
    yield Tensor(f"{prefix}.ssm_out.weight", (s.n_embd, n_value))


def _qwen3next_plan(s: Sizes, n_layers: int) -> Plan:
    n_ff = s.n_ff // 4
    keys = _attention_keys(s) | {
        "full_attention_interval": 2,
        "ssm.conv_kernel": s.conv_size,
        "ssm.inner_size": s.delta_v_heads * s.delta_state_size,
        "ssm.state_size": s.delta_state_size,
        "ssm.time_step_rank": s.delta_v_heads,
        "ssm.group_count": s.delta_k_heads,
        "expert_count": s.n_expert,
        "expert_used_count": s.n_expert_used,
        "expert_feed_forward_length": n_ff,
        "expert_shared_feed_forward_length": n_ff,
    }
    tensors = list(_decoder_ends(s))
    for layer in range(n_layers):
        tensors += [norm(s, layer, "attn_norm"), norm(s, layer, "post_attention_norm")]
        if layer % 2:
            tensors += [*_attention(s, layer, has_gate=True), *_qk_norm(s, layer)]
        else:
            tensors += _delta_net_block(s, layer)
        tensors += _experts(s, layer, n_ff)
        tensors += [
            Tensor(f"blk.{layer}.ffn_gate_inp_shexp.weight", (s.n_embd,), Fill.BIAS),
            Tensor(f"blk.{layer}.ffn_gate_shexp.weight", (n_ff, s.n_embd)),
            Tensor(f"blk.{layer}.ffn_up_shexp.weight", (n_ff, s.n_embd)),
            Tensor(f"blk.{layer}.ffn_down_shexp.weight", (s.n_embd, n_ff)),
        ]
    return Plan("qwen3next", s.vocab(TINY_SPM), n_layers, keys, tuple(tensors))
