"""Turn a GGUF file of this model into the start of a training run: checkpoint and tokenizer.

    python -m luci_tui.training.builtin.start models/builtin/luci-shell.gguf RUN

A Q8_0 file rounds each weight to one part in 254 of the largest of its 32 neighbours, which a few
steps of training mend; so the shipped file is enough to go on from, and no checkpoint is kept.
"""

import argparse
import io
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import sentencepiece as spm
import torch
from gguf.quants import dequantize
from sentencepiece import sentencepiece_model_pb2 as pb

from luci_tui.errors import TrainingError

_PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Name of a layer's part in GGUF -> in Hugging Face's Llama."""


def _hf_name(name: str) -> str:
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{_PARTS[part]}.weight"


def _rotary_order(rows: np.ndarray, n_heads: int) -> np.ndarray:
    """Undo the converter's reordering of the rows of Q and K.

    GGUF's Llama turns neighbouring rows of a head, Hugging Face's turns row i with row i + half.
    Source: `LlamaModel.permute` in llama.cpp's converter, whose inverse this is.
    """
    n_rows = rows.shape[0]
    pairs = rows.reshape(n_heads, n_rows // n_heads // 2, 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Give the weights of a GGUF file as float32, under Hugging Face's names.

    Raises:
        TrainingError: the file is no Llama model.
    """
    reader = gguf.GGUFReader(path)
    architecture = _text(reader, "general.architecture")
    if architecture != "llama":
        raise TrainingError(f"{path} is a {architecture} model; a run can go on from llama only")
    n_heads = int(_number(reader, "llama.attention.head_count"))
    n_heads_kv = int(_number(reader, "llama.attention.head_count_kv"))
    weights: dict[str, torch.Tensor] = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if ".attn_q." in tensor.name or ".attn_k." in tensor.name:
            values = _rotary_order(values, n_heads if ".attn_q." in tensor.name else n_heads_kv)
        weights[_hf_name(tensor.name)] = torch.from_numpy(values.copy())
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    return weights


def write_tokenizer(path: Path, target: Path) -> None:
    """Write the vocabulary of a GGUF file as a SentencePiece `.model` file.

    The settings (BPE, byte fallback, identity normalization) come from a throw-away tokenizer
    trained on one line; its pieces are replaced by those of the file.
    """
    reader = gguf.GGUFReader(path)
    field = reader.fields["tokenizer.ggml.tokens"]
    tokens = [bytes(field.parts[at]).decode() for at in field.data]
    scores = _array(reader, "tokenizer.ggml.scores")
    kinds = _array(reader, "tokenizer.ggml.token_type")
    mould = pb.ModelProto.FromString(_mould())
    del mould.pieces[:]
    for token, score, kind in zip(tokens, scores, kinds, strict=True):
        mould.pieces.add(piece=token, score=float(score), type=int(kind))
    mould.trainer_spec.vocab_size = len(tokens)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(mould.SerializeToString())


def _mould() -> bytes:
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(  # pyright: ignore[reportUnknownMemberType]
        sentence_iterator=iter(["list the files"]),
        model_writer=model,
        model_type="bpe",
        vocab_size=280,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        hard_vocab_limit=False,
        minloglevel=1,
    )
    return model.getvalue()


def _text(reader: gguf.GGUFReader, key: str) -> str:
    return bytes(reader.fields[key].parts[-1]).decode()


def _number(reader: gguf.GGUFReader, key: str) -> float:
    return reader.fields[key].parts[-1][0]


def _array(reader: gguf.GGUFReader, key: str) -> list[Any]:
    field = reader.fields[key]
    return [field.parts[at][0] for at in field.data]


def main(argv: list[str] | None = None) -> int:
    """Write the start of a run from the command line."""
    parser = argparse.ArgumentParser(
        prog="start", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gguf", type=Path, help="a GGUF file of the built-in model")
    parser.add_argument("run", type=Path, help="folder to write start.pt and tokenizer.model into")
    args = parser.parse_args(argv)
    write_tokenizer(args.gguf, args.run / "tokenizer.model")
    torch.save({"model": read_weights(args.gguf), "pool": -1}, args.run / "start.pt")
    sys.stderr.write(f"{args.run}: start.pt and tokenizer.model written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
