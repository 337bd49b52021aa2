import base64
import re
from pathlib import Path

import pytest

from luci_tui.config import TerminalFacts
from luci_tui.tui.clipboard import MAX_BYTES, SCREEN_CHUNK, copy, sequence_of

TEXT = "one\nzwei € \x1b[31m"


def terminal(multiplexer: str = "") -> TerminalFacts:
    return TerminalFacts(
        is_terminal=True,
        term="xterm",
        is_ssh=True,
        multiplexer=multiplexer,
        has_true_color=False,
        no_color=False,
    )


def taken_by_a_terminal(sequence: str) -> list[str]:
    """Return the texts that a terminal without a multiplexer finds in what it is sent."""
    found = re.findall(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\a", sequence)
    return [base64.b64decode(one).decode() for one in found]


def test_sequence_without_a_multiplexer_is_osc_52() -> None:
    assert taken_by_a_terminal(sequence_of(TEXT, "")) == [TEXT]
    assert sequence_of(TEXT, "").startswith("\x1b]52;c;")


def test_sequence_in_tmux_arrives_with_passthrough_and_with_set_clipboard() -> None:
    sequence = sequence_of(TEXT, "tmux")
    wrapped = re.fullmatch(r"\x1bPtmux;((?:\x1b\x1b|[^\x1b])*)\x1b\\(.*)", sequence, re.DOTALL)
    assert wrapped is not None
    assert taken_by_a_terminal(wrapped[1].replace("\x1b\x1b", "\x1b")) == [TEXT]
    assert taken_by_a_terminal(wrapped[2]) == [TEXT]


def test_sequence_in_screen_goes_in_pieces_that_it_passes_on() -> None:
    text = "x" * 5000
    pieces = re.findall(r"\x1bP(.*?)\x1b\\", sequence_of(text, "screen"), re.DOTALL)
    assert len(pieces) > 10
    assert all(len(piece) <= SCREEN_CHUNK for piece in pieces)
    assert taken_by_a_terminal("".join(pieces)) == [text]


@pytest.mark.parametrize("multiplexer", ["", "tmux", "screen"])
def test_sequence_of_a_text_that_no_terminal_takes_is_empty(multiplexer: str) -> None:
    assert sequence_of("x" * MAX_BYTES, multiplexer)
    assert not sequence_of("x" * (MAX_BYTES + 1), multiplexer)


def test_copy_then_the_file_has_the_text_for_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "home" / "clipboard.txt"
    copied = copy(TEXT, terminal("tmux"), path)
    assert path.read_text() == TEXT
    assert path.stat().st_mode & 0o777 == 0o600
    assert copied.sentence == (
        f"Copied {len(TEXT)} characters: to the terminal (OSC 52, through tmux), and to {path}."
    )


def test_copy_over_a_file_that_others_may_read_then_they_may_not_any_more(tmp_path: Path) -> None:
    path = tmp_path / "clipboard.txt"
    path.write_text("old")
    path.chmod(0o644)
    copy("new", terminal(), path)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o600)


def test_copy_of_what_is_too_long_then_only_the_file_has_it(tmp_path: Path) -> None:
    path = tmp_path / "clipboard.txt"
    copied = copy("x" * 80_000, terminal(), path)
    assert not copied.sequence
    assert copied.sentence == (
        f"Copied 80,000 characters: to {path}. That is too long for the terminal."
    )
    assert len(path.read_text()) == 80_000


def test_copy_where_no_file_can_be_written_then_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "clipboard.txt"
    copied = copy("x", terminal(), path)
    assert copied.sequence
    assert "cannot be written" in copied.sentence
    assert not copied.is_lost
    lost = copy("x" * 80_000, terminal(), path)
    assert lost.is_lost
    assert "were not copied" in lost.sentence


def test_copy_of_half_a_surrogate_pair_then_a_question_mark_stands_for_it(tmp_path: Path) -> None:
    path = tmp_path / "clipboard.txt"
    assert taken_by_a_terminal(copy("a\ud800b", terminal(), path).sequence) == ["a?b"]
    assert path.read_text() == "a?b"
