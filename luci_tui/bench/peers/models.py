"""Write the two random-weight Llama models that every contender is measured on.

The speed of a model follows from its shapes and its quantization, not from what it has learned, so
noise of the right shape measures the same as a download would. Both get a SentencePiece-like
vocabulary of 32,000 tokens.
"""

from __future__ import annotations

import logging
import math
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

logger = logging.getLogger(__name__)

N_VOCAB = 32_000
N_CTX_TRAIN = 4096
_N_CONTROL = 3
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class BenchModel:
    """One shape in one quantization."""

    name: str
    """As it stands in the table."""
    n_layers: int
    n_embd: int
    n_head: int
    n_head_kv: int
    n_ff: int
    quant_type: str
    """The name that llama-quantize knows it by."""
    n_repeats: int
    """Single answers per round and contender: one answer of the small model is over in 0.2 s, which
    a passing disturbance of the machine can double."""

    @property
    def file_name(self) -> str:
        """Name of the file in the cache folder; another shape is another name."""
        shape = f"{self.n_layers}x{self.n_embd}-h{self.n_head}-{self.n_head_kv}-f{self.n_ff}"
        return f"{shape}-{self.quant_type}.gguf"


SMALL = BenchModel("56M Q8_0", 8, 512, 8, 4, 1408, "Q8_0", n_repeats=5)
LARGE = BenchModel("1.1B Q4_K_M", 22, 2048, 32, 4, 5632, "Q4_K_M", n_repeats=1)
"""TinyLlama's shape."""


def ensure_model(model: BenchModel, folder: Path, quantize_binary: Path, n_threads: int) -> Path:
    """Return the path of the model's file in `folder`, written there if it is missing."""
    path = folder / model.file_name
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    full = path.with_suffix(".f16.part")
    part = path.with_suffix(".part")
    logger.info("writing the random-weight model %s", model.name)
    try:
        write_f16(model, full)
        command = [str(quantize_binary), str(full), str(part), model.quant_type, str(n_threads)]
        subprocess.run(command, check=True, capture_output=True)
        part.replace(path)
    finally:
        full.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
    return path


def write_f16(model: BenchModel, path: Path) -> None:
    """Write a model with random weights in F16, whatever its quantization is called."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"random {model.name}")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(N_CTX_TRAIN)
    writer.add_embedding_length(model.n_embd)
    writer.add_block_count(model.n_layers)
    writer.add_feed_forward_length(model.n_ff)
    writer.add_head_count(model.n_head)
    writer.add_head_count_kv(model.n_head_kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(model.n_embd // model.n_head)
    writer.add_vocab_size(N_VOCAB)
    _add_vocabulary(writer)
    shapes = dict(_tensor_shapes(model))
    for name, shape in shapes.items():
        dtype = _dtype(shape)
        n_bytes = math.prod(shape) * dtype.itemsize
        writer.add_tensor_info(name, shape, dtype, n_bytes)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    # One tensor at a time: the large model would not fit twice into a small machine's memory.
    random = np.random.default_rng(1)
    for shape in shapes.values():
        noise = random.standard_normal(shape, dtype=np.float32)
        values = noise / np.float32(math.sqrt(shape[-1])) if len(shape) > 1 else np.ones_like(noise)
        writer.write_tensor_data(values.astype(_dtype(shape)))
    writer.close()


def _dtype(shape: tuple[int, ...]) -> np.dtype[np.float16] | np.dtype[np.float32]:
    return np.dtype(np.float16) if len(shape) > 1 else np.dtype(np.float32)


def _tensor_shapes(model: BenchModel) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield names and row-major shapes as the llama architecture wants them."""
    n_kv = model.n_embd // model.n_head * model.n_head_kv
    yield "token_embd.weight", (N_VOCAB, model.n_embd)
    yield "output_norm.weight", (model.n_embd,)
    yield "output.weight", (N_VOCAB, model.n_embd)
    for layer in range(model.n_layers):
        prefix = f"blk.{layer}"
        yield f"{prefix}.attn_norm.weight", (model.n_embd,)
        yield f"{prefix}.attn_q.weight", (model.n_embd, model.n_embd)
        yield f"{prefix}.attn_k.weight", (n_kv, model.n_embd)
        yield f"{prefix}.attn_v.weight", (n_kv, model.n_embd)
        yield f"{prefix}.attn_output.weight", (model.n_embd, model.n_embd)
        yield f"{prefix}.ffn_norm.weight", (model.n_embd,)
        yield f"{prefix}.ffn_gate.weight", (model.n_ff, model.n_embd)
        yield f"{prefix}.ffn_up.weight", (model.n_ff, model.n_embd)
        yield f"{prefix}.ffn_down.weight", (model.n_embd, model.n_ff)


def _add_vocabulary(writer: gguf.GGUFWriter) -> None:
    byte_texts = [f"<0x{value:02X}>" for value in range(256)]
    n_words = N_VOCAB - _N_CONTROL - len(byte_texts)
    texts = ["<unk>", "<s>", "</s>", *byte_texts, *(_word(i) for i in range(n_words))]
    types = [
        gguf.TokenType.UNKNOWN,
        *[gguf.TokenType.CONTROL] * (_N_CONTROL - 1),
        *[gguf.TokenType.BYTE] * len(byte_texts),
        *[gguf.TokenType.NORMAL] * n_words,
    ]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(texts)
    writer.add_token_scores([-float(i) for i in range(N_VOCAB)])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def _word(index: int) -> str:
    """Spell a number in four letters, with the mark of a word's start: unique and plain text."""
    letters = ""
    for _ in range(4):
        index, digit = divmod(index, len(_LETTERS))
        letters += _LETTERS[digit]
    return "\u2581" + letters
