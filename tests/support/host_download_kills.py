"""Kill whole hosts with -9 while they install and update a model; look, start again, go on.

`python -m tests.support.host_download_kills FOLDER N SEED` prints one JSON object. Each host is a
fork of this process, so that it starts in a few milliseconds; else it is the host as it is, with
its lock, its socket, its queue on the disk and the validator in a process of its own. An install is
asked for once: later hosts have to go on with it by themselves. Each version of the model replaces
the one before, so all kills but the first few come while an older version is in use.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NoReturn

from luci_tui.download.plan import Plan, PlannedFile
from luci_tui.download.records import ItemState
from luci_tui.errors import LuciError
from luci_tui.host.download_client import HostDownloads
from luci_tui.host.lifecycle import find_host
from luci_tui.host.process import Options
from luci_tui.host.process import main as be_host
from luci_tui.host.run_files import RunFiles
from luci_tui.host.state import HostState
from luci_tui.host.wiring import build_host
from luci_tui.library.manifest import MANIFEST_NAME, model_folder, read_manifest
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.download_kills import start_hub
from tests.support.downloads import quick
from tests.support.hub import HubFile

N_VERSIONS = 4
"""Different models, which take turns."""
BYTES_PER_S = 2_000_000
LONGEST_LIFE_S = 1.2
LONGEST_EARLY_LIFE_S = 0.15
LONGEST_START_S = 60.0
EARLY_SHARE = 0.2
"""So many of the kills are timed from the start of the host and not from its first answer."""
NAME = "victim"


@dataclass
class HostKills:
    """What was found after all kills."""

    n_kills: int = 0
    n_in_updates: int = 0
    """Kills while an older version was installed."""
    n_in_start: int = 0
    """Kills before the host had said how the install stands."""
    n_installed: int = 0
    """Versions that were installed in the end."""
    n_wrong: int = 0
    """Files with a final name that are not what was promised."""
    n_lost: int = 0
    """Times at which no whole version was installed although one had been."""
    n_forgotten: int = 0
    """Hosts that did not know of the install any more."""
    n_failed: int = 0
    """Installs that failed by themselves."""
    n_strange: int = 0
    """Files in the model's folder that belong to nothing."""
    failures: list[str] = field(default_factory=list[str])


class Victims:
    """Hosts on one home folder, one after the other."""

    def __init__(self, home: Path, url: str, contents: list[bytes], seed: int) -> None:
        self.report = HostKills()
        self._home = home
        self._plans = [_plan(url, number, data) for number, data in enumerate(contents)]
        self._contents = contents
        self._chance = random.Random(seed)
        self._number = 0
        self._is_asked = False
        self._has_started = False

    def kill_many(self, n_kills: int) -> HostKills:
        """Kill so many hosts."""
        while self.report.n_kills < n_kills:
            self._one_life()
        return self.report

    def _one_life(self) -> None:
        had_one = self._installed() is not None
        pid = os.fork()
        if pid == 0:
            _be_victim(self._home)
        self._has_started = False
        is_done = asyncio.run(self._live())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        report = self.report
        report.n_kills += 1
        report.n_in_updates += had_one
        report.n_in_start += not self._has_started
        self._look(had_one=had_one)
        if is_done:
            report.n_installed += 1
            self._number += 1
            self._is_asked = False

    async def _live(self) -> bool:
        """Steer a host for a while; True = the version is installed."""
        is_early = self._chance.random() < EARLY_SHARE
        life_s = self._chance.uniform(0.0, LONGEST_EARLY_LIFE_S if is_early else LONGEST_LIFE_S)
        living = asyncio.create_task(self._steer())
        deadline_s = time.monotonic() + (life_s if is_early else LONGEST_START_S)
        while not living.done() and time.monotonic() < deadline_s:
            if self._has_started and not is_early:
                is_early, deadline_s = True, time.monotonic() + life_s
            await asyncio.sleep(0.002)
        if not living.done():
            living.cancel()
            await asyncio.wait([living])
        if living.cancelled():
            return False
        error = living.exception()
        if error is not None:
            raise error
        return living.result()

    async def _steer(self) -> bool:
        while (found := await find_host(self._home)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        downloads = HostDownloads(found.client)
        plan = self._plans[self._number % N_VERSIONS]
        try:
            if not self._is_asked:
                started = await downloads.add(plan)
                self._is_asked = True
                if started.download is None:
                    return True
            while True:
                listed = await downloads.list()
                mine = [one for one in listed.downloads if one.version == plan.version]
                if not mine:
                    self.report.n_forgotten += 1
                    self._is_asked = False
                    return False
                self._has_started = True
                if mine[-1].state is ItemState.DONE:
                    return True
                if mine[-1].state is ItemState.FAILED:
                    self.report.n_failed += 1
                    self.report.failures.append(str(mine[-1].error))
                    await downloads.resume(mine[-1].id)
                await asyncio.sleep(0.01)
        except LuciError as error:
            # An answer that is not there is one thing, a refusal another.
            self.report.failures.append(error.message)
            self.report.n_failed += 1
            return False
        finally:
            await found.client.close()

    def _installed(self) -> str | None:
        """Return the version in use if all of it is there and right."""
        folder = model_folder(self._home / "models", NAME)
        manifest = read_manifest(folder)
        if manifest is None:
            return None
        known = {plan.version: data for plan, data in zip(self._plans, self._contents, strict=True)}
        path = folder / manifest.version / manifest.files[0].name
        is_whole = path.is_file() and path.read_bytes() == known[manifest.version]
        return manifest.version if is_whole else None

    def _look(self, *, had_one: bool) -> None:
        self.report.n_lost += had_one and self._installed() is None
        folder = model_folder(self._home / "models", NAME)
        known = {plan.version: data for plan, data in zip(self._plans, self._contents, strict=True)}
        for path in folder.rglob("*") if folder.exists() else ():
            if path.is_dir():
                self.report.n_strange += path.name not in known
            elif path.suffix == ".gguf":
                self.report.n_wrong += path.read_bytes() != known[path.parent.name]
            elif path.parent != folder:
                self.report.n_strange += ".gguf.part" not in path.name
            else:
                self.report.n_strange += path.name not in (MANIFEST_NAME, f"{MANIFEST_NAME}.new")


def _plan(url: str, number: int, data: bytes) -> Plan:
    file = PlannedFile(
        name=f"{number}.gguf",
        url=f"{url}/org/repo/resolve/main/{number}.gguf",
        size_bytes=len(data),
        sha256=HubFile(data).sha256,
    )
    return Plan(name=NAME, source="test", files=(file,))


async def build(files: RunFiles, options: Options) -> HostState:
    """Make the parts of such a host."""
    return await build_host(files, options, move_options=quick())


def _be_victim(home: Path) -> NoReturn:
    status = 1
    try:
        os.setsid()
        os.environ["LUCI_HOME"] = str(home)
        status = be_host(["--engine", "echo", "--idle-exit-s", "60"], build)
    finally:
        os._exit(status)


def _import_all() -> None:
    """Import what a host imports when it starts, once for all of them."""
    for name in (
        "chat.journal",
        "download.mover",
        "engine.echo",
        "engine.job_process",
        "host.disk_chats",
        "host.heap",
        "host.managed_models",
        "host.model_source",
        "host.server",
        "library.installing",
    ):
        importlib.import_module(f"luci_tui.{name}")


def run(folder: Path, n_kills: int, seed: int) -> HostKills:
    """Kill so many hosts and report."""
    home = folder / "home"
    home.mkdir(parents=True)
    settings = f"[downloads]\nreserve_bytes = 0\nlimit_bytes_per_s = {BYTES_PER_S}\n"
    (home / "config.toml").write_text(settings)
    contents = contents_in(folder)
    _import_all()
    hub_pid, url = start_hub(contents)
    try:
        return Victims(home, url, contents, seed).kill_many(n_kills)
    finally:
        os.kill(hub_pid, signal.SIGKILL)
        os.waitpid(hub_pid, 0)


def contents_in(folder: Path) -> list[bytes]:
    """Write the models that take turns, and return them."""
    paths = [
        write_arch_model(TinyArch.LLAMA, folder / f"{seed}.gguf", seed=seed)
        for seed in range(N_VERSIONS)
    ]
    return [path.read_bytes() for path in paths]


def main(arguments: list[str]) -> int:
    """Run from the command line."""
    report = run(Path(arguments[0]), int(arguments[1]), int(arguments[2]))
    sys.stdout.write(json.dumps(asdict(report)) + "\n")
    bad = (report.n_wrong, report.n_lost, report.n_forgotten, report.n_failed, report.n_strange)
    return 1 if any(bad) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
