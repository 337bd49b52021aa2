from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from luci_tui.errors import ConfigError
from luci_tui.setting_sources import read_sources
from luci_tui.settings import load_settings
from luci_tui.settings_file import replace_text, set_value, unset_value
from luci_tui.settings_schema import free_settings, json_schema, page


def after(home: Path, text: str, key: str, words: str | None) -> str:
    """Change a file and return its text."""
    file = home / "config.toml"
    file.write_bytes(text.encode())
    if words is None:
        assert unset_value(home, key)
    else:
        set_value(home, key, words)
    load_settings(home, {})
    return file.read_bytes().decode()


@pytest.mark.parametrize(
    ("text", "key", "words", "found"),
    [
        ("", "host.max_jobs", "4", "[host]\nmax_jobs = 4\n"),
        (
            "# top\n[host] # h\nmax_jobs = 3 # three\n\n# of serve\n[serve]\n",
            "host.max_jobs",
            "4",
            "# top\n[host] # h\nmax_jobs = 4 # three\n\n# of serve\n[serve]\n",
        ),
        (
            "[host]\nmax_jobs = 3\n\n# of serve\n[serve]\n",
            "host.log_texts",
            "yes",
            "[host]\nmax_jobs = 3\nlog_texts = true\n\n# of serve\n[serve]\n",
        ),
        ("[host]\n# none\n", "host.drain_s", "1.5", "[host]\ndrain_s = 1.5\n# none\n"),
        ("# mine", "cost.currency", 'a"b', '# mine\n\n[cost]\ncurrency = "a\\"b"\n'),
        ("[host]\r\nmax_jobs = 3\r\n", "host.max_jobs", "5", "[host]\r\nmax_jobs = 5\r\n"),
        ("[host]\r\n", "host.drain_s", "5", "[host]\r\ndrain_s = 5\r\n"),
        ("host.max_jobs = 3\n", "host.drain_s", "5", "host.max_jobs = 3\nhost.drain_s = 5\n"),
        ("host = { max_jobs = 3 }\n", "host.max_jobs", "4", "host = { max_jobs = 4 }\n"),
        (
            "[profile.a.host]\nmax_jobs = 1\n",
            "profile.a.serve.max_running",
            "2",
            "[profile.a.host]\nmax_jobs = 1\n\n[profile.a.serve]\nmax_running = 2\n",
        ),
        ("[host]\nmax_jobs = 3 # x\ndrain_s = 5\n", "host.max_jobs", None, "[host]\ndrain_s = 5\n"),
    ],
)
def test_change_then_the_rest_of_the_file_is_as_it_was(
    tmp_path: Path, text: str, key: str, words: str | None, found: str
) -> None:
    assert after(tmp_path, text, key, words) == found


@pytest.mark.parametrize(
    ("key", "words", "said"),
    [
        ("host.max_jobs", "65", "host.max_jobs cannot be '65'.*Nothing was changed"),
        ("host.max_jobs", "4\ndrain_s = 0", "host.max_jobs cannot be"),
        ("host.max_job", "4", "There is no setting 'host.max_job'. Did you mean host.max_jobs?"),
        ("max_jobs", "4", "Did you mean host.max_jobs?"),
        ("profile.a.max_jobs", "4", "There is no setting"),
        ("profile..host.max_jobs", "4", "There is no setting"),
        ("host", "4", "There is no setting 'host'"),
    ],
)
def test_bad_change_then_it_is_refused_and_the_file_is_as_it_was(
    tmp_path: Path, key: str, words: str, said: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[host]\nmax_jobs = 3\n")
    with pytest.raises(ConfigError, match=said):
        set_value(tmp_path, key, words)
    assert file.read_text() == "[host]\nmax_jobs = 3\n"


def test_file_with_mistakes_then_they_can_be_mended_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[host]\nmax_jobs = 0\ndrain_s = -1\n")
    set_value(tmp_path, "host.max_jobs", "4")
    with pytest.raises(ConfigError, match="line 3"):
        load_settings(tmp_path, {})
    assert unset_value(tmp_path, "host.drain_s")
    assert load_settings(tmp_path, {}).host.max_jobs == 4
    assert not unset_value(tmp_path, "host.drain_s")


def test_file_that_is_no_toml_then_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[host\n")
    with pytest.raises(ConfigError, match=r"line 1.*config edit"):
        set_value(tmp_path, "host.max_jobs", "4")
    assert (tmp_path / "config.toml").read_text() == "[host\n"


def test_change_then_link_and_permissions_stay_and_nothing_is_left_over(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.toml"
    target.write_text("[host]\n")
    target.chmod(0o640)
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").symlink_to(target)
    set_value(home, "host.max_jobs", "4")
    assert (home / "config.toml").is_symlink()
    assert target.read_text() == "[host]\nmax_jobs = 4\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert sorted(one.name for one in home.iterdir()) == ["config.toml", "config.toml.lock"]


def test_home_that_cannot_be_written_then_one_sentence() -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        set_value(Path("/proc/luci"), "host.max_jobs", "4")


def test_whole_text_given_a_file_that_changed_meanwhile_then_it_stays(tmp_path: Path) -> None:
    assert replace_text(tmp_path, "", "[host]\n")
    assert not replace_text(tmp_path, "", "[serve]\n")
    assert (tmp_path / "config.toml").read_text() == "[host]\n"


class AnyNames(BaseModel):
    """Section `[keys]`: a text for each name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str] = Field(init=False)


class WithKeys(BaseModel):
    keys: AnyNames = AnyNames()


def test_section_that_takes_any_name_then_names_with_dots_are_read_with_their_source(
    tmp_path: Path,
) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[keys]\n"jobs.cancel" = "k"\nbad = 4\n[profile.a.keys]\n"x.y" = "z"\n')
    reading = read_sources(WithKeys, file, {"LUCI_PROFILE": "a"})
    assert reading.settings.keys.model_extra == {"jobs.cancel": "k", "x.y": "z"}
    assert reading.source_of("keys.jobs.cancel").words() == "config.toml:2"
    assert reading.source_of("keys.x.y").words() == "profile a, config.toml:5"
    assert [(one.line, one.key) for one in reading.mistakes] == [(3, "keys.bad")]
    assert [one.key for one in free_settings(reading.settings)] == ["keys.jobs.cancel", "keys.x.y"]
    assert "## [keys]" in page(WithKeys)
    assert json_schema(WithKeys)["$defs"]["AnyNames"]["additionalProperties"] == {"type": "string"}


def test_profile_with_an_odd_name_then_it_is_written_in_quotation_marks(tmp_path: Path) -> None:
    set_value(tmp_path, "profile.my own.host.max_jobs", "2")
    text = '[profile."my own".host]\nmax_jobs = 2\n'
    assert (tmp_path / "config.toml").read_text() == text
    assert load_settings(tmp_path, {"LUCI_PROFILE": "my own"}).host.max_jobs == 2
