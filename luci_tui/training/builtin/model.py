"""The model's shape, its batches, and greedy decoding in PyTorch."""

from random import Random

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from luci_tui.training.builtin.tokenizer import Codec

N_CTX = 512
_IGNORED = -100


def build_model(n_vocab: int, *, hidden: int = 256, n_layers: int = 6) -> LlamaForCausalLM:
    """Give an untrained Llama model with tied embeddings (5.6 M parameters at the defaults)."""
    config = LlamaConfig(
        vocab_size=n_vocab,
        hidden_size=hidden,
        intermediate_size=hidden * 3,
        num_hidden_layers=n_layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        max_position_embeddings=N_CTX,
        rms_norm_eps=1e-5,
        rope_theta=10_000.0,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        attention_dropout=0.0,
        initializer_range=0.03,
        attn_implementation="eager",  # a fifth faster than the flash kernel on short rows
    )
    return LlamaForCausalLM(config)


def make_batches(
    pairs: list[tuple[list[int], list[int]]], *, tokens_per_batch: int, rng: Random
) -> list[list[tuple[list[int], list[int]]]]:
    """Group pairs of (prompt, answer) of equal total length, in random order.

    Pairs whose length has no partner are merged with the next shorter ones and padded.
    """
    by_length = sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
    batches: list[list[tuple[list[int], list[int]]]] = []
    current: list[tuple[list[int], list[int]]] = []
    for pair in by_length:
        longest = len(pair[0]) + len(pair[1])
        if current and longest * (len(current) + 1) > tokens_per_batch:
            batches.append(current)
            current = []
        current.append(pair)
    if current:
        batches.append(current)
    rng.shuffle(batches)
    return batches


def to_tensors(batch: list[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Give ids and labels, shape (n_pairs, n_tokens); labels cover the answers only.

    Short rows are padded at the end: attention is causal and the labels ignore the padding.
    """
    longest = max(len(prompt) + len(answer) for prompt, answer in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    labels = torch.full((len(batch), longest), _IGNORED, dtype=torch.long)
    for row, (prompt, answer) in enumerate(batch):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
    return ids, labels


@torch.inference_mode()
def answer_all(
    model: LlamaForCausalLM, codec: Codec, requests: list[str], *, max_tokens: int = 96
) -> list[str]:
    """Give the greedy answer to each request; requests of equal length share a batch."""
    by_length: dict[int, list[int]] = {}
    prompts = [codec.prompt(request) for request in requests]
    for index, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(index)
    answers = [""] * len(requests)
    for indices in by_length.values():
        for answer, index in zip(
            _decode_batch(model, codec, [prompts[i] for i in indices], max_tokens),
            indices,
            strict=True,
        ):
            answers[index] = answer
    return answers


def _decode_batch(
    model: LlamaForCausalLM, codec: Codec, prompts: list[list[int]], max_tokens: int
) -> list[str]:
    ids = torch.tensor(prompts)
    out = model(input_ids=ids, use_cache=True)
    tokens: list[list[int]] = [[] for _ in prompts]
    done = torch.zeros(len(prompts), dtype=torch.bool)
    for _ in range(max_tokens):
        chosen = out.logits[:, -1].argmax(-1)
        done |= chosen == codec.eos
        for row, token in enumerate(chosen.tolist()):
            if not done[row]:
                tokens[row].append(token)
        if bool(done.all()):
            break
        out = model(input_ids=chosen[:, None], past_key_values=out.past_key_values, use_cache=True)
    return [codec.decode(row) for row in tokens]
