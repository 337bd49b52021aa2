"""`luci jobs`: what the host works on, or has worked on."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, cast

import typer

from luci_tui.cli.host_link import host_client
from luci_tui.cli.job_results import is_in_part, result_lines
from luci_tui.cli.jobs import Rate
from luci_tui.cli.output import Progress, name_columns, narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import HostError
from luci_tui.units import format_duration

if TYPE_CHECKING:
    from luci_tui.cli.main import Invocation
    from luci_tui.host.api.messages import JobRecord
    from luci_tui.host.wiring import EngineKind

EPILOG = """\b
Examples:
  luci jobs
  luci jobs attach 7
  luci jobs cancel 7
  luci jobs resume 7
"""

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
)

RESUMABLE = ("quantize", "imatrix", "convert", "compare_models")
"""Kinds of job that `luci jobs resume` can begin again."""

JobId = Annotated[str, typer.Argument(metavar="ID", help="As `luci jobs list` shows it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.callback(invoke_without_command=True, epilog=EPILOG)
def jobs(ctx: typer.Context, json_output: JsonOption = False) -> None:
    """List, watch and end the host's jobs.

    A job goes on when the terminal that began it is closed. `luci quantize --background` begins
    one, and so do imatrix, convert, compare and bench.
    """
    if ctx.invoked_subcommand is None:
        _list(_kind(ctx), as_json=json_output)


@app.command("list")
def list_jobs(ctx: typer.Context, json_output: JsonOption = False) -> None:
    """List the jobs, the youngest first."""
    _list(_kind(ctx), as_json=json_output)


def _kind(ctx: typer.Context) -> EngineKind:
    return cast("Invocation", ctx.find_root().obj).engine


def _list(kind: EngineKind, *, as_json: bool) -> None:
    jobs = run_async(_jobs(kind))
    if as_json:
        print_json([job.model_dump(mode="json") for job in jobs])
        return
    if jobs:
        name_columns(f"{'id':>4}  {'state':<11} {'began':<20} job")
    for job in jobs:
        print_line(
            f"{job.id:>4}  {job.state.value:<11} {_when(job):<20} {job.title}{_how_far(job)}"
        )
    if not jobs:
        narrate("There are no jobs.")
    for job in jobs:
        if job.state.value == "interrupted" and job.kind in RESUMABLE:
            narrate(f"Job {job.id} was interrupted; `luci jobs resume {job.id}` goes on with it.")


@app.command()
def show(ctx: typer.Context, job_id: JobId, json_output: JsonOption = False) -> None:
    """Show everything about a job."""
    job = run_async(_job(_kind(ctx), job_id))
    if json_output:
        print_json(job.model_dump(mode="json"))
        return
    print_line(f"job       {job.id}, {job.kind}")
    print_line(f"title     {job.title}")
    print_line(f"state     {job.state.value}{_how_far(job)}")
    print_line(f"began     {_when(job)}")
    if job.ended_at is not None:
        print_line(f"took      {format_duration(job.ended_at - job.created_at)}")
    if job.error is not None:
        print_line(f"failed    {job.error.message}")
    _print_result(job)


@app.command()
def attach(ctx: typer.Context, job_id: JobId, json_output: JsonOption = False) -> None:
    """Watch a job to its end; Ctrl-C lets it go on without you.

    What it has made or found is printed then. The exit code is 0 if it is done, 1 if it was
    cancelled or interrupted or a part of it failed, 2 if it failed.
    """
    try:
        job = run_async(_attach(_kind(ctx), job_id))
    except KeyboardInterrupt:
        narrate(f"Job {job_id} goes on. `luci jobs cancel {job_id}` ends it.")
        raise
    _print_end(job, as_json=json_output)


@app.command()
def cancel(ctx: typer.Context, job_id: JobId, json_output: JsonOption = False) -> None:
    """End a job; what it has not finished leaves no file behind."""
    job = run_async(_cancel(_kind(ctx), job_id))
    if json_output:
        print_json(job.model_dump(mode="json"))
    else:
        print_line(f"Job {job.id} is {job.state.value}.")


@app.command()
def resume(ctx: typer.Context, job_id: JobId, json_output: JsonOption = False) -> None:
    """Begin a job again that was interrupted, cancelled or failed.

    Outputs of `luci quantize` that are finished are kept; anything else begins anew.
    """
    job = run_async(_resume(_kind(ctx), job_id))
    if json_output:
        print_json(job.model_dump(mode="json"))
        return
    print_line(job.id)
    narrate(f"Job {job.id} runs: {job.title}. `luci jobs attach {job.id}` watches it.")


def _print_end(job: JobRecord, *, as_json: bool) -> None:
    from luci_tui.host.api.messages import JobState, to_error

    if as_json:
        print_json(job.model_dump(mode="json"))
    elif job.error is None:
        print_line(f"Job {job.id} is {job.state.value}: {job.title}.")
        _print_result(job)
    if job.error is not None:
        raise to_error(job.error)
    if job.state is not JobState.DONE or is_in_part(job):
        raise typer.Exit(1)


def _print_result(job: JobRecord) -> None:
    lines = result_lines(job)
    if lines:
        print_line("")
    for line in lines:
        print_line(line)


async def _jobs(kind: EngineKind) -> tuple[JobRecord, ...]:
    async with host_client(kind) as client:
        return await client.jobs()


async def _job(kind: EngineKind, job_id: str) -> JobRecord:
    async with host_client(kind) as client:
        return await client.job(job_id)


async def _cancel(kind: EngineKind, job_id: str) -> JobRecord:
    async with host_client(kind) as client:
        return await client.cancel_job(job_id)


async def _resume(kind: EngineKind, job_id: str) -> JobRecord:
    async with host_client(kind) as client:
        return await client.resume_job(job_id)


async def _attach(kind: EngineKind, job_id: str) -> JobRecord:
    from luci_tui.host.api.messages import JobChanged, JobState
    from luci_tui.host.api.messages import Progress as JobProgress

    line, rate = Progress(), Rate()
    try:
        async with host_client(kind) as client, aclosing(client.job_events(job_id)) as events:
            async for event in events:
                if isinstance(event, JobProgress):
                    line.show(rate.words(event))
                elif isinstance(event, JobChanged) and event.job.state is not JobState.RUNNING:
                    return event.job
    finally:
        line.clear()
    msg = f"The host left before job {job_id} ended. `luci jobs show {job_id}` says how it stands."
    raise HostError(msg, code="unreachable")


def _when(job: JobRecord) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.created_at))


def _how_far(job: JobRecord) -> str:
    progress = job.progress
    if job.ended_at is not None or progress is None or not progress.n_total:
        return ""
    return f" ({progress.n_done / progress.n_total:.0%})"
