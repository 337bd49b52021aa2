"""Small random-weight models in real GGUF files, made in a moment and the same on every run."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

N_EMBD = 64
N_LAYERS = 2
N_HEADS = 2
N_FF = 128
N_CTX_TRAIN = 2048

_WORDS = (
    *(chr(code) for code in range(ord("a"), ord("z") + 1)),
    *("▁", "▁the", "▁a", "▁to", "▁of", "th", "er", "in", "on", "▁is", ".", ",", "\n", "é", "▁ü"),
)
_SPECIAL = ("<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>")
_FIRST_BYTE = len(_SPECIAL)
_FIRST_WORD = _FIRST_BYTE + 256
N_VOCAB = _FIRST_WORD + len(_WORDS)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '</s>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def tiny_llama(
    path: Path, *, seed: int = 1, n_layers: int = N_LAYERS, has_duplicate_token: bool = False
) -> Path:
    """Write a llama-shaped model of about 130,000 parameters in F32 and return its path.

    Almost all it says are the letters and words of its vocabulary; the end-of-text token is
    about as rare as any other, so a test that needs a long answer sets `ignore_eos`. With
    `has_duplicate_token` it is one of those files that make llama.cpp abort its process.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny llama")
    writer.add_context_length(N_CTX_TRAIN)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(n_layers)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(N_EMBD // N_HEADS)
    writer.add_vocab_size(N_VOCAB)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    add_tiny_vocabulary(writer, has_duplicate_token=has_duplicate_token)
    _add_tensors(writer, np.random.default_rng(seed), n_layers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_tiny_vocabulary(writer: gguf.GGUFWriter, *, has_duplicate_token: bool = False) -> None:
    """Add a SentencePiece-like vocabulary of N_VOCAB tokens with byte fallback, and a template."""
    tokens = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *_WORDS]
    if has_duplicate_token:
        tokens[-1] = tokens[-2]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * (len(_SPECIAL) - 1)]
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(_WORDS)
    scores = [0.0] * _FIRST_WORD + [-float(rank) for rank in range(len(_WORDS))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _add_tensors(writer: gguf.GGUFWriter, rng: np.random.Generator, n_layers: int) -> None:
    def random(*shape: int, scale: float = 0.2) -> npt.NDArray[np.float32]:
        return (rng.standard_normal(shape) * scale).astype(np.float32)

    output = np.zeros((N_VOCAB, N_EMBD), dtype=np.float32)
    output[_FIRST_WORD:] = random(len(_WORDS), N_EMBD, scale=1.0)
    writer.add_tensor("token_embd.weight", random(N_VOCAB, N_EMBD, scale=1.0))
    writer.add_tensor("output_norm.weight", np.ones(N_EMBD, dtype=np.float32))
    writer.add_tensor("output.weight", output)
    for layer in range(n_layers):
        block = f"blk.{layer}"
        writer.add_tensor(f"{block}.attn_norm.weight", np.ones(N_EMBD, dtype=np.float32))
        writer.add_tensor(f"{block}.ffn_norm.weight", np.ones(N_EMBD, dtype=np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{block}.{name}.weight", random(N_EMBD, N_EMBD))
        writer.add_tensor(f"{block}.ffn_gate.weight", random(N_FF, N_EMBD))
        writer.add_tensor(f"{block}.ffn_up.weight", random(N_FF, N_EMBD))
        writer.add_tensor(f"{block}.ffn_down.weight", random(N_EMBD, N_FF))
