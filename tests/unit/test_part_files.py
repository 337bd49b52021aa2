import os
from pathlib import Path

import pytest

from luci_tui.engine.part_files import part_folder, sweep
from luci_tui.engine.quantize_checks import check_destinations, check_disk
from luci_tui.errors import EngineError


def test_part_folder_gives_files_their_names_and_goes_away(tmp_path: Path) -> None:
    finals = [tmp_path / "a-1.gguf", tmp_path / "a-2.gguf"]
    with part_folder(tmp_path / "a.gguf") as part:
        for final in finals:
            (part.path / final.name).write_bytes(b"x")
        assert not finals[0].exists()
        part.commit(finals)
    assert sorted(tmp_path.iterdir()) == finals


def test_part_folder_is_removed_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with part_folder(tmp_path / "a.gguf") as part:
            (part.path / "a.gguf").write_bytes(b"x")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_sweep_removes_what_is_abandoned_and_nothing_else(tmp_path: Path) -> None:
    abandoned = tmp_path / "old.gguf.part-1"
    abandoned.mkdir()
    (abandoned / "old.gguf").write_bytes(b"x")
    (tmp_path / "mine.part-x").mkdir()
    (tmp_path / "file.part-2").write_bytes(b"x")
    (tmp_path / "link.part-3").symlink_to(tmp_path / "mine.part-x")
    kept = tmp_path / "kept.gguf.part-4"
    (kept / "inner").mkdir(parents=True)
    with part_folder(tmp_path / "live.gguf") as part:
        sweep(tmp_path)
        assert part.path.is_dir()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["file.part-2", "kept.gguf.part-4", "link.part-3", "mine.part-x"]


def test_part_folder_where_nothing_can_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(EngineError, match="cannot be written to"),
        part_folder(tmp_path / "file" / "a.gguf"),
    ):
        pass


def test_outputs_that_do_not_fit_are_refused_together(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    check_disk([(tmp_path / "a", free // 4), (tmp_path / "b", free // 4)])
    with pytest.raises(EngineError, match=f"{2 * free} bytes"):
        check_disk([(tmp_path / "a", free), (tmp_path / "b", free)])


def test_name_that_is_a_dangling_link_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").symlink_to(tmp_path / "none")
    with pytest.raises(EngineError, match="is there already"):
        check_destinations([tmp_path / "a.gguf"], [], force=False)
