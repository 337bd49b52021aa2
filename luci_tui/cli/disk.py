"""`luci disk`: what takes room beside the models in use, and how to get it back."""

from __future__ import annotations

from typing import Annotated

import typer

from luci_tui import paths
from luci_tui.cli.confirm import confirm
from luci_tui.cli.llm import load_library
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.library.disk import DiskItem, DiskReport, clean, examine, summary
from luci_tui.units import format_bytes, format_count

EPILOG = """\b
Examples:
  luci disk
  luci disk --clean
  luci disk --json | jq '.items[] | select(.cleanable)'
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=EPILOG)
def disk(
    wants_clean: Annotated[
        bool, typer.Option("--clean", help="Remove what can be removed, after asking.")
    ] = False,
    is_sure: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what takes room on the disk and what can be cleaned.

    That is unfinished downloads, fetched sources, old versions and doubles.

    --clean removes what luci itself has left and nobody uses: never a model, never a file of
    another program, never what a download waits for.
    """
    library = load_library()
    report = examine(paths.luci_home(), library.places, library.models)
    if json_output and not wants_clean:
        print_json(_as_json(report, ()))
        return
    if not json_output:
        _print(report)
    if not wants_clean:
        return
    if not report.cleanable:
        narrate("There is nothing to clean.")
        return
    n_items = format_count(len(report.cleanable), "item")
    size = format_bytes(sum(one.size_bytes for one in report.cleanable))
    confirm(f"Remove {n_items} with {size} for good?", is_sure=is_sure)
    _clean(report, as_json=json_output)


def _print(report: DiskReport) -> None:
    for kind, size_bytes in sorted(report.models.items()):
        print_line(f"{format_bytes(size_bytes):>10}  {kind} models")
    for item in report.items:
        mark = "clean" if item.is_cleanable else "stays"
        print_line(f"{format_bytes(item.size_bytes):>10}  {mark}  {item.kind.value}: {item.path}")
        print_line(f"{'':>10}         {item.detail}")
    narrate(summary(report))


def _clean(report: DiskReport, *, as_json: bool) -> None:
    removed: list[DiskItem] = []
    problems: list[str] = []
    for item, problem in clean(report.cleanable):
        if problem:
            problems.append(problem)
        else:
            removed.append(item)
    if as_json:
        print_json({**_as_json(report, removed), "problems": problems})
    size = format_bytes(sum(one.size_bytes for one in removed))
    narrate(f"{format_count(len(removed), 'item')} with {size} removed.")
    for problem in problems:
        narrate(f"luci: {problem}")
    if problems:
        raise typer.Exit(1)


def _as_json(report: DiskReport, removed: list[DiskItem] | tuple[()]) -> dict[str, object]:
    return {
        "models": report.models,
        "items": [one.to_json() for one in report.items],
        "free_bytes": report.free_bytes,
        "removed": [str(one.path) for one in removed],
    }
