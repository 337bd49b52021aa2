"""What System says about machine, models in memory and host; no widget is known here."""

from __future__ import annotations

from dataclasses import dataclass

from luci_tui.host.api.messages import HostMetrics, HostStatus, ModelStatus
from luci_tui.tui.widgets.rows import Column, Row
from luci_tui.tui.widgets.text import bar, one_line, short_path
from luci_tui.units import format_bytes, format_count, format_duration

COLUMNS = (
    Column("name", least=24),
    Column("state", 9),
    Column("memory", 9, is_number=True),
    Column("context", 7, is_number=True),
    Column("users", 5, is_number=True, rank=2),
    Column("idle", 11, is_number=True, rank=3),
    Column("workers", 9, is_number=True, rank=1),
)


@dataclass(frozen=True)
class MachineFigures:
    """How this machine stands."""

    ram_total_bytes: int
    ram_available_bytes: int
    cpu_fraction: float
    n_cores: int
    disk_total_bytes: int
    disk_free_bytes: int
    home: str


def machine_lines(figures: MachineFigures, width: int) -> str:
    """Describe memory, processor and disk, in lines of so many cells."""
    ram_used = figures.ram_total_bytes - figures.ram_available_bytes
    disk_used = figures.disk_total_bytes - figures.disk_free_bytes
    disk = (
        f"  disk  {bar(_share(disk_used, figures.disk_total_bytes))}  "
        f"{format_bytes(figures.disk_free_bytes)} free for "
    )
    lines = [
        "Machine",
        f"  RAM   {bar(_share(ram_used, figures.ram_total_bytes))}  "
        f"{format_bytes(figures.ram_available_bytes)} available of "
        f"{format_bytes(figures.ram_total_bytes)}",
        f"  CPU   {bar(figures.cpu_fraction)}  of {format_count(figures.n_cores, 'core')}",
        disk + short_path(figures.home, width - len(disk)),
    ]
    return "\n".join(lines)


def row_of(model: ModelStatus) -> Row:
    """Make the row of a model in memory."""
    idle = "in use" if model.idle_s is None else format_duration(model.idle_s)
    workers = ",".join(map(str, model.pids)) or "elsewhere"
    return Row(
        model.name,
        (
            one_line(model.name),
            one_line(model.state),
            format_bytes(model.memory_bytes) if model.memory_bytes else "-",
            str(model.n_ctx) if model.n_ctx else "-",
            str(model.n_leases),
            idle,
            workers,
        ),
        "error" if model.state == "failed" else "",
    )


def model_lines(model: ModelStatus) -> str:
    """Say what a row has no room for."""
    facts = [one_line(model.description)] if model.description else []
    if model.detail:
        facts.append(one_line(model.detail))
    if model.needed_bytes:
        facts.append(f"estimated {format_bytes(model.needed_bytes)}")
    if model.n_restarts:
        facts.append(f"{format_count(model.n_restarts, 'worker')} lost since the host started")
    if model.pinned:
        facts.append("pinned")
    elif model.unloads_in_s is not None:
        facts.append(f"leaves memory in {format_duration(model.unloads_in_s)}")
    return f"    {' · '.join(facts)}" if facts else ""


def status_of(status: HostStatus) -> str:
    """Say in one line how things stand."""
    serving = status.serving
    listens = "no HTTP API"
    if serving is not None:
        listens = "OTHER MACHINES CAN REACH THE API" if serving.is_remote else "API on loopback"
    n_models = format_count(len(status.models), "model")
    return f"host up {format_duration(status.uptime_s)} · {n_models} in memory · {listens}"


def host_lines(status: HostStatus, metrics: HostMetrics, cpu_fraction: float, width: int) -> str:
    """Describe the host process and who can reach it, in lines of so many cells."""
    hello = status.hello
    who = " (this user only)"
    socket = "  socket    "
    lines = [
        "Host",
        f"  process   {hello.pid}, luci {hello.version}, {format_bytes(metrics.rss_bytes)}, "
        f"CPU {cpu_fraction:.1%}, up {format_duration(status.uptime_s)}",
        f"  work      {_work(status)}",
        f"  leaves    {_leaves(status)}",
        f"{socket}{short_path(status.socket, width - len(socket) - len(who))}{who}",
        f"  HTTP API  {_api(status)}",
        *(f"  note      {one_line(notice)}" for notice in status.notices),
    ]
    return "\n".join(lines)


def _work(status: HostStatus) -> str:
    return ", ".join(
        (
            format_count(len(status.turns), "answer"),
            format_count(len(status.jobs), "job"),
            format_count(status.n_clients, "request"),
        )
    )


def _leaves(status: HostStatus) -> str:
    if status.hello.is_leaving:
        return "now: it was asked to"
    if status.hello.busy:
        return "not while there is work"
    left_s = status.idle_exit_in_s
    return "never by itself" if left_s is None else f"in {format_duration(left_s)}, if idle"


def _api(status: HostStatus) -> str:
    serving = status.serving
    if serving is None:
        return "off; `luci serve` begins it"
    who = "OTHER MACHINES CAN REACH IT" if serving.is_remote else "this machine only"
    key = "key needed" if serving.needs_key else "NO KEY NEEDED"
    return f"{one_line(serving.url)}, {who}, {key}"


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
