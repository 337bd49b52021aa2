from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui import paths
from luci_tui.catalog.catalog import load_catalog
from luci_tui.cli.download_bars import line_of
from luci_tui.cli.install_names import CORE, wished
from luci_tui.errors import CatalogError, ConfigError
from luci_tui.host.api.download_messages import DownloadRecord
from luci_tui.units import parse_rate


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))


def test_core_is_one_small_model_of_each_of_the_tiers_0_to_2() -> None:
    catalog = load_catalog(paths.shipped_catalog_file())
    entries = [catalog.resolve(name) for name in CORE]
    assert [entry.tier for entry in entries] == [0, 1, 2]
    for entry in entries:
        assert entry.is_runnable
        assert not entry.gated
        assert entry.sha256
        alike = [
            one
            for one in catalog.list_models(tier=entry.tier, tag="chat")
            if one.is_runnable and not one.gated and one.sha256
        ]
        assert entry.size_bytes == min(one.size_bytes for one in alike)


def test_tier_and_all_are_what_runs_here() -> None:
    catalog = load_catalog(paths.shipped_catalog_file())
    runnable = [one for one in catalog.entries if one.is_runnable]
    assert len(wished(["all"])) == len(runnable)
    assert sum(len(wished(["tier", str(tier)])) for tier in range(4)) == len(runnable)
    assert all(one.size_bytes for one in wished(["tier", "0"]))


def test_names_are_resolved_and_doubles_are_one() -> None:
    (one,) = wished(["smollm2-360m", "SmolLM2-360M"])
    assert one.text == "smollm2-360m"
    assert [one.size_bytes for one in wished(["hf:a/b", "https://x/y.gguf"])] == [None, None]


@pytest.mark.parametrize("words", [["tier"], ["tier", "4"], ["core", "all"], ["all", "x"]])
def test_words_that_mean_nothing_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError):
        wished(words)


def test_part_of_a_name_stands_for_nothing() -> None:
    with pytest.raises(CatalogError, match="Did you mean"):
        wished(["smollm2-360"])


@pytest.mark.parametrize(
    ("text", "bytes_per_s"),
    [
        ("5MB", 5_000_000),
        ("800k", 800_000),
        ("1.5MiB/s", 1_572_864),
        ("2g", 2_000_000_000),
        ("123", 123),
        ("0", 0),
        ("none", 0),
        ("default", None),
    ],
)
def test_rate_is_read_as_people_write_it(text: str, bytes_per_s: int | None) -> None:
    assert parse_rate(text) == bytes_per_s


@pytest.mark.parametrize("text", ["", "fast", "-5", "5 parsecs", "1e9", "5i", "9" * 30])
def test_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no rate"):
        parse_rate(text)


def record(**fields: object) -> DownloadRecord:
    file = {
        "name": "a.gguf",
        "step": "downloading",
        "done_bytes": 512 * 1024,
        "size_bytes": 1024 * 1024,
        "rate_bytes_per_s": 256 * 1024,
        "n_retries": 2,
        "note": "",
    }
    values: dict[str, object] = {
        "id": 1,
        "name": "a",
        "source": "test",
        "version": "0" * 12,
        "state": "running",
        "done_bytes": 512 * 1024,
        "size_bytes": 1024 * 1024,
        "is_size_known": True,
        "rate_bytes_per_s": 256 * 1024,
        "left_s": 2.0,
        "files": [file],
        "created_at": 0.0,
    }
    return DownloadRecord.model_validate(values | fields)


def test_line_says_how_far_how_fast_and_how_long() -> None:
    assert line_of(record()) == (
        "a  [##########----------]  50%  512 KiB of 1.00 MiB  256 KiB/s  2.0 s left  2 retries"
    )


def test_line_of_a_file_of_unknown_size_has_no_bar() -> None:
    line = line_of(record(is_size_known=False, left_s=None, rate_bytes_per_s=0.0))
    assert line == "a  512 KiB  2 retries"


def test_line_of_what_waits_or_is_done_is_short() -> None:
    assert "waits for its turn" in line_of(record(state="queued"))
    assert line_of(record(state="done")) == "a  1.00 MiB"
