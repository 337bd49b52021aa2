from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from luci_tui.setting_sources import read_sources, sections_of, value_from_words
from luci_tui.settings import SETTINGS_FILE, Settings
from luci_tui.settings_file import check
from luci_tui.settings_schema import (
    all_settings,
    beginning,
    json_schema,
    section_meaning,
    toml_words,
)


def test_every_setting_then_it_says_what_it_means_and_its_default_is_one(tmp_path: Path) -> None:
    settings = all_settings()
    assert len(settings) == sum(len(one.model_fields) for one in sections_of(Settings).values())
    for one in settings:
        assert one.meaning.endswith("."), one.key
        if one.default is not None and one.default != "":
            environment = {one.variable: toml_words(one.default).strip('"')}
            reading = read_sources(Settings, tmp_path / SETTINGS_FILE, environment)
            assert reading.usable() == Settings(), one.key
            assert reading.source_of(one.key).words() == one.variable
    assert [name for name, one in sections_of(Settings).items() if not section_meaning(one)] == []


def test_file_to_begin_with_then_every_line_works_once_it_is_no_comment(tmp_path: Path) -> None:
    text = beginning()
    assert not any(tomllib.loads(text).values())
    names = {one.name: one for one in all_settings()}
    lines = text.splitlines()
    chosen = [line.removeprefix("# ") for line in lines if line[2:].split(" = ")[0] in names]
    assert len(chosen) == len(all_settings())
    for number, line in enumerate(lines):
        if line[2:].split(" = ")[0] in names and not line.endswith("..."):
            lines[number] = line.removeprefix("# ")
    assert check(tmp_path, "\n".join(lines)).usable() == Settings()


def test_json_schema_then_it_describes_settings_and_profiles() -> None:
    schema = json_schema()
    host = schema["$defs"]["HostSettings"]["properties"]["max_jobs"]
    found = [host[name] for name in ("type", "minimum", "maximum", "default")]
    assert found == ["integer", 1, 64, 8]
    assert host["description"] == "Most jobs that run at the same time."
    profile = schema["properties"]["profile"]["additionalProperties"]
    assert set(profile["properties"]) == set(sections_of(Settings))
    assert schema["additionalProperties"] is profile["additionalProperties"] is False


@pytest.mark.parametrize(
    ("key", "words"),
    [("host.max_jobs", "1 to 64"), ("cost.watts", "above 0"), ("host.log_texts", "true or false")],
)
def test_type_of_a_setting_then_it_is_in_words(key: str, words: str) -> None:
    assert words in next(one.type_words for one in all_settings() if one.key == key)


def test_words_of_a_text_then_they_are_no_number() -> None:
    assert value_from_words(sections_of(Settings)["cost"], "currency", "5") == "5"
