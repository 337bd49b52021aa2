"""The catalogue that ships with luci, a person's own entries, names and tiers."""

from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui import paths
from luci_tui.catalog.catalog import Catalog, get_model_info, load_catalog
from luci_tui.catalog.tiers import CUSTOM_TIER, declared_tier
from luci_tui.errors import CatalogError, ConfigError

ENTRY = """
[[model]]
name = "mine"
aliases = ["my-model"]
repo = "me/mine-GGUF"
files = ["mine.gguf"]
size_bytes = 1000
parameters_b = 1.0
n_ctx = 2048
tier = 0
licence = "mit"
"""


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    return load_catalog(paths.shipped_catalog_file())


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "catalog.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_entry_resolves_by_name_and_alias(shipped: Catalog) -> None:
    assert len(shipped.entries) == 161
    for entry in shipped.entries:
        for name in (entry.name, *entry.aliases, entry.name.upper()):
            assert shipped.resolve(name) is entry


def test_runnable_entries_are_complete_files_or_sets(shipped: Catalog) -> None:
    runnable = [entry for entry in shipped.entries if entry.is_runnable]
    assert {entry.name for entry in shipped.entries} - {e.name for e in runnable} == {"bitnet-2b"}
    for entry in runnable:
        assert entry.size_bytes > 10_000_000
        assert entry.repo.count("/") == 1
        if "-of-" in entry.files[0]:
            n_shards = int(entry.files[0].rsplit("-of-", 1)[1].removesuffix(".gguf"))
            assert len(entry.files) == n_shards == len(set(entry.files))
    assert len(runnable) >= 85


def test_size_fits_the_parameters(shipped: Catalog) -> None:
    """Between two bits a weight and thirty-two: what a listing got wrong by a factor shows here."""
    for entry in shipped.entries:
        bits = entry.size_bytes * 8 / (entry.parameters_b * 1e9)
        assert 1.5 < bits < 33, entry.name


def test_tiers_add_up_and_most_follow_the_rule(shipped: Catalog) -> None:
    counts = shipped.tier_counts()
    assert sum(counts.values()) == len(shipped.entries)
    agreeing = [e for e in shipped.entries if declared_tier(e.parameters_b) == e.tier]
    assert len(agreeing) == 152


def test_tier_of_a_file_that_says_too_little_is_two() -> None:
    assert declared_tier(None) == declared_tier(0) == CUSTOM_TIER
    assert [declared_tier(size) for size in (0.1, 3.0, 8.0, 70.0)] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["llama3", "smollm2-135", "qwen", "", "../etc/passwd"])
def test_part_of_a_name_stands_for_nothing(shipped: Catalog, name: str) -> None:
    with pytest.raises(CatalogError) as caught:
        shipped.resolve(name)
    assert caught.value.code == "unknown_model"


def test_wrong_name_gets_suggestions(shipped: Catalog) -> None:
    with pytest.raises(CatalogError, match="smollm2-135m"):
        shipped.resolve("smolm2-135m")
    with pytest.raises(CatalogError, match="luci catalog list"):
        shipped.resolve("zzzzzzzzzz")


def test_list_is_by_tier_and_size_and_by_tag(shipped: Catalog) -> None:
    small = shipped.list_models(tier=0)
    assert {entry.tier for entry in small} == {0}
    assert [entry.size_bytes for entry in small] == sorted(entry.size_bytes for entry in small)
    assert all("code" in entry.tags for entry in shipped.list_models(tag="code"))
    assert len(shipped.list_models()) == len(shipped.entries)


def test_info_is_all_that_is_known(shipped: Catalog) -> None:
    facts = get_model_info(shipped, "gpt-oss-120b")
    files = facts["files"]
    assert isinstance(files, list)
    assert len(files) == 3


def test_own_entry_is_added(tmp_path: Path) -> None:
    catalog = load_catalog(paths.shipped_catalog_file(), own(tmp_path, ENTRY))
    assert len(catalog.entries) == 162
    assert catalog.resolve("my-model").repo == "me/mine-GGUF"


def test_own_entry_replaces_what_it_says_and_keeps_the_rest(
    tmp_path: Path, shipped: Catalog
) -> None:
    text = '[[model]]\nname = "smollm2-135m"\ntier = 3\naliases = ["tiny"]\n'
    catalog = load_catalog(paths.shipped_catalog_file(), own(tmp_path, text))
    changed = catalog.resolve("tiny")
    assert (changed.name, changed.tier) == ("smollm2-135m", 3)
    assert changed.repo == shipped.resolve("smollm2-135m").repo
    assert len(catalog.entries) == len(shipped.entries)


def test_no_own_file_is_no_error(tmp_path: Path) -> None:
    assert load_catalog(paths.shipped_catalog_file(), tmp_path / "none.toml").entries


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[model]", "cannot be read"),
        ("models = 5", "nothing else"),
        ('[[model]]\nname = "x"', '"repo"'),
        (ENTRY.replace("tier = 0", "tier = 9"), '"tier"'),
        (ENTRY.replace("mine.gguf", "../mine.gguf"), '"files"'),
        (ENTRY.replace("mine.gguf", "/etc/mine.gguf"), '"files"'),
        (ENTRY.replace("mine.gguf", "mine.bin"), '"files"'),
        (ENTRY.replace("me/mine-GGUF", "me"), '"repo"'),
        (ENTRY.replace("me/mine-GGUF", "../mine"), '"repo"'),
        (ENTRY.replace('"mine"', '"a b"', 1), '"name"'),
        (ENTRY + 'sha256 = "abc"', '"sha256"'),
        (ENTRY + "colour = 5", '"colour"'),
        (ENTRY.replace('"my-model"', '"smollm2-135m"'), "twice"),
    ],
)
def test_bad_own_entry_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_catalog(paths.shipped_catalog_file(), own(tmp_path, text))
    assert said in caught.value.message
