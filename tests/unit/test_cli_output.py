from __future__ import annotations

import io
import os

import pytest

from luci_tui.cli.output import Progress, name_columns


class Terminal(io.StringIO):
    """What a program takes for a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_longer_than_the_terminal_is_wide_stays_in_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("COLUMNS", "20")
    line = Progress()
    line.show("checking a name that is far too long: 12 %")
    line.show("short")
    line.clear()
    drawn = shown.getvalue().split("\r")
    assert drawn[1] == "checki…o long: 12 %"
    assert max(map(len, drawn)) < int(os.environ["COLUMNS"])
    assert drawn[-2].strip() == ""


@pytest.mark.parametrize(("stream", "said"), [(Terminal(), "id  title\n"), (io.StringIO(), "")])
def test_columns_are_named_for_a_person_alone(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, said: str
) -> None:
    monkeypatch.setattr("sys.stdout", stream)
    name_columns("id  title")
    assert stream.getvalue() == said
