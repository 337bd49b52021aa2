import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.core import TyperOption
from typer.main import get_command

from luci_tui.cli.serve import app as serve_app
from luci_tui.errors import ConfigError
from luci_tui.setting_sources import read_sources
from luci_tui.settings import ServeLimits, Settings, load_settings, read_settings


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


FILE = """\
[host]
max_jobs = 2

[profile.laptop.host]
max_jobs = 3
drain_s = 5

[profile.server.serve]
max_running = 9
"""


def write(home: Path, text: str) -> Path:
    (home / "config.toml").write_text(text, encoding="utf-8")
    return home


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, (2, 10)),
        ({"LUCI_PROFILE": "laptop"}, (3, 5)),
        ({"LUCI_PROFILE": "laptop", "LUCI_HOST_MAX_JOBS": "4"}, (4, 5)),
        ({"LUCI_HOST_MAX_JOBS": " 4 ", "LUCI_HOST_DRAIN_S": "2.5"}, (4, 2.5)),
        ({"LUCI_HOST_MAX_JOBS": "", "LUCI_HOME": "/x", "LUCI_WERROR": "ON", "TERM": "x"}, (2, 10)),
    ],
)
def test_settings_from_several_sources_then_the_strongest_counts(
    tmp_path: Path, environment: dict[str, str], found: tuple[float, float]
) -> None:
    host = load_settings(write(tmp_path, FILE), environment).host
    assert (host.max_jobs, host.drain_s) == found


def test_settings_then_each_value_knows_its_source(tmp_path: Path) -> None:
    environment = {"LUCI_PROFILE": "laptop", "LUCI_COST_CURRENCY": "EUR"}
    reading = read_settings(write(tmp_path, "# mine\n" + FILE), environment)
    keys = ("host.idle_exit_s", "host.max_jobs", "host.drain_s", "cost.currency")
    assert [reading.source_of(key).words() for key in keys] == [
        "default",
        "profile laptop, config.toml:6",
        "profile laptop, config.toml:7",
        "LUCI_COST_CURRENCY",
    ]
    assert (reading.profile, reading.profiles) == ("laptop", ("laptop", "server"))
    plain = read_settings(tmp_path, {})
    assert plain.source_of("host.max_jobs").words() == "config.toml:3"


@pytest.mark.parametrize(
    ("variable", "words", "said"),
    [
        ("LUCI_HOST_MAX_JOBS", "many", "host.max_jobs cannot be 'many'"),
        ("LUCI_HOST_MAX_JOBS", "65", "host.max_jobs cannot be 65"),
        ("LUCI_HOST_LOG_TEXTS", "perhaps", "host.log_texts cannot be 'perhaps'"),
        ("LUCI_HOST_MAX_JOB", "4", "there is no setting host.max_job.*Did you mean max_jobs?"),
        ("LUCI_PROFILE", "desktop", 'There is no profile "desktop".*LUCI_PROFILE.*laptop, server'),
    ],
)
def test_settings_given_a_bad_variable_then_one_sentence_names_it(
    tmp_path: Path, variable: str, words: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_settings(write(tmp_path, FILE), {variable: words})
    assert variable in caught.value.message
    assert "\n" not in caught.value.message
    reading = read_settings(tmp_path, {variable: words})
    assert [mistake.variable for mistake in reading.mistakes] == [variable]
    assert reading.settings == load_settings(tmp_path, {})


@pytest.mark.parametrize("words", ["true", "1", "yes", "ON"])
def test_settings_given_a_variable_for_a_truth_value_then_usual_words_are_known(
    tmp_path: Path, words: str
) -> None:
    assert load_settings(tmp_path, {"LUCI_HOST_LOG_TEXTS": words}).host.log_texts


def test_settings_with_mistakes_then_all_are_told_and_the_rest_counts(tmp_path: Path) -> None:
    text = """\
host.max_jobs = 0
host.drain_s = 3
serve = 4
sevre.x = 1
[cost]
watts = "much"
currency = "EUR"
[profile.a.host]
max_jobs = "x"
[profile.b]
nothing.here = 1
"""
    reading = read_settings(write(tmp_path, text), {"LUCI_HOST_MAX_JOBS": "3"})
    assert [(one.line, one.key) for one in reading.mistakes] == [
        (1, "host.max_jobs"),
        (3, "serve"),
        (4, "sevre"),
        (6, "cost.watts"),
        (9, "profile.a.host.max_jobs"),
        (11, "profile.b.nothing"),
    ]
    settings = reading.settings
    assert (settings.host.max_jobs, settings.host.drain_s) == (3, 3)
    assert (settings.cost.watts, settings.cost.currency) == (None, "EUR")


@pytest.mark.parametrize("text", ["[host\n", "a = [[[", "profile = 4\n", "profile.x = 4\n"])
def test_settings_that_cannot_be_read_then_the_environment_still_counts(
    tmp_path: Path, text: str
) -> None:
    reading = read_settings(write(tmp_path, text), {"LUCI_HOST_MAX_JOBS": "3"})
    (mistake,) = reading.mistakes
    assert mistake.line == 1
    assert reading.settings.host.max_jobs == 3


class Folders(BaseModel):
    names: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    words: dict[str, str] = {}


class Several(BaseModel):
    folders: Folders = Folders()


@pytest.mark.parametrize(
    ("name", "words", "value"),
    [
        ("names", "/a, /b c", ("/a", "/b c")),
        ("names", '["/a,b"]', ("/a,b",)),
        ("names", "5", ("5",)),
        ("sizes", "1,2", (1, 2)),
        ("words", '{ a = "b" }', {"a": "b"}),
    ],
)
def test_settings_given_a_variable_for_a_list_then_commas_and_toml_are_read(
    tmp_path: Path, name: str, words: str, value: object
) -> None:
    environment = {f"LUCI_FOLDERS_{name.upper()}": words}
    found = read_sources(Several, tmp_path / "none", environment).usable()
    assert getattr(found.folders, name) == value


def test_settings_with_odd_names_then_each_complaint_is_one_line(tmp_path: Path) -> None:
    text = '"a\\nb" = 1\n[host]\n"" = 1\n[profile."x\\ny".host]\nmax_jobs = 1979-05-27\n'
    reading = read_settings(write(tmp_path, text), {"LUCI_PROFILE": "z"})
    assert [one.line for one in reading.mistakes] == [1, 3, 5, 0]
    assert not any("\n" in one.sentence for one in reading.mistakes)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_settings_with_no_finite_number_are_refused(tmp_path: Path, value: str) -> None:
    assert "line 2" in refusal(tmp_path, f"[host]\nmodel_ttl_s = {value}\n")
