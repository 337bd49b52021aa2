from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.host.doctor import examine_settings
from luci_tui.host.findings import Level


@pytest.mark.parametrize(
    ("text", "level", "said"),
    [
        (None, Level.OK, "all defaults"),
        ("[profile.a.host]\nmax_jobs = 3\n", Level.OK, "config.toml, profile a"),
        ("profile.a.host.max_jobs = 0\n", Level.PROBLEM, "line 1: profile.a.host.max_jobs cannot"),
        ("profile.a.x = 0\ny = 0\nz = 0\n", Level.PROBLEM, "2 more mistakes: see `luci config"),
    ],
)
def test_settings_then_their_first_mistake_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, level: Level, said: str
) -> None:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    if text is not None:
        monkeypatch.setenv("LUCI_PROFILE", "a")
        (tmp_path / "config.toml").write_text(text)
    found = examine_settings()
    assert found.level is level
    assert said in found.text
