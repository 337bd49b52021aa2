"""Kill whole hosts with -9 at random moments of chats, start them again and see what they kept.

`python -m tests.support.host_kills FOLDER N SEED PARALLEL` prints one JSON object; what each kill
found goes to standard error. A host is started as a front end starts it and asked through its
socket; the next host on the same home folder is asked what is left. Every MODEL_EVERY-th host
answers with the built-in model in a real worker, and every other one of those is the host as it is,
which only its client listens to.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, cast

from luci_tui.chat.records import Message, MessageState
from luci_tui.chat.turn_events import TurnDelta, TurnDone, turn_event_adapter
from luci_tui.errors import HostError, LuciError
from luci_tui.host.api.messages import StartTurn
from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.host.lifecycle import Launcher, ensure_host, wait_gone
from luci_tui.host.run_files import read_info, run_files
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.chats import integrity
from tests.support.kill_host import BEAT, BEAT_FILE, TOLD_FILE
from tests.support.process_figures import alive, children_of

MODEL_EVERY: Final = 8
N_CHATS: Final = 3
"""Chats that are answered at the same time."""
LONGEST_LIFE_S: Final = 1.5
"""A host is killed within this time of the moment that was chosen."""
LONGEST_WAIT_S: Final = 120.0
"""For that moment, on a busy machine."""
GONE_S: Final = 20.0
MAX_LETTERS: Final = 1200
STALL_S: Final = 1.0
"""Stalls of the host are looked for so long before its end."""
BAR_MS: Final = 250.0

_STAY: Final = ("--idle-exit-s", "60")
ECHO: Final = Launcher(
    command=(sys.executable, "-m", "tests.support.kill_host"),
    arguments=("--engine", "echo", *_STAY),
)
TOLD_MODEL: Final = Launcher(
    command=(sys.executable, "-m", "tests.support.kill_host"), arguments=_STAY
)
PLAIN_MODEL: Final = Launcher(arguments=_STAY)
"""The host as it is; what its client has read counts as streamed."""
MOMENTS: Final = ("start", "turn", "delta", "delta", "delta")
"""What the time until the kill is counted from."""


@dataclass
class Turn:
    """One turn as the client saw it."""

    chat_id: str
    text: str
    is_stored: bool = False
    """The host said that the message is on the disk."""
    is_done: bool = False
    """The host said that the answer is complete."""
    deltas: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    """When the client read what."""


@dataclass
class Life:
    """One host from its start to the kill."""

    kind: str
    turns: list[Turn] = field(default_factory=list[Turn])
    told: dict[str, list[tuple[float, str]]] = field(
        default_factory=dict[str, list[tuple[float, str]]]
    )
    """What the host streamed, by the message that it answers."""
    killed_s: float = 0.0
    stalled_ms: float = 0.0
    """Longest time for which the host's event loop did not run, shortly before the kill."""


@dataclass
class HostKillReport:
    """What was found after all kills."""

    n_kills: int = 0
    n_model_kills: int = 0
    """Of hosts with a model in a worker, the plain ones included."""
    n_plain_kills: int = 0
    n_in_start: int = 0
    """Kills before the host had taken any message."""
    n_in_answers: int = 0
    """Answers in whose middle their host was killed; up to N_CHATS for each kill."""
    n_turns: int = 0
    """Messages that hosts had said to be stored."""
    n_turns_lost: int = 0
    n_answers: int = 0
    """Answers that hosts had said to be complete."""
    n_answers_lost: int = 0
    n_not_ok: int = 0
    """Files that integrity_check found fault with, right after the kill."""
    n_notices: int = 0
    """Starts that told of damage."""
    n_wrong_texts: int = 0
    """Texts on the disk that are not the beginning of what was streamed."""
    n_left_streaming: int = 0
    n_orphans: int = 0
    """Workers that outlived their host by GONE_S."""
    lost_ms: list[float] = field(default_factory=list[float])
    """By answer in whose middle the kill came: the age of the oldest text that is not stored."""
    stalled_ms: list[float] = field(default_factory=list[float])
    """By the same: see Life.stalled_ms."""

    def add(self, other: HostKillReport) -> None:
        """Sum up."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


class Victims:
    """Hosts on one home folder, one after the other."""

    def __init__(self, home: Path) -> None:
        self.report = HostKillReport()
        self._home = home
        self._unseen: list[Life] = []
        """Lives whose chats no later host has been asked about yet."""
        (home / "models").mkdir(parents=True)
        write_arch_model(TinyArch.LLAMA, home / "models" / "any.gguf")

    async def kill_many(self, n_kills: int, seed: int) -> HostKillReport:
        """Kill hosts, and look at what the last one left."""
        for number in range(n_kills):
            await self._kill_once(number, Random(seed + number))
        client = await ensure_host(self._home, ECHO)
        try:
            await self._look_back(client)
            pid = (await client.hello()).pid
            await client.stop(drain_s=0)
            await wait_gone(pid, GONE_S)
        finally:
            await client.close()
        return self.report

    async def _kill_once(self, number: int, chance: Random) -> None:
        launcher, kind = _how(number)
        life = Life(kind)
        moment = chance.choice(MOMENTS)
        old = read_info(run_files(self._home))
        (self._home / TOLD_FILE).unlink(missing_ok=True)
        living = asyncio.create_task(self._live(life, launcher, chance.random()))
        try:
            pid = await self._reached(moment, life, living, old.pid if old else 0)
            await asyncio.sleep(chance.uniform(0.0, LONGEST_LIFE_S))
            workers = await self._kill(life, pid)
            # A host that dies while a client waits for its start has another one started.
            while (other := await self._host_after(pid, living)) is not None:
                pid = other
                workers |= await self._kill(life, pid)
        finally:
            await _ended(living)
        self.report.n_orphans += await _n_that_stay(workers)
        self._take_down(life)

    async def _kill(self, life: Life, pid: int) -> set[int]:
        """Kill a host, and give the workers that it had."""
        workers = children_of(pid)
        life.stalled_ms = (time.monotonic() - self._last_beat()) * 1000
        os.kill(pid, signal.SIGKILL)
        life.killed_s = time.monotonic()
        if not await wait_gone(pid, GONE_S):
            msg = f"host {pid} outlives kill -9"
            raise RuntimeError(msg)
        return workers

    async def _host_after(self, killed_pid: int, living: asyncio.Task[None]) -> int | None:
        """Wait until the client gives up or has another host, and give that one's process."""
        give_up_s = time.monotonic() + LONGEST_WAIT_S
        while not living.done() and time.monotonic() < give_up_s:
            info = read_info(run_files(self._home))
            if info is not None and info.pid != killed_pid:
                return info.pid
            # What is waited for happens in another process.
            await asyncio.sleep(0.005)
        return None

    async def _live(self, life: Life, launcher: Launcher, seed: float) -> None:
        """Be a front end with several chats, until the host is gone."""
        client = await ensure_host(self._home, launcher)
        try:
            await self._look_back(client)
            async with asyncio.TaskGroup() as group:
                for index in range(N_CHATS):
                    group.create_task(_chat(client, life, Random(f"{seed} {index}")))
        finally:
            await client.close()

    async def _reached(
        self, moment: str, life: Life, living: asyncio.Task[None], old_pid: int
    ) -> int:
        """Wait for the moment from which the kill is timed, and give the host's process."""
        conditions: dict[str, Callable[[], object]] = {
            "start": lambda: True,
            "turn": lambda: any(turn.is_stored for turn in life.turns),
            "delta": lambda: any(turn.deltas for turn in life.turns),
        }
        give_up_s = time.monotonic() + LONGEST_WAIT_S
        while time.monotonic() < give_up_s:
            info = read_info(run_files(self._home))
            if info is not None and info.pid != old_pid and conditions[moment]():
                return info.pid
            if living.done():
                await living
            # What is waited for happens in another process.
            await asyncio.sleep(0.005)
        msg = f"no {moment} within {LONGEST_WAIT_S:.0f} s; see {self._home}/logs/host.log"
        raise RuntimeError(msg)

    def _last_beat(self) -> float:
        path = self._home / BEAT_FILE
        data = path.read_bytes() if path.exists() else b""
        return float(BEAT.unpack(data)[0]) if len(data) == BEAT.size else time.monotonic()

    def _take_down(self, life: Life) -> None:
        """Look at the files as the kill left them, and keep what the host had told."""
        (self._home / BEAT_FILE).unlink(missing_ok=True)
        path = self._home / TOLD_FILE
        lines = path.read_bytes().splitlines() if path.exists() else []
        for line in lines:
            if not line.endswith(b"}"):
                continue
            one = cast("dict[str, Any]", json.loads(line))
            if one["kind"] == "delta":
                life.told.setdefault(one["key"], []).append((one["at"], one["text"]))
            elif one["at"] > life.killed_s - STALL_S:
                life.stalled_ms = max(life.stalled_ms, one["lag_ms"])
        report = self.report
        report.n_kills += 1
        report.n_model_kills += life.kind != "echo"
        report.n_plain_kills += life.kind == "plain"
        report.n_in_start += not any(turn.is_stored for turn in life.turns)
        report.n_not_ok += sum(integrity(copy) != "ok" for copy in self._copies())
        self._unseen.append(life)

    def _copies(self) -> list[Path]:
        """Copy the databases, so that the next host is the first to open the files themselves."""
        folder = self._home / "copies"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        copied: list[Path] = []
        for name in ("chats.db", "host.db"):
            for suffix in ("", "-wal"):
                source = self._home / (name + suffix)
                if source.exists():
                    shutil.copyfile(source, folder / source.name)
            if (folder / name).exists():
                copied.append(folder / name)
        return copied

    async def _look_back(self, client: HostClient) -> None:
        """Ask the host for what the lives before have left, and take it away."""
        chats = HostChats(client)
        while self._unseen:
            life = self._unseen[0]
            found: dict[str, tuple[Message, ...]] = {}
            for chat_id in {turn.chat_id for turn in life.turns}:
                found[chat_id] = await chats.messages(chat_id)
            seen = examine(life, found)
            sys.stderr.write(json.dumps(asdict(seen)) + "\n")
            sys.stderr.flush()
            self.report.add(seen)
            del self._unseen[0]
            for chat_id in found:
                await chats.delete(chat_id)
        self.report.n_notices += sum(
            "damaged" in notice for notice in (await client.status()).notices
        )


def _how(number: int) -> tuple[Launcher, str]:
    """Choose the host of one kill."""
    if number % MODEL_EVERY != MODEL_EVERY - 1:
        return ECHO, "echo"
    return (TOLD_MODEL, "told") if number // MODEL_EVERY % 2 == 0 else (PLAIN_MODEL, "plain")


async def _chat(client: HostClient, life: Life, chance: Random) -> None:
    """Send one message after the other in a chat of its own."""
    is_echo = life.kind == "echo"
    sampling = {"ignore_eos": True, "temperature": 0.8, "seed": chance.randint(1, 1000)}
    chat = await HostChats(client).create(
        {"model": "any"}
        if is_echo
        else {"model": "builtin", "parameters": {"sampling": sampling, "max_tokens": 300}}
    )
    number = 0
    while True:
        number += 1
        words = " ".join(f"{chat.id}-{number}-{n}" for n in range(chance.choice([2, 30, 200])))
        turn = Turn(chat.id, words[: MAX_LETTERS if is_echo else 60].strip())
        life.turns.append(turn)
        turn_id = await client.start_turn(chat.id, StartTurn(text=turn.text))
        turn.is_stored = True
        async for event in client.turn_events(turn_id):
            read = turn_event_adapter.validate_json(event.data)
            if isinstance(read, TurnDelta):
                turn.deltas.append((time.monotonic(), read.text))
            elif isinstance(read, TurnDone):
                turn.is_done = True


async def _ended(living: asyncio.Task[None]) -> None:
    """Wait until the client has noticed that its host is gone; anything else is a fault."""
    try:
        async with asyncio.timeout(LONGEST_WAIT_S):
            await living
    except* LuciError as errors:
        for error in _leaves(errors):
            if not isinstance(error, HostError) or error.code not in _GONE:
                raise


_GONE: Final = frozenset({"unreachable", "start_failed"})


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _leaves(cast("BaseExceptionGroup[Any]", error))
        else:
            found.append(error)
    return found


async def _n_that_stay(pids: set[int]) -> int:
    """Wait for the workers of a host that is gone; count those that do not leave."""
    give_up_s = time.monotonic() + GONE_S
    while (left := alive(pids)) and time.monotonic() < give_up_s:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(left)


def examine(life: Life, found: dict[str, tuple[Message, ...]]) -> HostKillReport:
    """Compare what is stored with what the host had told and its client had read."""
    report = HostKillReport()
    for messages in found.values():
        report.n_left_streaming += sum(one.state is MessageState.STREAMING for one in messages)
    for turn in life.turns:
        messages = found[turn.chat_id]
        user = next((one for one in messages if one.text == turn.text), None)
        reply = next((one for one in messages if user and one.parent_id == user.id), None)
        stored = reply.text if reply else ""
        deltas = turn.deltas if life.kind == "plain" else life.told.get(turn.text, [])
        read = "".join(text for _, text in turn.deltas)
        whole = "".join(text for _, text in deltas)
        if turn.is_stored:
            report.n_turns += 1
            report.n_turns_lost += reply is None
        # A host that only its client listens to may have stored more than it had sent.
        is_beginning = whole.startswith(stored) or (
            life.kind == "plain" and stored.startswith(whole)
        )
        report.n_wrong_texts += not is_beginning or not (whole.startswith(read))
        if turn.is_done:
            report.n_answers += 1
            is_whole = reply is not None and reply.state is MessageState.COMPLETE
            report.n_answers_lost += not is_whole or stored != read
        elif deltas:
            report.n_in_answers += 1
            report.lost_ms.append(age_of_lost(deltas, len(stored), life.killed_s))
            report.stalled_ms.append(round(life.stalled_ms, 1))
    return report


def age_of_lost(deltas: list[tuple[float, str]], n_stored: int, killed_s: float) -> float:
    """Give the milliseconds from the first text that is not stored to the kill; 0 = all is."""
    n_seen = 0
    for at_s, text in deltas:
        n_seen += len(text)
        if n_seen > n_stored:
            return round(max(0.0, killed_s - at_s) * 1000, 1)
    return 0.0


async def kill_in_parallel(
    folder: Path, n_kills: int, seed: int, n_parallel: int
) -> HostKillReport:
    """Share the kills among several home folders, each with a process of its own."""
    if n_parallel == 1:
        return await Victims(folder / "home").kill_many(n_kills, seed)
    shares = [len(range(index, n_kills, n_parallel)) for index in range(n_parallel)]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.host_kills"),
            *(str(folder / f"{index}"), str(share), str(seed + 100_000 * index), "1"),
            stdout=asyncio.subprocess.PIPE,
        )
        for index, share in enumerate(shares)
    ]
    total = HostKillReport()
    for index, process in enumerate(processes):
        out, _ = await process.communicate()
        if process.returncode:
            msg = f"share {index} ended with {process.returncode}"
            raise RuntimeError(msg)
        total.add(HostKillReport(**json.loads(out)))
    return total


if __name__ == "__main__":
    where, n, first_seed, parallel = sys.argv[1:]
    outcome = asyncio.run(kill_in_parallel(Path(where), int(n), int(first_seed), int(parallel)))
    sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
