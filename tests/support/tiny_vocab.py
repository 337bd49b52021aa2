"""The tiny vocabularies of the test models, written into a GGUF file.

`TINY_SPM` is SentencePiece-like: control tokens, all 256 bytes, and a few pieces, so that any text
has tokens and random weights yield every kind of token, broken UTF-8 included. `TINY_WPM` is
WordPiece-like for the embedding models, `TINY_UGM` T5's: a unigram model, which ends each text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import gguf

SPACE = "\u2581"
"""How vocabularies of llama.cpp write the start of a word."""

CHATML_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML, whose control tokens TINY_SPM holds."""


@dataclass(frozen=True)
class TinyVocab:
    """One vocabulary as the keys of a GGUF file want it; the three tuples have equal length."""

    model: str
    """`tokenizer.ggml.model`: "llama", "bert", "t5" or "gpt2"."""
    texts: tuple[str, ...]
    scores: tuple[float, ...]
    types: tuple[gguf.TokenType, ...]
    specials: tuple[tuple[str, int], ...]
    """(key below `tokenizer.ggml`, token id)."""
    flags: tuple[tuple[str, bool], ...]
    """(key below `tokenizer.ggml`, value)."""
    pre: str = "default"
    """How a text is split before its parts become tokens."""
    merges: tuple[str, ...] = ()

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Add the vocabulary's keys to a file that is being written."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        if self.merges:
            writer.add_token_merges(list(self.merges))
        writer.add_token_list(list(self.texts))
        writer.add_token_scores(list(self.scores))
        writer.add_token_types(list(self.types))
        for key, token in self.specials:
            writer.add_uint32(f"tokenizer.ggml.{key}", token)
        for key, value in self.flags:
            writer.add_bool(f"tokenizer.ggml.{key}", value)

    def filled_up(self, n_tokens: int) -> TinyVocab:
        """Give a vocabulary of at least `n_tokens`, with words that no text has at its end."""
        extra = range(len(self.texts), n_tokens)
        return replace(
            self,
            texts=(*self.texts, *(f"{SPACE}word{number}" for number in extra)),
            scores=(*self.scores, *[-1e6] * len(extra)),
            types=(*self.types, *[gguf.TokenType.NORMAL] * len(extra)),
        )

    def id_of(self, text: str) -> int:
        """Find the id of a token by its text as it stands in the file."""
        return self.texts.index(text)


_WORDS = (
    *("the", "and", "of", "to", "in", "is", "list", "files", "show", "find"),
    *("file", "name", "count", "lines", "large", "small"),
)


def _spm_vocab() -> TinyVocab:
    controls = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
    byte_texts = tuple(f"<0x{value:02X}>" for value in range(256))
    letters = tuple("abcdefghijklmnopqrstuvwxyz")
    # SentencePiece merges pairs, so every step on the way to a word must be a piece too.
    starts = (SPACE + word[:end] for word in _WORDS for end in range(1, len(word) + 1))
    pieces = (SPACE, *letters, *dict.fromkeys(starts))
    texts = ("<unk>", *controls, *byte_texts, *pieces)
    # Merging in llama.cpp follows the score: longer pieces must win over the letters they hold.
    scores = (*[0.0] * (1 + len(controls) + len(byte_texts)), *[float(len(p)) for p in pieces])
    types = (
        gguf.TokenType.UNKNOWN,
        *[gguf.TokenType.CONTROL] * len(controls),
        *[gguf.TokenType.BYTE] * len(byte_texts),
        *[gguf.TokenType.NORMAL] * len(pieces),
    )
    specials = (("bos_token_id", 1), ("eos_token_id", 2), ("unknown_token_id", 0))
    flags = (("add_bos_token", True), ("add_eos_token", False), ("add_space_prefix", True))
    return TinyVocab("llama", texts, scores, types, specials, flags)


def _wpm_vocab() -> TinyVocab:
    controls = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    characters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"()-_/"
    words = tuple(SPACE + word for word in _WORDS)
    pieces = (*(SPACE + c for c in characters), *characters, *words)
    texts = (*controls, *pieces)
    types = (
        *[gguf.TokenType.CONTROL] * len(controls),
        *[gguf.TokenType.NORMAL] * len(pieces),
    )
    specials = (
        ("bos_token_id", 2),
        ("cls_token_id", 2),
        ("eos_token_id", 3),
        ("seperator_token_id", 3),  # the key's spelling in the format
        ("padding_token_id", 0),
        ("unknown_token_id", 1),
        ("mask_token_id", 4),
    )
    flags = (("add_bos_token", True), ("add_eos_token", True))
    return TinyVocab("bert", texts, (0.0,) * len(texts), types, specials, flags)


def _ugm_vocab() -> TinyVocab:
    letters = tuple("abcdefghijklmnopqrstuvwxyz")
    words = tuple(SPACE + word for word in _WORDS)
    texts = ("<pad>", "</s>", "<unk>", SPACE, *letters, *words)
    # Logarithms of probabilities: a word costs less than the letters that it is made of.
    scores = (*[0.0] * 3, *[-8.0] * (1 + len(letters)), *[-6.0] * len(words))
    types = (
        *[gguf.TokenType.CONTROL] * 2,
        gguf.TokenType.UNKNOWN,
        *[gguf.TokenType.NORMAL] * (len(texts) - 3),
    )
    specials = (("eos_token_id", 1), ("unknown_token_id", 2), ("padding_token_id", 0))
    flags = (("add_bos_token", False), ("add_eos_token", True), ("add_space_prefix", True))
    return TinyVocab("t5", texts, scores, types, specials, flags)


TINY_SPM = _spm_vocab()
TINY_WPM = _wpm_vocab()
TINY_UGM = _ugm_vocab().filled_up(len(TINY_SPM.texts))


def byte_pair_vocab(pre: str) -> TinyVocab:
    """Make a GPT-2-like vocabulary of as many tokens as TINY_SPM has, split as `pre` says."""
    # GPT-2 writes bytes that are no visible character of Latin-1 as those from U+0100 on.
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = iter(range(0x100, 0x200))
    letters = tuple(chr(byte if byte in visible else next(hidden)) for byte in range(256))
    merges = ("t h", "th e", "\u0120 the", "l i", "s t", "li st", "\u0120 list")
    texts = (*letters, *(merge.replace(" ", "") for merge in merges), "<s>", "</s>")
    types = [gguf.TokenType.NORMAL] * (len(texts) - 2) + [gguf.TokenType.CONTROL] * 2
    specials = (("bos_token_id", len(texts) - 2), ("eos_token_id", len(texts) - 1))
    flags = (("add_bos_token", True), ("add_eos_token", False))
    tiny = TinyVocab("gpt2", texts, (0.0,) * len(texts), tuple(types), specials, flags, pre, merges)
    return tiny.filled_up(len(TINY_SPM.texts))
