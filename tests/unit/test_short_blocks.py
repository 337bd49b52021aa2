"""Growing Markdown in short blocks."""

from __future__ import annotations

import random

import pytest

from luci_tui.tui.widgets.short_blocks import MAX_CODE_LINES, MAX_PARAGRAPH, ShortBlocks


def fed(text: str, seed: int = 1) -> str:
    """Feed a text in pieces of one to nine characters."""
    chance, blocks, parts = random.Random(seed), ShortBlocks(), []
    place = 0
    while place < len(text):
        n = chance.randint(1, 9)
        parts.append(blocks.feed(text[place : place + n]))
        place += n
    return "".join(parts)


SHORT = "One paragraph.\n\n- a\n- b\n\n```py\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nEnd"


@pytest.mark.parametrize("seed", range(20))
def test_short_blocks_stay_as_they_are(seed: int) -> None:
    assert fed(SHORT, seed) == SHORT


def test_long_paragraph_is_ended_at_a_space() -> None:
    text = "word " * 4_000
    found = fed(text)
    assert max(len(one) for one in found.split("\n\n")) < MAX_PARAGRAPH + 20
    assert found.split() == text.split()


def test_long_paragraph_of_lines_is_ended_as_well() -> None:
    found = fed("some words in a line\n" * 1_000)
    assert max(len(one) for one in found.split("\n\n")) < MAX_PARAGRAPH + 40


def test_long_code_block_is_closed_and_opened_again() -> None:
    lines = [f"line {number}" for number in range(3 * MAX_CODE_LINES)]
    found = fed("Look:\n\n~~~~py\n" + "\n".join(lines) + "\n~~~~\n\n" + "word " * 1_000)
    code, _, after = found.rpartition("~~~~\n\n")
    assert code.count("~~~~py\n") == 4
    assert [one for one in code.splitlines() if one.startswith("line")] == lines
    assert "\n\n" in after


@pytest.mark.parametrize(
    "text",
    [
        "- " + "word " * 1_000,
        "1. " + "word " * 1_000,
        "| a | b |\n|---|---|\n" + "| some words | others |\n" * 200,
        "Head of a table\n" + "| some words | others |\n" * 200,
        "> " + "word " * 1_000,
        "`" + "word " * 1_000,
        "x" * 5_000,
    ],
    ids=["list", "numbers", "table", "table below a line", "quote", "code", "no space"],
)
def test_what_is_no_paragraph_stays_as_it_is(text: str) -> None:
    assert fed(text) == text


def test_splitting_is_told() -> None:
    blocks = ShortBlocks()
    blocks.feed("short ")
    assert not blocks.has_split
    blocks.feed("word " * 1_000 + "\n")
    assert blocks.has_split
