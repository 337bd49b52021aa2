"""What `luci llm` prints: a row for each model, a line for each fact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from luci_tui.library.records import LibraryModel, ModelState
from luci_tui.units import format_bytes, format_parameters

if TYPE_CHECKING:
    from luci_tui.catalog.entries import CatalogEntry

TIER_NAMES = ("basic", "general", "advanced", "expert")
"""Of the tiers 0 to 3, as in catalog/entries.py, which takes a while to import."""
_TIER_SOURCES = {"user": "yours", "catalogue": "catalogue", "computed": "computed", "default": "?"}
_WIDTH = 13


def list_head(models: Sequence[LibraryModel], entries: Sequence[CatalogEntry]) -> str:
    """Name the columns of `list_rows`."""
    width = _name_width(models, entries)
    return (
        f"{'':<4}{'tier':<11}  {'name':<{width}}  {'size':>9}  {'params':>6}  {'quant':<7}  "
        f"{'context':>7}  from"
    )


def list_rows(models: Sequence[LibraryModel], entries: Sequence[CatalogEntry]) -> list[str]:
    """Give a row for each model, then one for each entry that is not here."""
    width = _name_width(models, entries)
    rows = [_row(one, width) for one in models]
    return rows + [_entry_row(entry, width) for entry in entries]


def _name_width(models: Sequence[LibraryModel], entries: Sequence[CatalogEntry]) -> int:
    names = [one.name for one in models] + [entry.name for entry in entries]
    return max((len(name) for name in names), default=0)


def _row(one: LibraryModel, width: int) -> str:
    header = one.header
    n_params = format_parameters(header.n_params) if header.n_params else ""
    n_ctx = str(header.n_ctx_train) if header.n_ctx_train else ""
    where = one.found.kind.value
    if one.found.store != "luci":
        where = f"{where} ({one.found.store})"
    state = "" if one.state is ModelState.OK else f"  {one.state.value}: {one.problem}"
    return (
        f"{'on' if one.is_enabled else 'off':<4}{one.tier} {_TIER_SOURCES[one.tier_source]:<9}  "
        f"{one.name:<{width}}  {format_bytes(one.size_bytes):>9}  {n_params:>6}  "
        f"{header.quantization:<7}  {n_ctx:>7}  {where}{state}"
    )


def _entry_row(entry: CatalogEntry, width: int) -> str:
    size = f"{'' if entry.size_is_exact else '~'}{format_bytes(entry.size_bytes)}"
    runs = "" if entry.is_runnable else ", does not run here"
    return (
        f"{'-':<4}{entry.tier} {'catalogue':<9}  {entry.name:<{width}}  {size:>9}  "
        f"{entry.parameters_b:>5g}B  {'':<7}  {entry.n_ctx:>7}  not installed{runs}"
    )


def info_lines(one: LibraryModel) -> list[str]:
    """Give all that is known about a model."""
    found, header = one.found, one.header
    measured = "not yet" if one.measured_tier is None else str(one.measured_tier)
    facts = [
        ("name", one.name),
        ("aliases", ", ".join(one.aliases)),
        ("enabled", "yes" if one.is_enabled else f"no; `luci llm enable {one.name}` changes that"),
        ("state", one.state.value),
        ("problem", one.problem),
        ("from", found.kind.value if found.store == "luci" else f"{found.kind}, {found.store}"),
        ("file", str(found.path)),
        ("shards", str(len(found.files)) if len(found.files) > 1 else ""),
        ("projector", "" if found.mmproj is None else str(found.mmproj)),
        ("card", "" if one.card is None else str(one.card)),
        ("size", f"{format_bytes(one.size_bytes)} ({one.size_bytes:,} bytes)"),
        ("title", header.title),
        ("architecture", header.architecture),
        ("parameters", _parameters(one)),
        ("quant", _quant(one)),
        ("context", f"{header.n_ctx_train} tokens in training" if header.n_ctx_train else ""),
        ("needs", _needs(one)),
        ("license", header.license),
        ("repository", found.repo),
        ("catalogue", found.catalog_name),
        ("tier", f"{one.tier} ({TIER_NAMES[one.tier]}, {one.tier_source.value})"),
        ("measured tier", measured),
        ("notes", one.notes),
    ]
    return [f"{label:<{_WIDTH}}  {value}" for label, value in facts if value]


def _parameters(one: LibraryModel) -> str:
    header = one.header
    if not header.n_params:
        return ""
    words = f"{format_parameters(header.n_params)} ({header.n_params:,})"
    if header.n_params_active < header.n_params:
        words += f", {format_parameters(header.n_params_active)} active"
    return words


def _quant(one: LibraryModel) -> str:
    header = one.header
    if not header.bits_per_weight:
        return header.quantization
    return f"{header.quantization or 'mixed'}, {header.bits_per_weight:.2f} bits per weight"


def _needs(one: LibraryModel) -> str:
    if not one.header.needed_bytes:
        return ""
    needed = format_bytes(one.header.needed_bytes + one.found.mmproj_bytes)
    return f"about {needed} of memory; `luci fit {one.name}` tells more"
