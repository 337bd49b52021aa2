"""`luci catalog`: the models that luci knows by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from luci_tui import paths
from luci_tui.catalog.catalog import Catalog, get_model_info, load_catalog
from luci_tui.catalog.entries import TIER_NAMES, CatalogEntry
from luci_tui.cli import catalog_check
from luci_tui.cli.output import name_columns, narrate, print_json, print_line
from luci_tui.errors import ConfigError
from luci_tui.units import format_bytes

EPILOG = """\b
Examples:
  luci catalog list --tier 0
  luci catalog list --tag code --json
  luci catalog info smollm2-360m
  luci catalog tiers
  luci catalog check smollm2-360m
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.callback(epilog=EPILOG)
def catalog() -> None:
    """Look up models by name, tier and purpose.

    Entries of your own stand in catalog.toml in luci's home folder; one with a name that is known
    replaces what it says of the other.
    """


@app.command("list", epilog=EPILOG)
def list_models(
    tier: Annotated[
        int | None, typer.Option(min=0, max=3, help="0 basic, 1 general, 2 advanced, 3 expert.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Purpose: chat, code, reasoning, …")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one list.")] = False,
) -> None:
    """List the models of the catalogue, by tier and size."""
    known = _load()
    if tag is not None and tag not in known.tags():
        msg = f"No model has the tag {tag!r}. Known are {', '.join(known.tags())}."
        raise ConfigError(msg)
    found = known.list_models(tier=tier, tag=tag)
    if json_output:
        print_json([entry.model_dump(mode="json") for entry in found])
        return
    if not found:
        narrate("No model of the catalogue is like that.")
        return
    name_width = max(len(entry.name) for entry in found)
    name_columns(f"tier  {'name':<{name_width}}  {'size':>9}  {'params':>7}  {'context':>7}  tags")
    for line in _rows(found, name_width):
        print_line(line)
    narrate(f"{len(found)} of {len(known.entries)} models. Tiers are declared, not measured.")


@app.command(epilog=EPILOG)
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or alias of the model.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show everything that the catalogue says about one model."""
    facts = get_model_info(_load(), name)
    if json_output:
        print_json(facts)
        return
    width = max(len(key) for key in facts)
    for key, value in facts.items():
        if value not in (None, "", [], ()):
            print_line(f"{key:<{width}}  {_words(key, value)}")


@app.command(epilog=EPILOG)
def tiers(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count the models of each tier."""
    counts = _load().tier_counts()
    if json_output:
        print_json({str(tier): count for tier, count in counts.items()})
        return
    for tier, count in counts.items():
        print_line(f"{tier}  {TIER_NAMES[tier]:<9} {count:>4}")
    print_line(f"   {'all':<9} {sum(counts.values()):>4}")


app.command("check", epilog=catalog_check.EPILOG)(catalog_check.check)


def _load() -> Catalog:
    return load_catalog(paths.shipped_catalog_file(), paths.own_catalog_file())


def _rows(entries: Sequence[CatalogEntry], name_width: int) -> list[str]:
    return [
        f"{entry.tier:<4}  {entry.name:<{name_width}}  {_size(entry):>9}  "
        f"{entry.parameters_b:>6g}B  {entry.n_ctx:>7}  "
        f"{', '.join(entry.tags)}{'' if entry.is_runnable else '  (does not run here)'}"
        for entry in entries
    ]


def _size(entry: CatalogEntry) -> str:
    return f"{'' if entry.size_is_exact else '~'}{format_bytes(entry.size_bytes)}"


def _words(key: str, value: object) -> str:
    if key == "size_bytes" and isinstance(value, int):
        return f"{value} ({format_bytes(value)})"
    if key == "tier" and isinstance(value, int):
        return f"{value} ({TIER_NAMES[value]}, declared)"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return str(value)
