"""library.toml, and library.db, which may go at any time."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from luci_tui.errors import ConfigError
from luci_tui.library import own_settings
from luci_tui.library.header_cache import FactKind, HeaderCache
from luci_tui.library.own_settings import ModelSettings
from luci_tui.library.records import HeaderFacts, Stamp

STAMP = Stamp(1, 2, 3)


def test_settings_are_read_back_and_comments_stay(tmp_path: Path) -> None:
    file = tmp_path / "library.toml"
    file.write_text("# mine\n[model.a]\nenabled = false # for now\n", encoding="utf-8")
    own_settings.set_enabled("llama3.2:latest", True, file)
    own_settings.set_tier("a", 3, file)
    own_settings.set_aliases("a", ("b", "c ü"), file)
    own_settings.set_notes("a", 'two\nlines "here"', file)
    found = own_settings.read(file)
    assert found.problems == ()
    assert found.of("a") == ModelSettings(False, 3, ("b", "c ü"), 'two\nlines "here"')
    assert found.of("llama3.2:latest").enabled is True
    assert "# mine" in file.read_text("utf-8")
    assert "# for now" in file.read_text("utf-8")


def test_settings_that_are_taken_back_leave_nothing(tmp_path: Path) -> None:
    file = tmp_path / "new" / "library.toml"
    own_settings.set_tier("a", 1, file)
    assert file.stat().st_mode & 0o777 == 0o600
    own_settings.set_notes("a", "x", file)
    own_settings.set_tier("a", None, file)
    own_settings.set_notes("a", "", file)
    assert own_settings.read(file).models == {}
    own_settings.set_enabled("b", False, file)
    own_settings.forget("b", file)
    own_settings.forget("never there", file)
    assert own_settings.read(file).models == {}


def test_parameters_of_a_model_are_kept_field_by_field(tmp_path: Path) -> None:
    file = tmp_path / "library.toml"
    own_settings.set_sampling("a", {"temperature": 0.25, "top_k": 3}, file)
    own_settings.set_sampling("a", {"top_k": None, "min_p": 0.1}, file)
    own_settings.set_system("a", "Two\nlines.", file)
    found = own_settings.read(file)
    assert found.problems == ()
    assert found.of("a") == ModelSettings(
        system="Two\nlines.", sampling={"temperature": 0.25, "min_p": 0.1}
    )
    own_settings.set_sampling("a", {"temperature": None, "min_p": None}, file)
    own_settings.set_system("a", "", file)
    assert own_settings.read(file).models == {}


@pytest.mark.parametrize("value", [-1, "warm", float("inf")])
def test_parameters_that_cannot_be_used_are_refused_and_nothing_is_written(
    tmp_path: Path, value: float | str
) -> None:
    file = tmp_path / "library.toml"
    with pytest.raises(ConfigError, match=r"^Sampling.temperature cannot be .*Nothing was changed"):
        own_settings.set_sampling("a", {"temperature": value}, file)
    assert not file.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model", "no valid TOML"),
        ("[model.a]\nsystem = 3", "system cannot be '3'"),
        ("[model.a]\nsampling = 3", "sampling cannot be '3'"),
        ("[model.a]\nsampling = { warmth = 1 }", "sampling.warmth is not known here"),
        ("[model.a.sampling]\ntop_p = 2", "sampling.top_p cannot be '2'"),
        ("model = 3", "must hold [model.NAME] tables"),
        ('[model.a]\nenabled = "yes"', "enabled cannot be 'yes'"),
        ("[model.a]\ntier = 4", "tier cannot be '4'"),
        ("[model.a]\ntier = true", "tier cannot be"),
        ("[model.a]\ncolour = 1", "'colour' is not known here"),
        ('[model.a]\naliases = ["x/y"]', "looks like a path"),
        ("[model.a]\naliases = [1]", "a list of names"),
        ("model.a = 1", "no table"),
    ],
)
def test_settings_that_cannot_be_used_are_one_sentence(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "library.toml"
    file.write_text(text, encoding="utf-8")
    found = own_settings.read(file)
    (problem,) = found.problems
    assert words in problem
    assert found.of("a") == ModelSettings()


def test_broken_settings_are_never_written_over(tmp_path: Path) -> None:
    file = tmp_path / "library.toml"
    for text in ("[model", "model = 3"):
        file.write_text(text)
        with pytest.raises(ConfigError):
            own_settings.set_enabled("a", True, file)
        assert file.read_text() == text


@pytest.mark.parametrize("alias", ["", "a/b", "~a", "-a", "a.gguf", "builtin", " a", "a\x1b"])
def test_alias_that_no_command_could_use_is_refused(tmp_path: Path, alias: str) -> None:
    with pytest.raises(ConfigError):
        own_settings.set_aliases("a", (alias,), tmp_path / "library.toml")


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "library.toml"
    threads = [
        threading.Thread(target=own_settings.set_enabled, args=(f"m{number}", True, file))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(own_settings.read(file).models) == 12


def test_cache_gives_what_was_put_until_the_file_changes(tmp_path: Path) -> None:
    path, file = tmp_path / "m\udcff.gguf", tmp_path / "library.db"
    facts = HeaderFacts(kind="model", n_params=2**70, bits_per_weight=4.5)
    with HeaderCache(file) as cache:
        cache.put_header(path, STAMP, facts)
    assert file.stat().st_mode & 0o777 == 0o600
    with HeaderCache(file) as cache:
        assert cache.header(path, STAMP) == facts
        assert cache.header(path, Stamp(1, 2, 4)) is None
        assert cache.get(FactKind.VERDICT, path, STAMP) is None


def test_cache_that_nobody_writes_to_is_not_made(tmp_path: Path) -> None:
    with HeaderCache(tmp_path / "library.db") as cache:
        assert cache.header(tmp_path, STAMP) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["text", "middle", "schema", "table", "empty"])
def test_cache_that_is_damaged_is_made_anew(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "library.db"
    with HeaderCache(file) as cache:
        for number in range(500):
            cache.put(FactKind.HEADER, tmp_path / str(number), STAMP, {"x": "y" * 100})
    match damage:
        case "text":
            file.write_bytes(b"no database at all" * 100)
        case "middle":
            data = bytearray(file.read_bytes())
            data[100 : len(data)] = bytes(len(data) - 100)
            file.write_bytes(data)
        case "empty":
            file.write_bytes(b"")
        case "schema":
            with sqlite3.connect(file) as connection:
                connection.execute("PRAGMA user_version = 99")
            connection.close()
        case _:
            with sqlite3.connect(file) as connection:
                connection.execute("DROP TABLE facts")
            connection.close()
    for expected in (None, HeaderFacts(kind="model")):
        # The first one may find the damage only when it reads.
        with HeaderCache(file) as cache:
            assert cache.header(tmp_path, STAMP) == expected
            cache.put_header(tmp_path, STAMP, HeaderFacts(kind="model"))
        with HeaderCache(file) as cache:
            cache.header(tmp_path, STAMP)
            cache.put_header(tmp_path, STAMP, HeaderFacts(kind="model"))


def test_cache_in_a_folder_that_cannot_be_written_remembers_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with HeaderCache(tmp_path / "file" / "library.db") as cache:
        cache.put_header(tmp_path, STAMP, HeaderFacts())
        assert cache.header(tmp_path, STAMP) == HeaderFacts()
