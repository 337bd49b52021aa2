"""`luci backup`: copy what cannot be fetched again, and check the copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from luci_tui import paths
from luci_tui.cli.confirm import confirm
from luci_tui.cli.llm import load_library
from luci_tui.cli.output import Progress, narrate, print_json, print_line
from luci_tui.library.backup import BackupReport, OnBytes, plan_backup, run_backup, verify_backup
from luci_tui.units import format_bytes, format_count, format_duration

EPILOG = """\b
Examples:
  luci backup models /mnt/disk/luci
  luci backup models /mnt/disk/luci --yes
  luci backup models /mnt/disk/luci --verify
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.callback(epilog=EPILOG)
def backup() -> None:
    """Copy models and their settings to another folder or disk."""


@app.command(epilog=EPILOG)
def models(
    destination: Annotated[
        Path, typer.Argument(metavar="[DEST]", help="A folder; made if need be.")
    ] = Path("luci-backup"),
    verify: Annotated[
        bool, typer.Option("--verify", help="Read an earlier backup again and check every sum.")
    ] = False,
    is_sure: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Copy models with manifests and settings to DEST.

    Installed, plain and custom models are copied.

    What is there already is not copied again, and what was broken off goes on where it stopped.
    Every file is compared with the sum that it was installed with; SHA256SUMS in DEST lists them
    all. Copying the folder's contents into luci's home folder brings everything back. Exit code 1:
    a file is damaged.
    """
    destination = destination.expanduser().absolute()
    line = Progress()
    if verify:
        report = _with_progress(line, lambda told: verify_backup(destination, told))
        _print(report, destination, "checked", as_json=json_output)
        return
    library = load_library()
    plan = plan_backup(paths.luci_home(), library.places, library.models, destination)
    n_files = len(plan.files) - len(plan.present)
    narrate(
        f"{format_count(plan.n_models, 'model')}, {format_bytes(plan.total_bytes)} in all; "
        f"{format_count(n_files, 'file')} with {format_bytes(plan.to_copy_bytes)} to copy to "
        f"{destination}."
    )
    if n_files:
        confirm("Copy them?", is_sure=is_sure)
    report = _with_progress(line, lambda told: run_backup(plan, told))
    _print(report, destination, "copied", as_json=json_output)


def _with_progress(line: Progress, work: Callable[[OnBytes], BackupReport]) -> BackupReport:
    start_s = time.monotonic()

    def told(name: str, done: int, total: int) -> None:
        elapsed_s = max(time.monotonic() - start_s, 1e-3)
        left_s = elapsed_s * (total - done) / max(done, 1)
        line.show(
            f"{format_bytes(done)} of {format_bytes(total)}, "
            f"{format_bytes(int(done / elapsed_s))}/s, {format_duration(left_s)} left: {name}"
        )

    try:
        return work(told)
    finally:
        line.clear()


def _print(report: BackupReport, destination: Path, word: str, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "destination": str(destination),
                "copied_files": report.n_copied,
                "copied_bytes": report.copied_bytes,
                "good_files": report.n_present + report.n_copied,
                "problems": list(report.problems),
            }
        )
    elif word == "copied":
        size = format_bytes(report.copied_bytes)
        print_line(
            f"{format_count(report.n_copied, 'file')} copied ({size}), "
            f"{report.n_present} were there already."
        )
    else:
        print_line(f"{format_count(report.n_present, 'file')} checked and good.")
    for problem in report.problems:
        narrate(f"luci: {problem}")
    if report.problems:
        raise typer.Exit(1)
