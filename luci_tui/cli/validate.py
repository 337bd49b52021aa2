"""`luci validate`: what is wrong with GGUF files, before anything loads them."""

from __future__ import annotations

import re
import sys
import time
from typing import Annotated

import typer

from luci_tui import paths
from luci_tui.cli.jobs import result_of
from luci_tui.cli.output import print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.engine import job_frames
from luci_tui.engine.job_process import run_job
from luci_tui.errors import ConfigError
from luci_tui.gguf.findings import FileReport, Verdict
from luci_tui.units import format_bytes

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci validate model.gguf
  luci validate --deep models/*.gguf
  luci validate model.gguf --sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@app.command(epilog=EPILOG)
def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="GGUF files.")],
    deep: Annotated[
        bool, typer.Option("--deep", help="Also look for NaN and infinity in every tensor block.")
    ] = False,
    sha256: Annotated[
        str, typer.Option(metavar="HEX", help="The hash that the file must have.")
    ] = "",
    json_output: Annotated[
        bool, typer.Option("--json", help="Print a list with one object per file.")
    ] = False,
) -> None:
    """Check GGUF files with luci's own parser.

    llama.cpp reads none of them.

    Each finding has the code of its rule (docs/validator.md lists them), its severity, the byte it
    is about and one sentence. Exit code 1: a file is rejected, and luci will not load it.
    """
    if sha256 and (len(files) != 1 or not _SHA256.fullmatch(sha256)):
        msg = f"--sha256 {sha256[:70]} cannot be used: give 64 hexadecimal digits and one file."
        raise ConfigError(msg)
    spec = job_frames.ValidateSpec(paths=tuple(files), deep=deep, sha256=sha256)
    reports = run_async(_validate(spec))
    if json_output:
        print_json([report.model_dump(mode="json") for report in reports])
    else:
        for report in reports:
            _print(report)
    if any(report.verdict is Verdict.REJECTED for report in reports):
        raise typer.Exit(1)


async def _validate(spec: job_frames.ValidateSpec) -> tuple[FileReport, ...]:
    started_s = time.monotonic()
    events = run_job(spec, paths.logs_folder() / "jobs.log")
    result = await result_of(
        events,
        job_frames.ValidateResult,
        lambda event: _progress_line(event, time.monotonic() - started_s),
    )
    return result.reports


def _progress_line(event: job_frames.JobProgress, elapsed_s: float) -> str:
    rate = format_bytes(int(event.n_done / elapsed_s)) if elapsed_s > 0 else "?"
    total = max(event.n_total, 1)
    return f"checking {event.what}: {event.n_done / total:.0%} of {format_bytes(total)}, {rate}/s"


def _print(report: FileReport) -> None:
    print_line(f"{report.path}: {report.verdict}")
    for finding in report.findings:
        print_line(
            f"  {finding.severity} {finding.code} at byte {finding.offset}: {finding.message}"
        )
    sys.stdout.flush()
