"""`luci models`: how many models there are, of which tiers, and what they take."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from luci_tui.cli.llm import load_library
from luci_tui.cli.llm_text import TIER_NAMES
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.library.records import LibraryModel, ModelKind, ModelState
from luci_tui.library.store import Library
from luci_tui.units import format_bytes, format_count

EPILOG = """\b
Examples:
  luci models info
  luci models info --json
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.callback(epilog=EPILOG)
def models() -> None:
    """Look at all models together; `luci llm` has them one by one."""


@app.command(epilog=EPILOG)
def info(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count the models by origin and by tier, with what they take."""
    library = load_library()
    folder = library.places.models
    free_bytes = shutil.disk_usage(_existing(folder)).free
    kinds = {kind: [one for one in library.models if one.found.kind is kind] for kind in ModelKind}
    tiers = Counter(one.tier for one in library.models if one.is_enabled)
    if json_output:
        print_json(_as_json(library, kinds, tiers, free_bytes))
        return
    print_line(f"{'':<10} {'models':>6} {'enabled':>8} {'size':>10}")
    for kind, found in kinds.items():
        print_line(_row(kind.value, found))
    print_line(_row("all", list(library.models)))
    print_line("")
    for tier, word in enumerate(TIER_NAMES):
        print_line(f"tier {tier} {word:<9} {format_count(tiers[tier], 'enabled model')}")
    print_line("")
    print_line(f"models folder  {folder} ({format_bytes(free_bytes)} free)")
    for place in library.places.custom:
        print_line(f"custom models  {place}")
    for store in library.places.stores:
        if store.folder.is_dir():
            print_line(f"also in use    {store.folder} ({store.kind.value}, read-only)")
    for one in library.models:
        if one.state in (ModelState.BROKEN, ModelState.INCOMPLETE):
            narrate(f"{one.name} is {one.state.value}: {one.problem}")
    for problem in library.problems:
        narrate(f"luci: {problem}")


def _row(label: str, found: list[LibraryModel]) -> str:
    n_enabled = sum(one.is_enabled for one in found)
    size_bytes = sum(one.size_bytes for one in found)
    return f"{label:<10} {len(found):>6} {n_enabled:>8} {format_bytes(size_bytes):>10}"


def _as_json(
    library: Library,
    kinds: dict[ModelKind, list[LibraryModel]],
    tiers: Counter[int],
    free_bytes: int,
) -> dict[str, object]:
    return {
        "kinds": {
            kind.value: {
                "models": len(found),
                "enabled": sum(one.is_enabled for one in found),
                "size_bytes": sum(one.size_bytes for one in found),
            }
            for kind, found in kinds.items()
        },
        "enabled_by_tier": {str(tier): tiers[tier] for tier in range(4)},
        "models_folder": str(library.places.models),
        "free_bytes": free_bytes,
        "custom_folders": [str(folder) for folder in library.places.custom],
        "stores": [
            {"program": store.kind.value, "folder": str(store.folder)}
            for store in library.places.stores
            if store.folder.is_dir()
        ],
        "problems": list(library.problems),
    }


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
