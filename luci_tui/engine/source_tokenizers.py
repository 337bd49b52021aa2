"""The tokenizer of a source model, as its own files define it.

transformers builds some tokenizers anew from their vocabulary, in other ways from one version to
the next, so it is asked only where the files do not speak for themselves: tokenizer.json is read
by the library `tokenizers`, and a SentencePiece model by `sentencepiece`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final, Protocol

_PIECE_FILES: Final = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_MAX_SPECIALS: Final = 32


class SourceTokenizer(Protocol):
    """Turns text into tokens as the source does."""

    @property
    def specials(self) -> tuple[str, ...]:
        """Texts of special tokens that it finds in a text; empty = it finds none."""
        ...

    def encode(self, text: str, *, add_special: bool) -> list[int]:
        """Give the tokens of a text, with those that belong before and after it if asked to."""
        ...


def source_tokenizer(source: Path) -> SourceTokenizer:
    """Load the tokenizer of a model's folder.

    Raises:
        Exception: whatever the libraries raise at files that they cannot read.
    """
    if (source / "tokenizer.json").is_file():
        return _FromJson(source / "tokenizer.json")
    transformers: Any = importlib.import_module("transformers")
    auto: Any = transformers.AutoTokenizer.from_pretrained(str(source))
    for name in _PIECE_FILES:
        if (source / name).is_file():
            pieces = _FromPieces(source / name, auto)
            if pieces.has_same_ids:
                return pieces
    return _FromTransformers(auto)


class _FromJson:
    def __init__(self, path: Path) -> None:
        tokenizers: Any = importlib.import_module("tokenizers")
        self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        added: dict[int, Any] = self._tokenizer.get_added_tokens_decoder()
        found = [str(token.content) for token in added.values() if token.special]
        self.specials = tuple(found[:_MAX_SPECIALS])

    def encode(self, text: str, *, add_special: bool) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=add_special).ids)


class _FromPieces:
    specials = ()

    def __init__(self, path: Path, auto: Any) -> None:
        sentencepiece: Any = importlib.import_module("sentencepiece")
        self._pieces: Any = sentencepiece.SentencePieceProcessor(model_file=str(path))
        n_pieces = int(self._pieces.get_piece_size())
        probes = range(0, n_pieces, max(1, n_pieces // 100))
        names = [str(self._pieces.id_to_piece(one)) for one in probes]
        self.has_same_ids = auto.convert_tokens_to_ids(names) == list(probes)
        """False = the model numbers the pieces in another way than the file."""
        self._before, self._after = _additions(auto)

    def encode(self, text: str, *, add_special: bool) -> list[int]:
        tokens = [int(one) for one in self._pieces.encode(text)]
        return [*self._before, *tokens, *self._after] if add_special else tokens


class _FromTransformers:
    def __init__(self, auto: Any) -> None:
        self._tokenizer: Any = auto
        self.specials = tuple(str(name) for name in auto.all_special_tokens)[:_MAX_SPECIALS]

    def encode(self, text: str, *, add_special: bool) -> list[int]:
        return [int(one) for one in self._tokenizer.encode(text, add_special_tokens=add_special)]


def _additions(auto: Any) -> tuple[list[int], list[int]]:
    """Give the tokens that belong before and after a text."""
    plain = [int(one) for one in auto.encode("a", add_special_tokens=False)]
    whole = [int(one) for one in auto.encode("a", add_special_tokens=True)]
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return whole[:start], whole[start + len(plain) :]
    return [], []
