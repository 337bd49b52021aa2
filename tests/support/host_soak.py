"""Let many clients of every kind use one host for long, and look at what it costs the host.

`python -m tests.support.host_soak FOLDER DURATION_S SEED [CLIENTS]` prints one JSON object; samples
go to standard error as they are taken. The host is the real process over real workers;
`watched_host.py` gives it too little memory for all models.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import httpx
import psutil

from luci_tui.host.api.messages import Serving, StartServing
from luci_tui.host.client import HostClient
from luci_tui.host.lifecycle import Launcher, ensure_host, wait_gone
from tests.support.process_figures import (
    ProcessFigures,
    children_of,
    figures_of,
    processes_below,
)
from tests.support.soak_clients import LONGEST_ANSWER_S, SoakClient, WrongAnswerError
from tests.support.soak_models import MAIN, prepare_home
from tests.support.watched_host import read_loop

WATCHED: Final = Launcher(
    command=(sys.executable, "-m", "tests.support.watched_host"), arguments=("--idle-exit-s", "900")
)
N_CLIENTS: Final = 16
LONGEST_PAUSE_S: Final = 0.6
SAMPLE_S: Final = 30.0
WARM_S: Final = 600.0
"""Memory is compared from then on; in a shorter run after a third of it."""
QUIET_S: Final = 30.0
"""Longest time until nothing runs any more when no client asks."""
SHOWN_ERRORS: Final = 40


@dataclass
class Sample:
    """The host and its workers at one moment."""

    at_s: float
    """Since the clients began."""
    host_pss_bytes: int
    host_private_bytes: int
    n_fds: int
    n_threads: int
    n_tasks: int
    worst_lag_ms: float
    """Of the host's event loop since the last sample."""
    n_leases: int
    worker_pss_bytes: dict[str, int]
    """By model."""
    total_pss_bytes: int


@dataclass(frozen=True)
class Quiet:
    """What the host has when nobody asks for anything and only the pinned model is loaded."""

    n_fds: int
    n_threads: int
    n_tasks: int
    n_leases: int
    n_turns: int
    n_children: int


@dataclass(frozen=True)
class Deed:
    """How often one thing was done, and how long it took."""

    n_times: int
    median_s: float
    p95_s: float
    longest_s: float


@dataclass
class SoakReport:
    """What a run found."""

    duration_s: float = 0.0
    n_clients: int = 0
    n_done: int = 0
    done: dict[str, Deed] = field(default_factory=dict[str, Deed])
    n_errors: int = 0
    """Answers that nobody asked for; the first of them in `errors`."""
    errors: list[str] = field(default_factory=list[str])
    n_workers: int = 0
    """Worker processes that were seen: one more for each load after an eviction."""
    host_spread_percent: float = 0.0
    """Largest distance of the host's memory from its median, after the warm-up."""
    pinned_spread_percent: float = 0.0
    """The same of the worker that lived through the whole run."""
    total_drift_percent: float = 0.0
    """How much the median of all together has grown from the first to the last third of that."""
    before: Quiet | None = None
    """After the warm-up."""
    after: Quiet | None = None
    n_orphans: int = 0
    worst_lag_ms: float = 0.0
    host_exit_s: float = 0.0
    """From asking the host to leave until it had left."""
    samples: list[Sample] = field(default_factory=list[Sample])


class Soak:
    """One run."""

    def __init__(
        self, client: HostClient, serving: Serving, seed: int, home: Path, n_clients: int
    ) -> None:
        self.report = SoakReport(n_clients=n_clients)
        self._client = client
        self._serving = serving
        self._seed = seed
        self._home = home
        self._started_s = time.monotonic()
        self._workers: set[psutil.Process] = set()
        """Of all workers that were seen."""
        self._n_lines = 0
        self._took_s: dict[str, list[float]] = {}

    async def run(self, host_pid: int, duration_s: float) -> None:
        """Warm up, look at the quiet host, go on, and look again."""
        warm_s = min(WARM_S, duration_s / 3)
        await self._phase(host_pid, warm_s, 0)
        self.report.before = await self._quiet(host_pid)
        await self._phase(host_pid, duration_s - warm_s, 1)
        self.report.after = await self._quiet(host_pid)
        self.report.duration_s = time.monotonic() - self._started_s
        self.report.n_done = sum(len(took_s) for took_s in self._took_s.values())
        self.report.done = {name: deed_of(took_s) for name, took_s in self._took_s.items()}
        judge(self.report, warm_s)

    async def end(self, host_pid: int) -> None:
        """Ask the host to leave, and count what it leaves behind."""
        self._workers |= processes_below(host_pid)
        self.report.n_workers = len(self._workers)
        asked_s = time.monotonic()
        await self._client.stop(drain_s=0)
        has_left = await wait_gone(host_pid, 60)
        self.report.host_exit_s = time.monotonic() - asked_s
        self.report.n_orphans = sum(one.is_running() for one in self._workers) + (not has_left)

    async def _phase(self, host_pid: int, duration_s: float, number: int) -> None:
        end_s = time.monotonic() + duration_s
        watching = asyncio.create_task(self._watch(host_pid), name="samples")
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(self.report.n_clients):
                    seed = self._seed * 1000 + number * 100 + index
                    group.create_task(self._be_client(index, Random(seed), end_s))
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _be_client(self, number: int, chance: Random, end_s: float) -> None:
        async with new_client(self._home, self._serving, number, chance) as client:
            while time.monotonic() < end_s:
                try:
                    await client.once()
                except WrongAnswerError as error:
                    self.report.n_errors += 1
                    sys.stderr.write(f"{error}\n")
                    if len(self.report.errors) < SHOWN_ERRORS:
                        at_s = time.monotonic() - self._started_s
                        self.report.errors.append(f"{at_s:.0f} s: {error}")
                await asyncio.sleep(chance.uniform(0.0, LONGEST_PAUSE_S))
        for name, took_s in client.took_s.items():
            self._took_s.setdefault(name, []).extend(took_s)

    async def _watch(self, host_pid: int) -> None:
        """Take samples; the pids of workers more often, for they come and go."""
        next_s = time.monotonic() + SAMPLE_S
        while True:
            await asyncio.sleep(1.0)
            self._workers |= processes_below(host_pid)
            if time.monotonic() >= next_s:
                next_s += SAMPLE_S
                sample = await self._sample(host_pid)
                self.report.samples.append(sample)
                sys.stderr.write(json.dumps(asdict(sample)) + "\n")
                sys.stderr.flush()

    async def _sample(self, host_pid: int) -> Sample:
        host = _required(figures_of(host_pid))
        loaded = (await self._client.models()).loaded
        workers: Counter[str] = Counter()
        for model in loaded:
            for pid in model.pids:
                found = figures_of(pid)
                workers[model.name] += 0 if found is None else found.pss_bytes
        lines = read_loop(self._home)[self._n_lines :]
        self._n_lines += len(lines)
        return Sample(
            at_s=round(time.monotonic() - self._started_s, 1),
            host_pss_bytes=host.pss_bytes,
            host_private_bytes=host.private_bytes,
            n_fds=host.n_fds,
            n_threads=host.n_threads,
            n_tasks=lines[-1].n_tasks if lines else 0,
            worst_lag_ms=round(max((line.worst_lag_ms for line in lines), default=0.0), 1),
            n_leases=sum(model.n_leases for model in loaded),
            worker_pss_bytes=dict(workers),
            total_pss_bytes=host.pss_bytes + workers.total(),
        )

    async def _quiet(self, host_pid: int) -> Quiet:
        """Wait until nothing runs, unload all but the pinned model, and look."""
        deadline_s = time.monotonic() + QUIET_S
        while True:
            status = await self._client.status()
            n_leases = sum(model.n_leases for model in status.models)
            n_turns = sum(turn.is_running for turn in status.turns)
            if (n_leases == 0 and n_turns == 0) or time.monotonic() > deadline_s:
                break
            await asyncio.sleep(0.2)
        for model in status.models:
            if model.name != MAIN:
                await self._client.unload_model(model.name)
        n_lines = len(read_loop(self._home))
        while len(lines := read_loop(self._home)) < n_lines + 2:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        host = _required(figures_of(host_pid))
        n_children = len(children_of(host_pid))
        return Quiet(host.n_fds, host.n_threads, lines[-1].n_tasks, n_leases, n_turns, n_children)


def judge(report: SoakReport, warm_s: float) -> None:
    """Put into figures how flat the memory was after the warm-up."""
    report.worst_lag_ms = max((sample.worst_lag_ms for sample in report.samples), default=0.0)
    late = [sample for sample in report.samples if sample.at_s > warm_s]
    if len(late) < 3:
        return
    report.host_spread_percent = _spread([sample.host_pss_bytes for sample in late])
    report.pinned_spread_percent = _spread([one.worker_pss_bytes.get(MAIN, 0) for one in late])
    third = len(late) // 3
    first, last = (
        statistics.median(sample.total_pss_bytes for sample in part)
        for part in (late[:third], late[-third:])
    )
    report.total_drift_percent = round((last / first - 1) * 100, 2)


def deed_of(took_s: list[float]) -> Deed:
    """Sum up how long one thing took."""
    ordered = sorted(took_s)
    p95_s = ordered[int(0.95 * len(ordered))]
    middle_s = statistics.median(ordered)
    return Deed(len(ordered), round(middle_s, 3), round(p95_s, 3), round(ordered[-1], 3))


def _spread(values: list[int]) -> float:
    middle = statistics.median(values)
    return round(max(abs(value - middle) for value in values) / middle * 100, 2)


def _required(found: ProcessFigures | None) -> ProcessFigures:
    if found is None:
        msg = "the host has ended in the middle of the soak; its log says why"
        raise RuntimeError(msg)
    return found


@asynccontextmanager
async def new_client(
    home: Path, serving: Serving, number: int, chance: Random
) -> AsyncGenerator[SoakClient]:
    """Connect one client to the port and to the socket."""
    headers = {"authorization": f"Bearer {key_of(serving)}"}
    host = await ensure_host(home, WATCHED)
    try:
        async with httpx.AsyncClient(
            base_url=serving.url.removesuffix("/v1"),
            headers=headers,
            timeout=LONGEST_ANSWER_S,
            trust_env=False,
        ) as http:
            yield SoakClient(number, chance, http, host)
    finally:
        await host.close()


def key_of(serving: Serving) -> str:
    """Read the key of a port that a host has opened."""
    return Path(serving.key_file).read_text().split()[0]


async def soak(
    folder: Path, duration_s: float, seed: int, n_clients: int = N_CLIENTS
) -> SoakReport:
    """Run it in a folder that is not there yet."""
    home = folder / "home"
    prepare_home(home)
    client = await ensure_host(home, WATCHED)
    try:
        host_pid = (await client.hello()).pid
        serving = await client.start_serving(StartServing(port=0))
        run = Soak(client, serving, seed, home, n_clients)
        try:
            await run.run(host_pid, duration_s)
        finally:
            await run.end(host_pid)
    finally:
        await client.close()
    return run.report


if __name__ == "__main__":
    where, how_long, first_seed, *more = sys.argv[1:]
    n_wanted = int(more[0]) if more else N_CLIENTS
    found = asyncio.run(soak(Path(where), float(how_long), int(first_seed), n_wanted))
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
