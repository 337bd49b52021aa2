"""Tiny models with an encoder: BERT, which makes embeddings, and T5, which answers from them."""

from __future__ import annotations

from collections.abc import Iterator

import gguf

from tests.support.arch_parts import Fill, Plan, Sizes, Tensor, Value, feed_forward, norm
from tests.support.tiny_vocab import TINY_UGM, TINY_WPM

N_BUCKETS = 8
"""Of T5's distances between tokens; far ones share a bucket."""


def _bert_layer(s: Sizes, layer: int) -> Iterator[Tensor]:
    prefix = f"blk.{layer}"
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        yield Tensor(f"{prefix}.{name}.weight", (s.n_embd, s.n_embd))
        yield Tensor(f"{prefix}.{name}.bias", (s.n_embd,), Fill.BIAS)
    yield Tensor(f"{prefix}.ffn_up.weight", (s.n_ff, s.n_embd))
    yield Tensor(f"{prefix}.ffn_up.bias", (s.n_ff,), Fill.BIAS)
    yield Tensor(f"{prefix}.ffn_down.weight", (s.n_embd, s.n_ff))
    yield Tensor(f"{prefix}.ffn_down.bias", (s.n_embd,), Fill.BIAS)
    for name in ("attn_output_norm", "layer_output_norm"):
        yield norm(s, layer, name)
        yield Tensor(f"{prefix}.{name}.bias", (s.n_embd,), Fill.BIAS)


def bert_plan(s: Sizes, n_layers: int, n_ctx_train: int, pooling: gguf.PoolingType) -> Plan:
    """Plan a BERT; with the pooling RANK it has a head that scores pairs."""
    keys: dict[str, Value] = {
        "embedding_length": s.n_embd,
        "feed_forward_length": s.n_ff,
        "attention.head_count": s.n_head,
        "attention.layer_norm_epsilon": 1e-12,
        "attention.causal": False,
        "pooling_type": int(pooling),
    }
    tensors = [
        Tensor("token_embd.weight", (len(s.vocab(TINY_WPM).texts), s.n_embd), Fill.EMBEDDING),
        Tensor("token_types.weight", (2, s.n_embd), Fill.BIAS),
        Tensor("position_embd.weight", (n_ctx_train, s.n_embd), Fill.BIAS),
        Tensor("token_embd_norm.weight", (s.n_embd,), Fill.NORM),
        Tensor("token_embd_norm.bias", (s.n_embd,), Fill.BIAS),
    ]
    for layer in range(n_layers):
        tensors += _bert_layer(s, layer)
    if pooling == gguf.PoolingType.RANK:
        keys["classifier.output_labels"] = ["score"]
        tensors += [
            Tensor("cls.weight", (s.n_embd, s.n_embd)),
            Tensor("cls.bias", (s.n_embd,), Fill.BIAS),
            Tensor("cls.output.weight", (1, s.n_embd)),
            Tensor("cls.output.bias", (1,), Fill.BIAS),
        ]
    return Plan("bert", s.vocab(TINY_WPM), n_layers, keys, tuple(tensors))


def t5_plan(s: Sizes, n_layers: int) -> Plan:
    """Plan a T5 with the gated feed-forward network and the own output matrix of Flan-T5."""
    keys: dict[str, Value] = {
        "embedding_length": s.n_embd,
        "feed_forward_length": s.n_ff,
        "decoder_block_count": n_layers,
        "attention.head_count": s.n_head,
        "attention.key_length": s.head_size,
        "attention.value_length": s.head_size,
        "attention.layer_norm_epsilon": 1e-6,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.relative_buckets_count": N_BUCKETS,
        "decoder_start_token_id": TINY_UGM.id_of("<pad>"),
    }
    n_vocab = len(s.vocab(TINY_UGM).texts)
    tensors = [
        Tensor("token_embd.weight", (n_vocab, s.n_embd), Fill.EMBEDDING),
        Tensor("enc.output_norm.weight", (s.n_embd,), Fill.NORM),
        Tensor("dec.output_norm.weight", (s.n_embd,), Fill.NORM),
        Tensor("output.weight", (n_vocab, s.n_embd)),
    ]
    for part in ("enc.", "dec."):
        # The first layer's bias by distance is that of all.
        tensors.append(Tensor(f"{part}blk.0.attn_rel_b.weight", (N_BUCKETS, s.n_head), Fill.BIAS))
        for layer in range(n_layers):
            tensors += _t5_attention(s, layer, part, "attn")
            if part == "dec.":
                tensors += _t5_attention(s, layer, part, "cross_attn")
            tensors += feed_forward(s, layer, part)
    return Plan("t5", s.vocab(TINY_UGM), n_layers, keys, tuple(tensors))


def _t5_attention(s: Sizes, layer: int, part: str, kind: str) -> Iterator[Tensor]:
    n_values = s.n_head * s.head_size
    yield norm(s, layer, f"{kind}_norm", part=part)
    for name in ("q", "k", "v"):
        yield Tensor(f"{part}blk.{layer}.{kind}_{name}.weight", (n_values, s.n_embd))
    yield Tensor(f"{part}blk.{layer}.{kind}_o.weight", (s.n_embd, n_values))
