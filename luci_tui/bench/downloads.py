"""Compare luci's downloads with curl and `hf download`: `make bench-downloads`.

One file of a gigabyte comes from a server on loopback in a process of its own. luci's figure is an
install as the host does it: fetched, its sha256 computed and compared, synced, validated in a
process of its own, and its manifest written. The others only fetch. Each round every contender has
one turn, and each round begins with another one.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from luci_tui import paths
from luci_tui.bench.download_server import COMMIT, REPO
from luci_tui.bench.peers.models import BenchModel, write_f16
from luci_tui.download.fetching import Fetcher
from luci_tui.download.pace import Limiter
from luci_tui.download.plan import Plan, PlannedFile
from luci_tui.download.queue import DownloadQueue, QueueOptions
from luci_tui.download.records import GOING, ItemState
from luci_tui.errors import ConfigError, DownloadError
from luci_tui.library.installing import Installer, validator
from luci_tui.units import format_bytes
from luci_tui.version import VERSION

BEGIN = "<!-- bench-downloads: begin -->"
END = "<!-- bench-downloads: end -->"
FILE_NAME = "bench-F16.gguf"
LUCI, CURL, HF = "luci", "curl", "hf download"
TARGETS = {CURL: 0.9, HF: 1.0}
"""luci's rate has to be at least so many times that of the other."""
_LAYER_BYTES = 30_400_000
_OTHER_BYTES = 131_000_000
"""Of a layer and of the rest of the model that is written, in F16."""


@dataclass(frozen=True)
class Served:
    """The file that all fetch."""

    url: str
    """Of the server."""
    sha256: str
    size_bytes: int

    @property
    def file_url(self) -> str:
        """Return the address of the file."""
        return f"{self.url}/{REPO}/resolve/{COMMIT}/{FILE_NAME}"


Turn = Callable[[Served, Path], float]
"""Fetches the file into an empty folder and gives the seconds."""


def main() -> None:
    """Measure, print, and write the table if asked to."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        source = folder / FILE_NAME
        write_f16(_model_of(options.size), source)
        seconds = _measure(source, folder / "turn", options.rounds)
        lines = list(_report(seconds, source.stat().st_size, options.rounds))
    sys.stdout.write("\n".join(lines) + "\n")
    if options.table:
        _write_table(options.table, lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m luci_tui.bench.downloads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs")
    parser.add_argument("--size", type=int, default=10**9, help="bytes of the file, about")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk to measure")
    parser.add_argument("--table", type=Path, help="Markdown file whose table is replaced")
    return parser.parse_args()


def _model_of(size_bytes: int) -> BenchModel:
    n_layers = max(1, round((size_bytes - _OTHER_BYTES) / _LAYER_BYTES))
    return BenchModel("download", n_layers, 1024, 16, 4, 4096, "F16", n_repeats=1)


def _measure(source: Path, folder: Path, n_rounds: int) -> dict[str, list[float]]:
    turns = _turns()
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    with _served(source) as served:
        for number in range(n_rounds):
            names = list(turns)
            start = number % len(names)
            for name in names[start:] + names[:start]:
                folder.mkdir()
                os.sync()  # what another one has left to write is not this one's to wait for
                seconds[name].append(turns[name](served, folder))
                shutil.rmtree(folder)
    return seconds


def _turns() -> dict[str, Turn]:
    turns: dict[str, Turn] = {LUCI: _luci}
    if shutil.which("curl"):
        turns[CURL] = _curl
    if _hf_command() is not None:
        turns[HF] = _hf
    return turns


@contextmanager
def _served(source: Path) -> Generator[Served]:
    command = [sys.executable, "-m", "luci_tui.bench.download_server", str(source)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url, sha256 = process.stdout.readline().split()
            yield Served(url, sha256, source.stat().st_size)
        finally:
            process.stdin.close()
            process.wait(10)


def _luci(served: Served, folder: Path) -> float:
    return asyncio.run(_install(served, folder))


async def _install(served: Served, folder: Path) -> float:
    file = PlannedFile(
        name=FILE_NAME, url=served.file_url, size_bytes=served.size_bytes, sha256=served.sha256
    )
    plan = Plan(name="bench", source="bench", files=(file,))
    is_settled = asyncio.Event()
    queue = DownloadQueue(
        folder / "downloads.json",
        Fetcher(lambda _: {}, Limiter()),
        Installer(folder, validator(folder / "jobs.log"), _never, _ignore),
        QueueOptions(reserve_bytes=0),
        lambda item: None if item.state in GOING else is_settled.set(),
    )
    await queue.open()
    queue.start()
    try:
        started_s = time.perf_counter()
        item, _ = await queue.add(plan)
        await asyncio.wait_for(is_settled.wait(), 3600)
        elapsed_s = time.perf_counter() - started_s
        ended = queue.get(item.id)
        if ended.state is not ItemState.DONE:
            raise DownloadError(ended.error, code=ended.error_code)
        return elapsed_s
    finally:
        await queue.close()


def _never(name: str) -> bool:
    del name
    return False


def _ignore(name: str, is_enabled: bool) -> None:
    del name, is_enabled


def _curl(served: Served, folder: Path) -> float:
    command = ["curl", "--silent", "--fail", "--noproxy", "*", "--output", str(folder / FILE_NAME)]
    return _timed([*command, served.file_url], paths.environment_for(folder))


def _hf(served: Served, folder: Path) -> float:
    command = _hf_command()
    assert command is not None
    environment = {
        **paths.environment_for(folder),
        "HF_ENDPOINT": served.url,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "*",
    }
    target = ["download", REPO, FILE_NAME, "--revision", COMMIT, "--local-dir", str(folder)]
    return _timed([*command, *target], environment)


def _hf_command() -> list[str] | None:
    """Return how the hub's own command is started: the one of this environment."""
    beside = Path(sys.executable).parent / "hf"
    return [str(beside)] if beside.is_file() else None


def _timed(command: list[str], environment: dict[str, str]) -> float:
    started_s = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    elapsed_s = time.perf_counter() - started_s
    if done.returncode:
        msg = f"{command[0]} ended with {done.returncode}: {done.stderr[-500:].strip()}"
        raise DownloadError(msg, code="bench")
    return elapsed_s


def _report(
    seconds: dict[str, list[float]], size_bytes: int, n_rounds: int
) -> Generator[str, None, None]:
    yield f"- file: {format_bytes(size_bytes)} ({size_bytes} bytes), over plain HTTP on loopback"
    memory_gb = psutil.virtual_memory().total / 1e9
    yield f"- machine: {psutil.cpu_count()} CPUs, {memory_gb:.0f} GB, {platform.release()}"
    versions = f"Python {platform.python_version()}, {_curl_version()}, {_hf_version()}"
    yield f"- luci {VERSION}, {versions}"
    yield f"- rounds: {n_rounds}, every contender in turn in each of them"
    yield ""
    yield "| Contender | Median MB/s | Min to max | luci's rate is | Target | |"
    yield "|---|--:|--:|--:|---|---|"
    ours = seconds[LUCI]
    for name in (LUCI, CURL, HF):
        if name not in seconds:
            yield f"| {name} | not installed here | | | | |"
            continue
        rates = [size_bytes / one / 1e6 for one in seconds[name]]
        ratio = statistics.median(b / a for a, b in zip(ours, seconds[name], strict=True))
        row = f"| {name} | {statistics.median(rates):.0f} | {min(rates):.0f} to {max(rates):.0f} |"
        if name == LUCI:
            yield f"{row} | | |"
            continue
        target = TARGETS[name]
        verdict = "met" if ratio >= target else "missed"
        yield f"{row} {math.floor(ratio * 100) / 100:.2f} times | at least {target:g} | {verdict} |"


def _curl_version() -> str:
    if not shutil.which("curl"):
        return "no curl"
    done = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split()[:2])


def _hf_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"huggingface_hub {version('huggingface_hub')}"
    except PackageNotFoundError:
        return "no huggingface_hub"


def _write_table(path: Path, lines: list[str]) -> None:
    text = path.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        msg = f"{path} holds no {BEGIN} … {END}; put both lines where the table belongs."
        raise ConfigError(msg)
    body = "\n".join(lines)
    path.write_text(f"{head}{BEGIN}\n\n{body}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
