from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.host.run_files import HostInfo, RunFiles, prepare_folders, run_files, write_info
from luci_tui.host.told import MAX_KEPT, untold


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    made = run_files(tmp_path)
    prepare_folders(made)
    begin_host(made, started_at=1.0)
    return made


def begin_host(files: RunFiles, started_at: float) -> None:
    write_info(files, HostInfo(7, "0.1.0", 1, started_at, str(files.socket)))


def test_notice_then_it_is_told_once_in_the_life_of_a_host(files: RunFiles) -> None:
    assert untold(files, ["a", "b", "a"]) == ["a", "b"]
    assert untold(files, ["b", "c"]) == ["c"]
    assert untold(files, ["a", "b", "c"]) == []
    begin_host(files, started_at=2.0)
    assert untold(files, ["a"]) == ["a"]


def test_no_notice_then_no_file_is_made(files: RunFiles) -> None:
    assert untold(files, []) == []
    assert not (files.folder / "told.json").exists()


@pytest.mark.parametrize("content", ["", "no json", "[]", "{}", '{"host": [7, 1.0], "told": 3}'])
def test_file_that_is_broken_then_the_notice_is_told_again(files: RunFiles, content: str) -> None:
    (files.folder / "told.json").write_text(content)
    assert untold(files, ["a"]) == ["a"]
    assert untold(files, ["a"]) == []


def test_many_notices_then_the_file_stays_small(files: RunFiles) -> None:
    for number in range(MAX_KEPT * 2):
        assert untold(files, [str(number)]) == [str(number)]
    assert (files.folder / "told.json").stat().st_size < MAX_KEPT * 10


def test_folder_that_is_gone_then_the_notice_is_told(tmp_path: Path) -> None:
    assert untold(run_files(tmp_path / "none"), ["a"]) == ["a"]
