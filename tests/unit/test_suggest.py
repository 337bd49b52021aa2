import pytest

from luci_tui.catalog.catalog import load_catalog
from luci_tui.catalog.entries import CatalogEntry
from luci_tui.library.fit import Room
from luci_tui.library.suggest import SHARE, Pace, suggest
from luci_tui.paths import shipped_catalog_file

GIB = 1024**3


def entry(name: str, size_gib: float, **fields: object) -> CatalogEntry:
    values: dict[str, object] = {
        "name": name,
        "repo": "org/name",
        "files": ("a.gguf",),
        "size_bytes": round(size_gib * GIB),
        "parameters_b": size_gib * 1.6,
        "n_ctx": 4096,
        "tier": 1,
        "tags": ("chat",),
        "licence": "mit",
        **fields,
    }
    return CatalogEntry.model_validate(values)


@pytest.mark.parametrize("ram_gib", [1, 2, 4, 8, 16, 64, 512])
def test_suggestions_from_the_catalogue_fit_and_are_of_different_pace(ram_gib: int) -> None:
    entries = load_catalog(shipped_catalog_file()).entries
    found = suggest(entries, Room(ram_gib * GIB), 1000 * GIB)
    assert found
    assert len({one.pace for one in found}) == len(found)
    assert all(one.needed_bytes <= SHARE * ram_gib * GIB for one in found)
    assert all("chat" in one.entry.tags for one in found)
    if ram_gib >= 16:
        assert [one.pace for one in found] == list(Pace)


def test_suggestions_for_no_memory_or_no_disk_are_none() -> None:
    entries = load_catalog(shipped_catalog_file()).entries
    assert suggest(entries, Room(20 * 1024**2), 1000 * GIB) == ()
    assert suggest(entries, Room(64 * GIB), 0) == ()


@pytest.mark.parametrize(
    "fields",
    [{"gated": True}, {"is_runnable": False}, {"tags": ("code",)}, {"tags": ("chat", "classic")}],
)
def test_model_that_is_not_for_everybody_is_not_suggested(fields: dict[str, object]) -> None:
    assert suggest([entry("a", 0.5, **fields)], Room(64 * GIB), 100 * GIB) == ()


def test_mixture_of_experts_counts_by_what_a_token_reads() -> None:
    mixture = entry("a", 12, parameters_b=21.0, active_parameters_b=1.0)
    (found,) = suggest([mixture], Room(64 * GIB), 100 * GIB)
    assert found.pace is Pace.QUICK


def test_model_that_fits_into_a_gpu_is_quicker_there() -> None:
    model = entry("a", 5)
    (in_ram,) = suggest([model], Room(64 * GIB), 100 * GIB)
    (in_vram,) = suggest([model], Room(64 * GIB, (24 * GIB,)), 100 * GIB)
    assert (in_ram.pace, in_vram.pace) == (Pace.SLOW, Pace.QUICK)


def test_of_one_pace_the_higher_tier_and_then_the_larger_is_suggested() -> None:
    small, large = entry("small", 0.2), entry("large", 0.6)
    clever = entry("clever", 0.4, tier=2)
    assert suggest([small, large], Room(64 * GIB), 100 * GIB)[0].entry.name == "large"
    assert suggest([small, large, clever], Room(64 * GIB), 100 * GIB)[0].entry.name == "clever"
