from pathlib import Path

import pytest

from luci_tui.settings import load_settings
from luci_tui.tui.preferences import Preferences, read_preferences


def test_preferences_are_read_as_the_settings_are(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[screen]\ntheme = "nord"\nlow_bandwidth = true\nhistory = false\nbell = false\n'
        '[keys]\n"jobs.cancel" = "f8"\n'
    )
    settings = load_settings(tmp_path)
    read = read_preferences(tmp_path)
    assert read == Preferences("nord", True, {"jobs.cancel": "f8"}, keeps_history=False, bell=False)
    assert settings.screen.theme == read.theme
    assert settings.screen.low_bandwidth == read.low_bandwidth
    assert settings.screen.history == read.keeps_history
    assert settings.screen.bell == read.bell
    assert settings.keys.model_dump() == read.keys


@pytest.mark.parametrize(
    "text",
    [
        "[screen\n",
        "screen = 3\nkeys = 4\n",
        '[screen]\ntheme = 3\nlow_bandwidth = "x"\n[keys]\n"a" = 1\n',
        "\x00",
    ],
)
def test_unreadable_settings_leave_the_defaults(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    assert read_preferences(tmp_path) == Preferences()


def test_no_settings_are_the_defaults(tmp_path: Path) -> None:
    assert read_preferences(tmp_path) == Preferences()


def test_profile_goes_before_the_file_and_the_environment_before_both(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[screen]\ntheme = "nord"\n'
        '[profile.far.screen]\ntheme = "ansi-dark"\nlow_bandwidth = true\n'
    )
    environment = {"LUCI_PROFILE": "far", "LUCI_SCREEN_LOW_BANDWIDTH": "false"}
    read = read_preferences(tmp_path, environment)
    settings = load_settings(tmp_path, environment).screen
    assert (read.theme, read.low_bandwidth) == ("ansi-dark", False)
    assert (settings.theme, settings.low_bandwidth) == ("ansi-dark", False)
    assert read_preferences(tmp_path, {"LUCI_SCREEN_THEME": "dracula"}).theme == "dracula"
    assert not read_preferences(tmp_path, {"LUCI_SCREEN_BELL": "false"}).bell
