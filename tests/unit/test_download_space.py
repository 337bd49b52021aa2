from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.download import space
from luci_tui.download.plan import Plan, PlannedFile
from luci_tui.download.space import Need, need_of, require_space
from luci_tui.errors import DownloadError


def plan_of(*sizes: int | None) -> Plan:
    files = tuple(
        PlannedFile(name=f"{number}.gguf", url="https://x/y.gguf", size_bytes=size)
        for number, size in enumerate(sizes)
    )
    return Plan(name="model", source="test", files=files)


def test_need_is_what_is_missing_of_each_file(tmp_path: Path) -> None:
    assert need_of(plan_of(100, 200), tmp_path / "none").remaining_bytes == 300
    (tmp_path / "0.gguf.part").write_bytes(b"x" * 60)
    (tmp_path / "1.gguf").write_bytes(b"x" * 200)
    assert need_of(plan_of(100, 200, None), tmp_path).remaining_bytes == 40
    (tmp_path / "0.gguf.part").write_bytes(b"x" * 160)
    assert need_of(plan_of(100), tmp_path).remaining_bytes == 0


def test_only_what_goes_to_the_same_disk_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    monkeypatch.setattr(space, "_device", str)
    monkeypatch.setattr(space, "free_space", lambda _: 1000)
    wanted = Need("model", here, 600)
    require_space(wanted, [Need("other", there, 900)], 100)
    require_space(wanted, [Need("other", here, 300)], 100)
    with pytest.raises(DownloadError, match="Make room for 1 B more"):
        require_space(wanted, [Need("other", here, 301)], 100)
    # What needs nothing more is never refused, however full the disk is.
    require_space(Need("model", here, 0), [Need("other", here, 5000)], 10**9)
