from pathlib import Path

import pytest

from luci_tui.settings import load_settings
from luci_tui.tui.preferences import Preferences, check, read_preferences


def test_preferences_are_read_as_the_settings_are(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[screen]\ntheme = "nord"\nlow_bandwidth = true\n[keys]\n"jobs.cancel" = "f8"\n'
    )
    settings = load_settings(tmp_path)
    read = read_preferences(tmp_path)
    assert read == Preferences("nord", True, {"jobs.cancel": "f8"})
    assert settings.screen.theme == read.theme
    assert settings.screen.low_bandwidth == read.low_bandwidth
    assert settings.keys.model_dump() == read.keys
    assert check(tmp_path) == ""


@pytest.mark.parametrize(
    "text",
    [
        "[screen\n",
        "screen = 3\nkeys = 4\n",
        '[screen]\ntheme = 3\nlow_bandwidth = "x"\n[keys]\n"a" = 1\n',
        "\x00",
    ],
)
def test_unreadable_settings_leave_the_defaults_and_say_where(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    assert read_preferences(tmp_path) == Preferences()
    assert "line 1" in check(tmp_path) or "line 2" in check(tmp_path)


def test_no_settings_are_the_defaults(tmp_path: Path) -> None:
    assert read_preferences(tmp_path) == Preferences()
    assert check(tmp_path) == ""
