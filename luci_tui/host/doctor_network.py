"""What listens, who may reach it, and how the API key is kept: the part of doctor about safety."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator

import psutil

from luci_tui import paths
from luci_tui.errors import LuciError
from luci_tui.host import run_files
from luci_tui.host.findings import Finding, Level
from luci_tui.host.openai.key import read_keys
from luci_tui.units import format_count


def examine_network() -> Iterator[Finding]:
    """Ask the operating system, not the host, where the host and its workers listen."""
    yield _host()
    yield _key()


def _host() -> Finding:
    files = run_files.run_files(paths.luci_home())
    try:
        info = run_files.read_info(files)
        process = None if info is None else psutil.Process(info.pid)
    except (LuciError, psutil.NoSuchProcess):
        process = None
    if process is None:
        return Finding("listening", Level.OK, "Nothing: no host runs.")
    try:
        addresses = sorted(_listening(process))
    except psutil.Error as error:
        text = f"The sockets of process {process.pid} cannot be listed ({error})."
        return Finding("listening", Level.WARNING, text)
    if not addresses:
        text = f"The host (process {process.pid}) listens on its unix socket alone, on no port."
        return Finding("listening", Level.OK, text)
    shown = ", ".join(f"{_host_part(host)}:{port}" for host, port in addresses)
    text = f"The host (process {process.pid}) listens on {shown}"
    if all(ipaddress.ip_address(host).is_loopback for host, _ in addresses):
        return Finding("listening", Level.OK, f"{text}, which only this machine reaches.")
    text += ", which other machines reach, without TLS. `luci serve --stop` ends it."
    return Finding("listening", Level.WARNING, text)


def _listening(process: psutil.Process) -> set[tuple[str, int]]:
    """Give (address, port) of every TCP socket on which the process or its children listen."""
    found: set[tuple[str, int]] = set()
    for one in (process, *process.children(recursive=True)):
        for connection in one.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found.add((str(connection.laddr.ip), int(connection.laddr.port)))
    return found


def _host_part(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _key() -> Finding:
    path = paths.api_key_file()
    if not os.path.lexists(path):
        text = "There is none yet. The first `luci serve` makes one."
        return Finding("API key", Level.OK, text)
    try:
        keys = read_keys(path)
    except LuciError as error:
        return Finding("API key", Level.PROBLEM, error.message)
    text = f"{format_count(len(keys), 'key')} in {path}, readable by you alone"
    return Finding("API key", Level.OK, text)
