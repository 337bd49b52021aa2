"""Kill a process with -9 while it downloads, look at what is on the disk, and again.

`python -m tests.support.download_kills FOLDER N SEED` prints one JSON object. The hub runs in a
process of its own; each victim is a fork of this one, so a kill costs what the victim lives. Each
file is fetched over the one before it, so that an update is killed as often as a first download.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import httpx

from luci_tui.download.messages import MoveProgress, Phase, Wanted
from luci_tui.download.options import MoveOptions
from luci_tui.download.pace import Limiter
from luci_tui.download.part import part_paths
from luci_tui.errors import DownloadError
from tests.support.downloads import fetch, quick
from tests.support.hub import STATS_PATH, Hub, HubFile, running_hub

SIZE_BYTES = 3_000_000
BYTES_PER_S = 6_000_000
LONGEST_LIFE_S = 0.4
LONGEST_START_S = 20.0
N_FILES = 8
"""Different contents, which take turns."""


@dataclass
class KillReport:
    """What was found after all kills."""

    n_kills: int = 0
    n_in_updates: int = 0
    """Kills while an older file had the final name."""
    n_complete: int = 0
    """Files that arrived."""
    n_wrong: int = 0
    """Times at which the final name had something that is neither the old nor the new file."""
    n_lost: int = 0
    """Times at which the old file was gone and the new one not there."""
    n_strange: int = 0
    """Files in the folder that belong to nothing."""
    n_errors: int = 0
    """Victims that ended by themselves with an error."""
    sent_bytes: int = 0
    needed_bytes: int = 0

    @property
    def resent_bytes_per_kill(self) -> float:
        """What a kill costs on the network."""
        return max(0, self.sent_bytes - self.needed_bytes) / max(1, self.n_kills)


def content(number: int) -> bytes:
    """Return the content of a file."""
    return random.Random(number).randbytes(SIZE_BYTES)


def run(folder: Path, n_kills: int, seed: int) -> KillReport:
    """Kill so many downloads and report."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    contents = [content(number) for number in range(N_FILES)]
    hub_pid, url = start_hub(contents)
    report = KillReport()
    try:
        destination = folder / "model.gguf"
        old: bytes | None = None
        number = 0
        while report.n_kills < n_kills:
            wanted = _wanted(url, number % N_FILES, contents[number % N_FILES], destination)
            is_done = _one_life(wanted, chance.uniform(0.0, LONGEST_LIFE_S), report)
            new = contents[number % N_FILES]
            _look(destination, old, new, report, is_update=old is not None)
            if is_done:
                report.n_complete += 1
                report.needed_bytes += SIZE_BYTES
                old, number = new, number + 1
        parts = part_paths(destination)
        known_bytes = parts[0].stat().st_size if parts[0].exists() else 0
        report.needed_bytes += known_bytes
        with urllib.request.urlopen(url + STATS_PATH, timeout=10) as answer:
            report.sent_bytes = int(answer.read())
    finally:
        os.kill(hub_pid, signal.SIGKILL)
        os.waitpid(hub_pid, 0)
    return report


def _wanted(url: str, number: int, data: bytes, destination: Path) -> Wanted:
    return Wanted(
        url=f"{url}/org/repo/resolve/main/{number}.gguf",
        destination=destination,
        size_bytes=len(data),
        sha256=HubFile(data).sha256,
    )


def _one_life(wanted: Wanted, life_s: float, report: KillReport) -> bool:
    """Let a victim download for a while, then kill it; True = it was done before.

    Mostly the time is counted from its first byte, so that a busy machine does not make every kill
    one of its start.
    """
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_fd)
        _be_victim(wanted, write_fd)
    os.close(write_fd)
    if life_s > LONGEST_LIFE_S / 8:
        select.select([read_fd], [], [], LONGEST_START_S)
    os.close(read_fd)
    deadline_s = time.monotonic() + life_s
    while time.monotonic() < deadline_s:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            report.n_errors += status != 0
            return status == 0
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    report.n_kills += 1
    # It may have been done in the very moment of the kill.
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def _be_victim(wanted: Wanted, first_byte_fd: int) -> NoReturn:
    status = 1

    def report(progress: MoveProgress) -> None:
        nonlocal first_byte_fd
        if first_byte_fd >= 0 and progress.phase is Phase.DOWNLOADING:
            os.close(first_byte_fd)
            first_byte_fd = -1

    try:
        options = quick(limiter=Limiter(BYTES_PER_S))
        asyncio.run(_fetch(wanted, options, report))
        status = 0
    except DownloadError as error:
        sys.stderr.write(error.message + "\n")
    finally:
        os._exit(status)


async def _fetch(
    wanted: Wanted, options: MoveOptions, report: Callable[[MoveProgress], None]
) -> None:
    # What the kernel has taken and nobody has read is lost with the process; on loopback that
    # would be megabytes, which says nothing of the mover.
    small = (socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    transport = httpx.AsyncHTTPTransport(socket_options=[small])
    await fetch(wanted, options, report, httpx.AsyncClient(transport=transport, timeout=None))


def _look(
    destination: Path, old: bytes | None, new: bytes, report: KillReport, *, is_update: bool
) -> None:
    report.n_in_updates += is_update
    known = {destination.name, *(path.name for path in part_paths(destination))}
    known.add(part_paths(destination)[1].name + ".new")
    report.n_strange += sum(path.name not in known for path in destination.parent.iterdir())
    if destination.exists():
        report.n_wrong += destination.read_bytes() not in (old, new)
    else:
        report.n_lost += old is not None


def start_hub(contents: list[bytes]) -> tuple[int, str]:
    """Start the hub in a process of its own; returns (pid, address)."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_fd)
        asyncio.run(_serve(contents, write_fd))
        os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd) as lines:
        return pid, lines.readline().strip()


async def _serve(contents: list[bytes], write_fd: int) -> None:
    async with running_hub() as hub:
        _offer(hub, contents)
        with os.fdopen(write_fd, "w") as lines:
            lines.write(hub.url + "\n")
        await asyncio.Event().wait()


def _offer(hub: Hub, contents: list[bytes]) -> None:
    for number, data in enumerate(contents):
        hub.add(data, name=f"{number}.gguf")


def main(arguments: list[str]) -> int:
    """Run from the command line."""
    folder, n_kills, seed = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    report = run(folder, n_kills, seed)
    found = asdict(report) | {"resent_bytes_per_kill": report.resent_bytes_per_kill}
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if report.n_wrong or report.n_lost or report.n_strange or report.n_errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
