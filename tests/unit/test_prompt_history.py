import json
import stat
from pathlib import Path

import pytest

from luci_tui.tui.history import MAX_ENTRIES, MAX_ENTRY_CHARACTERS, MAX_FILE_BYTES, PromptHistory


def test_history_is_there_again_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "home" / "history.jsonl"
    first = PromptHistory(file)
    first.keep("one\nwith two lines")
    first.keep("zwei \u202e \x1b[2J")
    second = PromptHistory(file)
    second.add("typed before it was loaded")
    second.load()
    assert second.entries == [
        "one\nwith two lines",
        "zwei \u202e \x1b[2J",
        "typed before it was loaded",
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_screens_add_to_one_file(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    one, other = PromptHistory(file), PromptHistory(file)
    one.keep("a")
    other.keep("b")
    one.keep("c")
    other.load()
    assert other.entries == ["a", "b", "c"]


def test_long_prompt_is_kept_in_memory_alone(tmp_path: Path) -> None:
    history = PromptHistory(tmp_path / "history.jsonl")
    history.keep("x" * (MAX_ENTRY_CHARACTERS + 1))
    assert not (tmp_path / "history.jsonl").exists()


def test_repeated_prompt_is_remembered_once() -> None:
    history = PromptHistory()
    for text in ("a", "a", "b", "a"):
        history.add(text)
    assert history.entries == ["a", "b", "a"]


def test_file_that_grew_too_long_is_written_anew_with_its_end(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    line = json.dumps("y" * 1000) + "\n"
    file.write_text(line * (MAX_FILE_BYTES // len(line) + 1))
    history = PromptHistory(file)
    history.keep("the last")
    history.load()
    assert file.stat().st_size < MAX_FILE_BYTES
    assert history.entries[-1] == "the last"
    assert len(history.entries) <= MAX_ENTRIES


def test_broken_lines_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_bytes(b'"good"\n{"a": 1}\n"cut of\n\xff\xfe\n12\n"also good"\n')
    history = PromptHistory(file)
    history.load()
    assert history.entries == ["good", "also good"]


def test_folder_that_cannot_be_written_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        PromptHistory(tmp_path / "file" / "history.jsonl").keep("a")
