"""What a command takes as its text."""

from __future__ import annotations

import io

import pytest

from luci_tui.cli.session import read_text
from luci_tui.errors import ConfigError


@pytest.mark.parametrize(
    ("piped", "text"),
    [
        (b"list the files\n", "list the files"),
        (b"list the files\r\n", "list the files"),
        (b"one\n\ntwo\n\n", "one\n\ntwo"),
        (b"  code\n    more  ", "  code\n    more  "),
    ],
)
def test_ends_of_lines_at_the_end_of_what_is_piped_are_no_part_of_the_text(
    monkeypatch: pytest.MonkeyPatch, piped: bytes, text: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped)))
    assert read_text(None, "prompt") == text


def test_argument_is_taken_as_it_is() -> None:
    assert read_text("two\nlines\n", "prompt") == "two\nlines\n"


def test_pipe_without_a_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b" \n\n")))
    with pytest.raises(ConfigError, match="prompt is empty"):
        read_text("-", "prompt")
