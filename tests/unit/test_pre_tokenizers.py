from __future__ import annotations

import json
from pathlib import Path

import pytest

from luci_tui.engine.pre_tokenizers import guess

LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = {"type": "ByteLevel", "use_regex": False}


def sequence(*steps: dict[str, object]) -> dict[str, object]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def split(pattern: str) -> dict[str, object]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}


@pytest.mark.parametrize(
    ("pre_tokenizer", "name"),
    [
        ({"type": "BertPreTokenizer"}, "default"),
        ({"type": "ByteLevel", "use_regex": True}, "gpt-2"),
        ({"type": "ByteLevel"}, "gpt-2"),
        (BYTES, None),
        (sequence({"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}), "smollm"),
        (sequence({"type": "Digits", "individual_digits": False}, {"type": "ByteLevel"}), None),
        (sequence(split(LLAMA), BYTES), "llama-bpe"),
        (sequence(split(LLAMA.replace("{1,3}", "")), BYTES), "qwen2"),
        (sequence(split(r"\w+"), BYTES), None),
        (sequence({"type": "Split", "pattern": {"String": " "}}, BYTES), None),
        ({"type": "Metaspace"}, None),
        (None, None),
        ([], None),
    ],
)
def test_guess_names_only_what_llama_cpp_splits_alike(
    tmp_path: Path, pre_tokenizer: object, name: str | None
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"pre_tokenizer": pre_tokenizer}))
    assert guess(path) == name


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", '{"pre_tokenizer": {"type": 3}}'])
def test_guess_of_a_damaged_file_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    assert guess(path) is None
    assert guess(tmp_path / "none.json") is None
