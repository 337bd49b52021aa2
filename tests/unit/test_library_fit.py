"""What `luci fit` works out, and where its figures are from."""

from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui import paths
from luci_tui.catalog.catalog import Catalog, load_catalog
from luci_tui.gguf.estimate import ContextShape, estimate
from luci_tui.gguf.header import read_header
from luci_tui.library.fit import QuantSize, Room, Subject, fit, largest_context
from luci_tui.library.guess import guessed_header, needed_bytes
from luci_tui.library.measured import note_measured, read_measured
from luci_tui.library.quant_sizes import TYPES, median_bits, sizes_from_catalog
from tests.support.arch_models import TinyArch, write_arch_model

GIB = 1024**3
MB = 1_000_000
QUANTS = tuple(
    QuantSize(kind, size * MB, 8.0, "a test")
    for kind, size in zip(TYPES, (90, 70, 60, 50, 40, 30), strict=True)
)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(paths.shipped_catalog_file())


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    header = read_header(write_arch_model(TinyArch.LLAMA, tmp_path / "tiny.gguf"))
    n_params = sum(tensor.n_values for tensor in header.tensors)
    sources = {"weights": "w", "kv": "k", "compute": "c"}
    return Subject("tiny", header, n_params, header.n_ctx_train, None, "tiny.gguf", sources)


def test_figures_are_those_of_the_estimate(subject: Subject) -> None:
    found = fit(subject, Room(GIB), QUANTS, n_ctx=1024)
    memory = estimate(subject.header, ContextShape(n_ctx=1024))
    assert found.weights_bytes == memory.weights_bytes
    assert (found.rows[0].kv_type, found.rows[0].kv_bytes) == ("f16", memory.kv_bytes)
    assert found.rows[0].needed_bytes == memory.needed_bytes
    assert found.rows[0].kv_bytes > found.rows[1].kv_bytes > found.rows[2].kv_bytes
    assert found.rows[0].largest_n_ctx == {"RAM": subject.n_ctx_train}
    assert found.fits
    assert found.to_json()["fits"] is True


def test_largest_context_is_the_largest_that_fits(subject: Subject) -> None:
    def needed(n_ctx: int) -> int:
        return estimate(subject.header, ContextShape(n_ctx=n_ctx)).needed_bytes

    free = needed(1000)
    found = largest_context(needed, free, 2048)
    assert found % 256 == 0
    assert needed(found) <= free < needed(found + 256)
    assert largest_context(needed, 0, 2048) == 0
    assert largest_context(needed, needed(2048), 2048) == 2048
    row = fit(subject, Room(0, (free, 0)), QUANTS).rows[0]
    assert row.largest_n_ctx == {"RAM": 0, "VRAM": found}


def test_advice_is_the_largest_type_that_fits_and_never_one_that_is_too_small(
    subject: Subject,
) -> None:
    def types(free_bytes: int) -> dict[str, str]:
        found = fit(subject, Room(free_bytes), QUANTS)
        return {one.purpose: one.type for one in found.advice}

    context = fit(subject, Room(0), QUANTS).rows[0]
    rest = context.needed_bytes - fit(subject, Room(0), QUANTS).weights_bytes
    assert set(types(GIB).values()) == {"Q8_0"}
    assert types(rest + 55 * MB) == {"chat": "Q4_K_M", "code": "", "reasoning": "Q4_K_M"}
    assert types(rest + 65 * MB) == {"chat": "Q5_K_M", "code": "Q5_K_M", "reasoning": "Q5_K_M"}
    assert set(types(rest // 2).values()) == {""}
    nothing = fit(subject, Room(10), QUANTS).advice[0]
    assert "Nothing from Q4_K_M up fits" in nothing.sentence
    gpu = fit(subject, Room(100 * GIB, (GIB,)), QUANTS).advice[0]
    assert gpu.place == "VRAM"


def test_encoder_gets_no_advice_to_chat(tmp_path: Path) -> None:
    header = read_header(write_arch_model(TinyArch.BERT, tmp_path / "bert.gguf"))
    subject = Subject("bert", header, 1000, 512, None, "", {})
    found = fit(subject, Room(GIB), QUANTS)
    assert [row.kv_type for row in found.rows] == ["f16"]
    assert {one.type for one in found.advice} == {""}


def test_guessed_shape_has_about_the_parameters_and_the_cache_of_real_models() -> None:
    for parameters_b, real_kv_bytes in ((8.03, 131_072), (70.6, 327_680), (3.2, 114_688)):
        header = guessed_header(parameters_b, None, 131_072)
        layers = [one for one in header.tensors if one.name.startswith("blk.")]
        assert sum(one.n_values for one in layers) == pytest.approx(parameters_b * 1e9, rel=0.25)
        kv_bytes = estimate(header, ContextShape(n_ctx=4096)).kv_bytes / 4096
        assert real_kv_bytes / 2 < kv_bytes < real_kv_bytes * 2
    mixed = guessed_header(46.7, 12.9, 32_768)
    assert 30 <= mixed.n_layers <= 70


def test_bits_per_weight_come_from_the_catalogue_or_from_the_blocks(catalog: Catalog) -> None:
    medians = median_bits(catalog.entries)
    bits, n_files = medians["Q4_K_M"]
    assert n_files > 50
    assert 4.5 < bits < 5.2
    sizes = sizes_from_catalog(8_000_000_000, catalog.entries)
    assert [one.type for one in sizes] == list(TYPES)
    assert [one.weights_bytes for one in sizes] == sorted(
        (one.weights_bytes for one in sizes), reverse=True
    )
    by_type = {one.type: one for one in sizes}
    assert "median of" in by_type["Q4_K_M"].source
    assert by_type["Q8_0"].bits_per_weight == pytest.approx(8.5, abs=0.2)
    assert all(one.source for one in sizes)


def test_need_of_every_entry_of_the_catalogue_is_more_than_its_file(catalog: Catalog) -> None:
    for entry in catalog.entries:
        assert entry.size_bytes < needed_bytes(entry) < entry.size_bytes * 1.6 + 3 * GIB


def test_measured_memory_is_kept_as_long_as_the_file_is_the_same(tmp_path: Path) -> None:
    cache, model = tmp_path / "library.db", tmp_path / "m.gguf"
    note_measured(cache, model, 4096, 5)
    assert read_measured(cache, model) is None
    model.write_bytes(b"one")
    assert read_measured(cache, model) is None
    note_measured(cache, model, 4096, 900)
    note_measured(cache, model, 4096, 700)
    found = read_measured(cache, model)
    assert found is not None
    assert (found.n_ctx, found.rss_bytes) == (4096, 900)
    note_measured(cache, model, 8192, 800)
    again = read_measured(cache, model)
    assert again is not None
    assert (again.n_ctx, again.rss_bytes) == (8192, 800)
    model.write_bytes(b"another")
    assert read_measured(cache, model) is None
