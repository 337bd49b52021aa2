"""`luci catalog check`: compare the catalogue with the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui import paths
from luci_tui.catalog.catalog import load_catalog
from luci_tui.cli.output import Progress, narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import DownloadError
from luci_tui.units import format_count, format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from luci_tui.catalog.entries import CatalogEntry
    from luci_tui.library.catalog_check import Checked

MAX_WAIT_S = 330.0
"""The hub counts requests over five minutes."""
N_PARALLEL = 4
EXIT_DRIFT = 1

EPILOG = """\b
Examples:
  luci catalog check
  luci catalog check smollm2-360m llama3.2-3b
  luci catalog check --json
"""


def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; none = all.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one list.")] = False,
) -> None:
    """Ask the hub whether entries were renamed, changed or removed.

    Exit code 1 if anything was. Two questions are asked for each repository; where the hub allows
    no more for the moment, the command waits as long as it says.
    """
    known = load_catalog(paths.shipped_catalog_file(), paths.own_catalog_file())
    entries = [known.resolve(name) for name in names] if names else list(known.entries)
    checked = run_async(_check(entries))
    if json_output:
        print_json([_as_data(one) for one in checked])
    else:
        _show(checked)
    problems = [one for one in checked if one.problem]
    n_drifted = sum(bool(one.drifts) for one in checked)
    narrate(
        f"{format_count(len(checked), 'model')} asked for, {n_drifted} drifted, "
        f"{len(problems)} not compared."
    )
    if n_drifted:
        raise typer.Exit(EXIT_DRIFT)
    if problems:
        msg = f"{len(problems)} of {len(checked)} could not be compared. {problems[0].problem}"
        raise DownloadError(msg, code="not_compared")


async def _check(entries: Sequence[CatalogEntry]) -> tuple[Checked, ...]:
    from luci_tui.download.hub import Hub, HubOptions
    from luci_tui.library.catalog_check import check_catalog

    progress = Progress()

    def wait(seconds: float, reason: str) -> None:
        progress.show(f"waiting {format_duration(seconds)}: {reason}")

    def report(n_done: int, n_all: int) -> None:
        width = 30
        bar = "#" * (width * n_done // max(1, n_all))
        progress.show(f"[{bar:<{width}}] {n_done} of {n_all} repositories")

    options = HubOptions(max_wait_s=MAX_WAIT_S, n_parallel=N_PARALLEL, on_wait=wait)
    try:
        return await check_catalog(Hub(options=options), entries, report)
    finally:
        progress.clear()


def _show(checked: Sequence[Checked]) -> None:
    for one in checked:
        for drift in one.drifts:
            print_line(f"{drift.kind:<8}  {one.entry.name}: {drift.text}")
        if one.problem:
            print_line(f"unknown   {one.entry.name}: {one.problem}")


def _as_data(checked: Checked) -> dict[str, object]:
    return {
        "name": checked.entry.name,
        "repo": checked.entry.repo,
        "drifts": [{"kind": drift.kind.value, "text": drift.text} for drift in checked.drifts],
        "problem": checked.problem or None,
    }
