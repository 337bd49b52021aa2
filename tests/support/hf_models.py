"""Tiny models in Hugging Face's format, with tokenizers trained on the spot: for `luci convert`.

Needs the packages of the extra `convert`; import this module only where they are installed. Rows
are 256 long, so that K-quants apply to every matrix.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import safetensors.torch
import sentencepiece
import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from luci_tui.library.compare import DEFAULT_TEXT

N_EMBD = 256
N_FF = 512
N_LAYERS = 2
N_HEADS = 4
N_CTX = 256
N_VOCAB = 1024
SEED = 5


class HfShape(StrEnum):
    """A kind of model that is made here."""

    LLAMA = "llama"
    GPT2 = "gpt2"
    T5 = "t5"
    BERT = "bert"


def write_hf_model(folder: Path, shape: HfShape, **options: Any) -> Path:
    """Write a model with random weights and a trained tokenizer, and return its folder.

    Args:
        folder: The new folder.
        shape: What is written.
        options: For `save_pretrained`, such as `max_shard_size`.
    """
    folder.mkdir(parents=True)
    torch.manual_seed(SEED)
    makers = {
        HfShape.LLAMA: _llama,
        HfShape.GPT2: _gpt2,
        HfShape.T5: _t5,
        HfShape.BERT: _bert,
    }
    model = makers[shape](folder)
    _spread(model, shape)
    model.save_pretrained(folder, **options)
    return folder


def _spread(model: Any, shape: HfShape) -> None:
    """Scale the first weights, so that predictions are neither flat nor all but certain."""
    with torch.no_grad():
        if shape is HfShape.T5:
            model.shared.weight.mul_(0.1)
            return
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4.0)


def write_peft_adapter(base: Path, folder: Path) -> Path:
    """Let peft make a LoRA adapter whose effect shows, and return its folder."""
    import peft

    torch.manual_seed(SEED + 1)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(
        r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    adapted: Any = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.2)
    adapted.save_pretrained(folder)
    return folder


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")


def _text() -> Iterator[str]:
    yield from DEFAULT_TEXT.read_text(encoding="utf-8").splitlines(keepends=True)


def _llama(folder: Path) -> Any:
    pieces = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_text(),
        model_writer=pieces,
        model_type="bpe",
        vocab_size=N_VOCAB,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(pieces.getvalue())
    settings = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "legacy": True}
    specials = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    _write_json(folder / "tokenizer_config.json", {**settings, **specials})
    config = transformers.LlamaConfig(
        vocab_size=N_VOCAB,
        hidden_size=N_EMBD,
        intermediate_size=N_FF,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        num_key_value_heads=2,
        max_position_embeddings=N_CTX,
    )
    return transformers.LlamaForCausalLM(config)


def _gpt2(folder: Path) -> Any:
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_VOCAB,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(_text(), trainer)
    end = "<|endoftext|>"
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=end, eos_token=end, unk_token=end
    )
    config = transformers.GPT2Config(
        vocab_size=inner.get_vocab_size(),
        n_embd=N_EMBD,
        n_layer=N_LAYERS,
        n_head=N_HEADS,
        n_positions=N_CTX,
        n_ctx=N_CTX,
        bos_token_id=0,
        eos_token_id=0,
    )
    tokenizer.save_pretrained(folder)
    return transformers.GPT2LMHeadModel(config)


def _t5(folder: Path) -> Any:
    pieces = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_text(),
        model_writer=pieces,
        model_type="unigram",
        vocab_size=700,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(pieces.getvalue())
    settings = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "legacy": True}
    specials = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    _write_json(folder / "tokenizer_config.json", {**settings, **specials})
    config = transformers.T5Config(
        vocab_size=700,
        d_model=N_EMBD,
        d_kv=N_EMBD // N_HEADS,
        d_ff=N_FF,
        num_layers=N_LAYERS,
        num_heads=N_HEADS,
        n_positions=N_CTX,
        decoder_start_token_id=0,
        tie_word_embeddings=False,
    )
    return transformers.T5ForConditionalGeneration(config)


def _bert(folder: Path) -> Any:
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    inner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=N_VOCAB, special_tokens=specials, show_progress=False
    )
    inner.train_from_iterator(_text(), trainer)
    inner.decoder = decoders.WordPiece()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = transformers.BertTokenizerFast(tokenizer_object=inner)
    config = transformers.BertConfig(
        vocab_size=inner.get_vocab_size(),
        hidden_size=N_EMBD,
        intermediate_size=N_FF,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        max_position_embeddings=N_CTX,
    )
    tokenizer.save_pretrained(folder)
    return transformers.BertModel(config)


def main(folder: Path) -> None:
    """Write every model that tests/e2e/test_convert.py needs."""
    for shape in HfShape:
        write_hf_model(folder / shape.value, shape)
    write_peft_adapter(folder / HfShape.LLAMA, folder / "adapter")
    write_hf_model(folder / "sharded", HfShape.GPT2, max_shard_size="2MB")
    pickled = write_hf_model(folder / "pickled", HfShape.LLAMA)
    weights = safetensors.torch.load_file(pickled / "model.safetensors")
    torch.save(weights, pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
