import re
from pathlib import Path

import pytest
from typer.core import TyperOption
from typer.main import get_command

from luci_tui.cli.serve import app as serve_app
from luci_tui.errors import ConfigError
from luci_tui.settings import ServeLimits, Settings, load_settings


def refusal(home: Path, text: str) -> str:
    (home / "config.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(home)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_settings_without_a_file_are_the_defaults(tmp_path: Path) -> None:
    assert load_settings(tmp_path) == Settings()


def test_settings_of_a_file_replace_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[host]\nidle_exit_s = 5\n", encoding="utf-8")
    host = load_settings(tmp_path).host
    assert (host.idle_exit_s, host.drain_s) == (5, 10)


def test_settings_that_are_no_toml_are_refused_with_the_line(tmp_path: Path) -> None:
    assert "line 3" in refusal(tmp_path, "[host]\nidle_exit_s = 5\ndrain_s = =\n")


def test_settings_with_a_bad_value_are_refused_with_line_and_name(tmp_path: Path) -> None:
    said = refusal(tmp_path, "# mine\n[host]\n\ndrain_s = -1\n")
    assert "line 4" in said
    assert "host.drain_s cannot be -1" in said


def test_settings_with_an_unknown_name_are_refused_with_line_and_name(tmp_path: Path) -> None:
    assert "line 2: there is no setting host.idle_exit" in refusal(
        tmp_path, "[host]\nidle_exit = 5\n"
    )
    assert "line 1: there is no setting hots" in refusal(tmp_path, "[hots]\nx = 5\n")
    assert "line 1: host.drain_s" in refusal(tmp_path, "host.drain_s = 'x'\n")


def test_settings_of_serve_have_an_option_and_a_line_in_the_docs_with_their_default() -> None:
    options = {one.name: one for one in get_command(serve_app).params}
    docs = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    for name, field in ServeLimits.model_fields.items():
        option = options[name]
        assert isinstance(option, TyperOption)
        assert option.default is None
        assert option.help is not None
        assert option.help.endswith(f" [{field.default:.0f}]")
        assert re.search(rf"\| `{name}` \| {field.default:,.0f}[ |]", docs), name


def test_settings_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        load_settings(tmp_path)
