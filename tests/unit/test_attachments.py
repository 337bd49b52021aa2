import os
from pathlib import Path

import pytest

from luci_tui.errors import ChatError
from luci_tui.tui.attachments import MAX_TEXT_BYTES, pasted_paths, read_attachment
from luci_tui.tui.widgets.picture import MAX_COLUMNS, MAX_ROWS, half_blocks
from luci_tui.tui.widgets.prompt import may_be_paths
from tests.support.projectors import png, wav


def test_text_file_is_read_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "no\x1b[2Jtes.md"
    file.write_bytes("Grüße\r\nzwei\x1b[1m".encode())
    found = read_attachment(file)
    assert found.name == "notes.md"
    assert found.text == "Grüße\nzwei\x1b[1m"
    assert found.words == "notes.md 17 B"


def test_picture_and_sound_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "cat.txt").write_bytes(png(60, 30))
    (tmp_path / "bell").write_bytes(wav(0.1))
    picture = read_attachment(tmp_path / "cat.txt")
    assert picture.text is None
    assert picture.words.endswith("60x30")
    assert picture.content == png(60, 30)
    assert read_attachment(str(tmp_path / "bell")).text is None


def test_what_cannot_be_taken_says_why(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"\x7fELF\x00\x01")
    (tmp_path / "latin").write_bytes("Grüße".encode("latin-1"))
    (tmp_path / "broken.png").write_bytes(png()[:20])
    (tmp_path / "long.log").write_bytes(b"a" * (MAX_TEXT_BYTES + 1))
    huge = tmp_path / "huge"
    huge.touch()
    os.truncate(huge, 20 * 1024 * 1024)
    os.mkfifo(tmp_path / "pipe")
    said = {
        "program": "is no text in UTF-8",
        "latin": "is no text in UTF-8",
        "broken.png": "damaged",
        "long.log": "4.00 MiB of text",
        "huge": "larger than 16.0 MiB",
        "pipe": "is no file",
        "": "is no file",
        "gone": "No such file",
        "x\0y": "cannot be read",
    }
    for name, sentence in said.items():
        with pytest.raises(ChatError, match=sentence):
            read_attachment(tmp_path / name)
    with pytest.raises(ChatError, match="no home folder"):
        read_attachment("~nobody-of-this-name/a")
    with pytest.raises(ChatError, match="8 files are attached"):
        read_attachment(tmp_path / "latin", 8)


def test_pasted_paths_are_found_in_every_way_that_terminals_write_them(tmp_path: Path) -> None:
    one, two = tmp_path / "a b.txt", tmp_path / "c'd.txt"
    one.touch()
    two.touch()
    spaced = str(one).replace(" ", "\\ ")
    for text in (spaced, f"'{one}'", f'"{one}" ', f"file://{str(one).replace(' ', '%20')}\n"):
        assert may_be_paths(text)
        assert pasted_paths(text) == [one]
    assert pasted_paths(f"'{one}' \"{two}\"") == [one, two]


def test_text_with_a_path_in_it_is_text(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.touch()
    for text in (f"{file} is broken", str(tmp_path), f"{file} {tmp_path}/gone", "/", "'", ""):
        assert pasted_paths(text) == []
    assert not may_be_paths("what is /etc/hosts?")
    assert not may_be_paths("/" * 10_000)


def test_picture_is_drawn_small_and_a_damaged_one_not_at_all() -> None:
    strips = half_blocks(png(600, 300))
    assert 0 < len(strips) <= MAX_ROWS
    assert {strip.cell_length for strip in strips} == {MAX_COLUMNS}
    assert half_blocks(png()[:60]) == []
    assert half_blocks(b"") == []
    assert len(half_blocks(png(3, 3))) == 2
