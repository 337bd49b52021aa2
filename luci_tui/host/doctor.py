"""Look at everything that luci needs on this machine and say what is wrong with it."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
from pydantic import BaseModel

from luci_tui import paths
from luci_tui.config import TerminalFacts
from luci_tui.engine.memory import available_bytes
from luci_tui.engine.native import native_available, require_native
from luci_tui.errors import EngineError, GgufError
from luci_tui.gguf.header import read_header
from luci_tui.host.doctor_network import examine_network
from luci_tui.host.findings import Finding, Level
from luci_tui.settings import read_settings
from luci_tui.units import format_bytes, format_count
from luci_tui.version import VERSION

CORE_TIMEOUT_S = 60.0
"""A GPU driver may take its time when it is first asked."""

SMALL_MEMORY_BYTES = 2 * 1024**3
SMALL_DISK_BYTES = 5 * 1024**3


class DeviceReport(BaseModel):
    """What is read of one device in `luci devices --json`."""

    name: str
    description: str


class BuildReport(BaseModel):
    """What is read of `luci devices --json`."""

    accelerator: str
    llama_commit: str
    cpu_features: str
    devices: tuple[DeviceReport, ...]


def examine(terminal: TerminalFacts) -> Iterator[Finding]:
    """Run all checks, one after the other."""
    yield _versions()
    yield from _core()
    yield _threads()
    yield _memory()
    yield _home()
    yield _builtin_model()
    yield examine_settings()
    yield from examine_network()
    yield from _terminal(terminal)


def _versions() -> Finding:
    versions = [f"luci {VERSION}", f"Python {platform.python_version()}"]
    missing: list[str] = []
    for package in ("textual", "pydantic", "numpy", "gguf"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    if missing:
        text = f"{', '.join(missing)} not installed. Install luci again with pip."
        return Finding("versions", Level.PROBLEM, text)
    system = f"{platform.system()} {platform.machine()}"
    return Finding("versions", Level.OK, ", ".join([*versions, system]))


def _core() -> Iterator[Finding]:
    if not native_available():
        try:
            require_native()
        except EngineError as error:
            yield Finding("native core", Level.PROBLEM, error.message)
        return
    # In a process of its own: a core built for another CPU ends the process that loads it.
    command = [sys.executable, "-m", "luci_tui", "devices", "--json"]
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=CORE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        text = f"The native core did not answer within {CORE_TIMEOUT_S:.0f} s. Try again."
        yield Finding("native core", Level.PROBLEM, text)
        return
    if run.returncode != 0:
        yield Finding("native core", Level.PROBLEM, _why_core_failed(run))
        return
    build = BuildReport.model_validate_json(run.stdout)
    yield Finding("native core", Level.OK, f"present, llama.cpp {build.llama_commit}")
    names = ", ".join(f"{device.name} ({device.description})" for device in build.devices)
    yield Finding("accelerator", Level.OK, f"{build.accelerator}: {names}")
    yield Finding("CPU features", Level.OK, _feature_names(build.cpu_features))


def _feature_names(told: str) -> str:
    """Name what llama.cpp says that it uses: of "CPU : SSE3 = 1 | AVX = 1 | " SSE3 and AVX."""
    parts = (part.rpartition(":")[2].partition("=") for part in told.split("|"))
    return ", ".join(name.strip() for name, _, value in parts if value.strip() not in ("", "0"))


def _why_core_failed(run: subprocess.CompletedProcess[str]) -> str:
    if run.returncode >= 0:
        return run.stderr.strip().removeprefix("luci: ") or "The native core cannot be loaded."
    name = signal.Signals(-run.returncode).name
    why = "it was built for another CPU" if name == "SIGILL" else "it crashed"
    return f"The native core was ended by {name}: {why}. Build it again on this machine."


def _threads() -> Finding:
    physical = psutil.cpu_count(logical=False) or 0
    logical = psutil.cpu_count() or 0
    return Finding("threads", Level.OK, f"{physical or logical} cores, {logical} hardware threads")


def _memory() -> Finding:
    free = available_bytes()
    total = psutil.virtual_memory().total
    text = f"{format_bytes(free)} available of {format_bytes(total)}"
    if free < SMALL_MEMORY_BYTES:
        return Finding("memory", Level.WARNING, f"{text}. Only small models will load.")
    return Finding("memory", Level.OK, text)


def _home() -> Finding:
    home = paths.luci_home()
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".luci-doctor-"):
            pass
    except OSError as error:
        text = f"{home} cannot be written ({error.strerror}). Set LUCI_HOME to another folder."
        return Finding("home folder", Level.PROBLEM, text)
    free = shutil.disk_usage(existing).free
    text = f"{home} is writable, {format_bytes(free)} free"
    if free < SMALL_DISK_BYTES:
        return Finding("home folder", Level.WARNING, f"{text}. Most models need more.")
    return Finding("home folder", Level.OK, text)


def examine_settings() -> Finding:
    """Say whether the settings can be used."""
    found = read_settings(paths.luci_home())
    if found.mistakes:
        more = len(found.mistakes) - 1
        rest = f" {format_count(more, 'more mistake')}: see `luci config validate`." if more else ""
        return Finding("settings", Level.PROBLEM, f"{found.mistakes[0].sentence}{rest}")
    where = str(found.path) if found.path.exists() else f"There is no {found.path}: all defaults"
    profile = f", profile {found.profile}" if found.profile else ""
    return Finding("settings", Level.OK, f"{where}{profile}")


def _builtin_model() -> Finding:
    model = paths.builtin_model_file()
    if model is None:
        looked_in = paths.builtin_model_candidates()[-1]
        text = f"There is none at {looked_in}. Install luci again."
        return Finding("built-in model", Level.PROBLEM, text)
    try:
        header = read_header(Path(model))
    except GgufError as error:
        return Finding("built-in model", Level.PROBLEM, error.message)
    text = f"{model}, {format_bytes(header.size_bytes)}, {header.architecture}"
    return Finding("built-in model", Level.OK, text)


def _terminal(terminal: TerminalFacts) -> Iterator[Finding]:
    if not terminal.is_terminal:
        text = "No terminal here: the commands work, the screen needs one."
        yield Finding("terminal", Level.WARNING, text)
        return
    size = shutil.get_terminal_size()
    name = terminal.term or "unknown"
    text = f"{name}, {size.columns} columns, {size.lines} lines, {_colours(terminal)}"
    if size.columns < 80 or size.lines < 24:
        yield Finding("terminal", Level.WARNING, f"{text}. The screen is made for 80x24 or more.")
    elif terminal.term in ("", "dumb"):
        yield Finding("terminal", Level.WARNING, f"{text}. Set TERM, for example xterm-256color.")
    else:
        yield Finding("terminal", Level.OK, text)
    if terminal.is_ssh:
        text = "Over SSH, `ssh -C` makes a streaming screen about thirty times smaller."
        yield Finding("connection", Level.OK, text)
    if terminal.multiplexer == "tmux":
        text = (
            "In tmux, copying needs `set -s set-clipboard on` or `set -g allow-passthrough on` in "
            "~/.tmux.conf; `set -g focus-events on` tells luci whether it is looked at."
        )
        yield Finding("clipboard", Level.OK, text)


def _colours(terminal: TerminalFacts) -> str:
    if terminal.no_color:
        return "no colours (NO_COLOR)"
    if terminal.has_true_color:
        return "24-bit colours"
    return "256 colours" if "256" in terminal.term else "16 colours"
