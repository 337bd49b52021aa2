"""Name the pre-tokenizer of a vocabulary that llama.cpp's converter has never seen.

The converter knows a pre-tokenizer by a hash over the tokens of one long string, so every
vocabulary that somebody trained anew is unknown to it. How a text is split, though, stands in
tokenizer.json. What is found here is only a proposal: the check of tokens after the conversion
shows whether it is right.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Final, cast

from luci_tui.errors import EngineError

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_BY_PATTERN: Final = {
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "llama-bpe",
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "qwen2",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt-2",
}
"""Regular expressions of `Split` and the names that llama.cpp has for them.
Source: llama_vocab::impl::load and llm_tokenizer_bpe in src/llama-vocab.cpp."""


def name_unknown(source: Path, notes: list[str]) -> None:
    """Let the converter ask us about a pre-tokenizer that it does not know.

    Args:
        source: The model's folder.
        notes: Gets a sentence when a name was proposed.
    """
    base: Any = importlib.import_module("conversion.base")
    original = base.TextModel.get_vocab_base_pre

    def get_vocab_base_pre(model: object, tokenizer: object) -> str:
        try:
            return str(original(model, tokenizer))
        except NotImplementedError as error:
            name = guess(source / "tokenizer.json")
            if name is None:
                raise EngineError(
                    f"The way in which the tokenizer of {source} splits a text is none that "
                    "llama.cpp knows, so no GGUF file of this model would read text as it does.",
                    code="unknown_tokenizer",
                ) from error
            notes.append(
                f"The converter does not know this vocabulary; tokenizer.json says that it splits "
                f"text like {name}."
            )
            return name

    base.TextModel.get_vocab_base_pre = get_vocab_base_pre


def guess(path: Path) -> str | None:
    """Read tokenizer.json and give llama.cpp's name of its pre-tokenizer; None = none fits."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict):
        return None
    tokenizer = cast("dict[str, Any]", document)
    steps = _steps(tokenizer.get("pre_tokenizer"))
    kinds = [str(step.get("type")) for step in steps]
    match kinds:
        case ["BertPreTokenizer"]:
            # WordPiece splits in its own way; the name is kept and never looked at.
            return "default"
        case ["ByteLevel"]:
            return "gpt-2" if steps[0].get("use_regex", True) else None
        case ["Digits", "ByteLevel"]:
            return "smollm" if steps[0].get("individual_digits") else None
        case ["Split", "ByteLevel"]:
            return _BY_PATTERN.get(_pattern(steps[0]))
        case _:
            return None


def _steps(pre_tokenizer: object) -> list[dict[str, Any]]:
    if not isinstance(pre_tokenizer, dict):
        return []
    step = cast("dict[str, Any]", pre_tokenizer)
    if step.get("type") != "Sequence":
        return [step]
    parts = cast("list[dict[str, Any]]", step.get("pretokenizers", []))
    return [part for part in parts if isinstance(part, dict)]  # pyright: ignore[reportUnnecessaryIsInstance]


def _pattern(step: dict[str, Any]) -> str:
    pattern = step.get("pattern")
    if not isinstance(pattern, dict):
        return ""
    return str(cast("dict[str, Any]", pattern).get("Regex", ""))
