"""`luci host`: the background process that owns models, chats and jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from luci_tui import paths
from luci_tui.cli.host_link import launcher_for, narrate_once
from luci_tui.cli.main import Invocation
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import ConfigError
from luci_tui.units import format_bytes, format_count, format_duration

if TYPE_CHECKING:
    from luci_tui.host.api.messages import Hello, HostMetrics, HostStatus

EPILOG = """\b
Examples:
  luci host status
  luci host stop
  luci host logs --follow
  luci host install --print
"""

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    epilog=EPILOG,
    help="""Look at the host, start it, end it.

    The host is one background process for each home folder. It owns models, chats and jobs, so
    that closing a terminal loses nothing. Whatever needs it starts it; it leaves by itself when it
    has had nothing to do for a while.""",
)

FOLLOW_S = 0.2
"""How often `logs --follow` looks for more."""
TAIL_BYTES = 1024 * 1024

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DrainOption = Annotated[
    float | None,
    typer.Option(
        "--drain-s", min=0, max=3600, help="Seconds for what runs. [drain_s in config.toml: 10]"
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Kill it if it does not leave.")]


@app.command()
def start(
    ctx: typer.Context,
    idle_exit_s: Annotated[
        float | None,
        typer.Option(min=0, help="Leave after so long without work; 0 = never. [600]"),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Start the host, if it does not run."""
    hello, notices = run_async(_start(ctx, idle_exit_s))
    narrate_once(notices)
    _print_running(hello, as_json=json_output)


@app.command()
def status(json_output: JsonOption = False) -> None:
    """Say what the host does and what keeps it from leaving.

    The exit code is 1 if none runs.
    """
    found = run_async(_status())
    if found is None:
        if json_output:
            print_json({"running": False})
        else:
            print_line("No host runs. Whatever needs one starts it.")
        raise typer.Exit(1)
    status_now, metrics = found
    if json_output:
        values = {**status_now.model_dump(mode="json"), "metrics": metrics.model_dump(mode="json")}
        print_json({"running": True, **values})
        return
    for line in status_lines(status_now, metrics):
        print_line(line)


@app.command()
def stop(
    drain_s: DrainOption = None, force: ForceOption = False, json_output: JsonOption = False
) -> None:
    """Let the host leave.

    Running answers get some time, then they are stored as they are.
    """
    pid = run_async(_stop(drain_s, force=force))
    if json_output:
        print_json({"was_running": pid is not None, "pid": pid})
    else:
        print_line("No host ran." if pid is None else f"The host (process {pid}) has left.")


@app.command()
def restart(
    ctx: typer.Context,
    drain_s: DrainOption = None,
    force: ForceOption = False,
    json_output: JsonOption = False,
) -> None:
    """Let the host leave, and start another one."""
    run_async(_stop(drain_s, force=force))
    hello, notices = run_async(_start(ctx, None))
    narrate_once(notices)
    _print_running(hello, as_json=json_output)


@app.command()
def logs(
    n_lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="The last so many.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Show the host's log."""
    from luci_tui.host.host_log import LOG_NAME

    path = paths.logs_folder() / LOG_NAME
    if not path.is_file():
        msg = f"There is no log at {path}; no host has run with this home folder."
        raise ConfigError(msg, code="no_log")
    for line in _log_lines(path, n_lines, follow=follow):
        print_line(line)


@app.command()
def install(
    print_only: Annotated[bool, typer.Option("--print", help="Show it, write nothing.")] = False,
) -> None:
    """Write a systemd user unit that runs the host from login on.

    It has no idle exit then.

    Of the environment only the home folder and the profile of the settings go into it.
    """
    from luci_tui.host.systemd import UNIT_NAME, unit_path, unit_text

    text = unit_text(paths.luci_home(), paths.setting_variables().get("LUCI_PROFILE", "").strip())
    if print_only:
        print_line(text.rstrip("\n"))
        return
    path = unit_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"The unit {path} cannot be written ({error.strerror}). See `--print`."
        raise ConfigError(msg, code="unit") from error
    print_line(str(path))
    narrate(f"Now run: systemctl --user daemon-reload && systemctl --user enable --now {UNIT_NAME}")


async def _start(ctx: typer.Context, idle_exit_s: float | None) -> tuple[Hello, list[str]]:
    from luci_tui.host.lifecycle import ensure_host

    arguments = () if idle_exit_s is None else ("--idle-exit-s", str(idle_exit_s))
    kind = cast("Invocation", ctx.obj).engine
    client = await ensure_host(launcher=launcher_for(kind, *arguments))
    try:
        own = (await client.status()).notices
        return await client.hello(), [*client.notices, *own]
    finally:
        await client.close()


async def _status() -> tuple[HostStatus, HostMetrics] | None:
    from luci_tui.host.lifecycle import find_host

    found = await find_host()
    if found is None:
        return None
    try:
        return await found.client.status(), await found.client.metrics()
    finally:
        await found.client.close()


async def _stop(drain_s: float | None, *, force: bool) -> int | None:
    from luci_tui.host.lifecycle import stop_host

    return await stop_host(drain_s=drain_s, force=force)


def _print_running(hello: Hello, *, as_json: bool) -> None:
    if as_json:
        print_json(hello.model_dump(mode="json"))
    else:
        print_line(f"The host runs: process {hello.pid}, luci {hello.version}.")


def status_lines(status_now: HostStatus, metrics: HostMetrics) -> list[str]:
    """Describe a host that runs."""
    hello = status_now.hello
    lines = [
        f"process   {hello.pid}, luci {hello.version}, protocol {hello.protocol}",
        f"uptime    {format_duration(status_now.uptime_s)}, "
        f"memory {format_bytes(metrics.rss_bytes)}, CPU time {format_duration(metrics.cpu_s)}",
        f"home      {status_now.home}",
        f"socket    {status_now.socket}",
        f"models    {', '.join(f'{one.name} ({one.state})' for one in status_now.models) or '-'}",
        f"jobs      {', '.join(f'{one.id} ({one.title})' for one in status_now.jobs) or '-'}",
        f"answers   {format_count(len(status_now.turns), 'chat')} being answered",
        f"leaves    {_leaves(status_now)}",
    ]
    return lines + [f"note      {notice}" for notice in status_now.notices]


def _leaves(status_now: HostStatus) -> str:
    if status_now.hello.is_leaving:
        return "now: it was asked to"
    if status_now.hello.busy:
        return f"not while there is work: {', '.join(status_now.hello.busy)}"
    left_s = status_now.idle_exit_in_s
    return "never by itself" if left_s is None else f"in {format_duration(left_s)}, if idle"


def _log_lines(path: Path, n_lines: int, *, follow: bool) -> Iterator[str]:
    """Give the last lines, then those that come; a file that is rotated is left for the new one."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        text = file.read().decode("utf-8", "replace").splitlines()
        inode = os.fstat(file.fileno()).st_ino
        position = file.tell()
    yield from text[len(text) - n_lines :] if n_lines else []
    while follow:
        time.sleep(FOLLOW_S)
        found = path.stat() if path.exists() else None
        if found is None or (found.st_ino == inode and found.st_size <= position):
            continue
        position = position if found.st_ino == inode else 0
        inode = found.st_ino
        with path.open("rb") as file:
            file.seek(position)
            whole, _, _ = file.read().rpartition(b"\n")
        position += len(whole) + 1 if whole else 0
        yield from whole.decode("utf-8", "replace").splitlines()
