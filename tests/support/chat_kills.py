"""Kill a process with -9 while it answers in chats, look at what is on the disk, and again.

`python -m tests.support.chat_kills FOLDER N SEED PARALLEL` prints one JSON object. Everything is
imported once; each victim is a fork of that process, so a kill costs what the victim lives.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from luci_tui.chat.journal import Journal
from luci_tui.chat.records import MessageState
from luci_tui.chat.service import ChatService
from luci_tui.chat.store import ChatStore
from luci_tui.chat.store_thread import StoreThread
from luci_tui.chat.turn_events import TurnDone, TurnStarted
from luci_tui.engine import frames
from luci_tui.engine.echo import EchoEngine
from tests.support import engines
from tests.support.chats import FakeModels, integrity

LONGEST_LIFE_S = 1.5
"""A victim is killed within this time of its fork, of its first turn or of its first text."""
BEGINNINGS = (b"", b'"turn"', b'"delta"', b'"delta"', b'"delta"')
"""What the moment is counted from; with the first one, kills meet the opening of the file."""
LONGEST_START_S = 30.0
MAX_LETTERS = 1200
N_CTX = 8192
WORD_PAUSE_S = 0.01


Line = dict[str, object]
"""What a victim says: `kind`, `at` (seconds) and more."""


@dataclass
class KillReport:
    """What was found on the disk after all kills."""

    n_kills: int = 0
    n_in_answers: int = 0
    """Kills in the middle of an answer."""
    n_turns: int = 0
    """User's turns that victims reported as stored."""
    n_turns_lost: int = 0
    n_answers: int = 0
    """Answers that victims reported as complete."""
    n_answers_lost: int = 0
    n_not_ok: int = 0
    """Files that integrity_check found fault with."""
    n_wrong_texts: int = 0
    """Texts on the disk that are not the beginning of what was streamed."""
    n_left_streaming: int = 0
    lost_ms: list[float] = field(default_factory=list[float])
    """By kill in an answer: the age of the oldest text that was streamed and is not stored."""

    def add(self, other: KillReport) -> None:
        """Sum up."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


class ReportingEngine(EchoEngine):
    """Says what it streams through a pipe before anyone else learns of it."""

    def __init__(self, pipe_fd: int, pause_s: float) -> None:
        super().__init__(lambda: asyncio.sleep(pause_s))
        self._pipe_fd = pipe_fd

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        async with aclosing(super().generate(request)) as events:
            async for event in events:
                if isinstance(event, frames.Delta):
                    tell(self._pipe_fd, "delta", text=event.text)
                yield event


def tell(pipe_fd: int, kind: str, **fields: object) -> None:
    """Write one line; it is in the kernel when this returns, and a kill cannot take it back."""
    line = {"kind": kind, "at": time.monotonic(), **fields}
    os.write(pipe_fd, json.dumps(line).encode() + b"\n")


async def answer_until_killed(path: Path, chat_id: str, pipe_fd: int, seed: int) -> None:
    """Be the victim: one turn after the other, for ever."""
    chance = random.Random(seed)
    engine = ReportingEngine(pipe_fd, WORD_PAUSE_S)
    info = await engines.load(engine, "echo", n_ctx=N_CTX)
    store = await StoreThread.open(path)
    service = ChatService(store, FakeModels(engine, info), Journal(path.parent / "logs"))
    number = 0
    while True:
        number += 1
        words = " ".join(f"{seed}-{number}-{n}" for n in range(chance.choice([3, 40, 400])))
        async with aclosing(service.send(chat_id, words[:MAX_LETTERS])) as events:
            async for event in events:
                if isinstance(event, TurnStarted):
                    tell(
                        pipe_fd,
                        "turn",
                        user=event.user_message_id,
                        reply=event.reply_id,
                        text=words[:MAX_LETTERS],
                    )
                elif isinstance(event, TurnDone):
                    tell(pipe_fd, "done", reply=event.reply_id)


def victim(path: Path, chat_id: str, pipe_fd: int, seed: int) -> int:
    """Fork a victim; gives its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        asyncio.run(answer_until_killed(path, chat_id, pipe_fd, seed))
    finally:
        os._exit(70)


def kill_once(path: Path, chat_id: str, seed: int) -> KillReport:
    """Start a victim, kill it at a random moment and look at the file."""
    read_fd, write_fd = os.pipe()
    pid = victim(path, chat_id, write_fd, seed)
    os.close(write_fd)
    os.set_blocking(read_fd, False)
    told = watch_until_its_end(read_fd, random.Random(-seed))
    os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        msg = f"the victim of seed {seed} left by itself with {status}"
        raise RuntimeError(msg)
    told += drained(read_fd)
    os.close(read_fd)
    lines = [json.loads(line) for line in told.splitlines() if line.endswith(b"}")]
    return examine(path, chat_id, lines, killed_at)


def watch_until_its_end(read_fd: int, chance: random.Random) -> bytes:
    """Read what a victim says until the moment of its end comes."""
    told = b""
    beginning = chance.choice(BEGINNINGS)
    give_up = time.monotonic() + LONGEST_START_S
    while beginning not in told and time.monotonic() < give_up:
        time.sleep(0.005)
        told += drained(read_fd)
    end = time.monotonic() + chance.uniform(0.0, LONGEST_LIFE_S)
    while (left := end - time.monotonic()) > 0:
        told += drained(read_fd)
        time.sleep(min(left, 0.02))
    return told


def drained(read_fd: int) -> bytes:
    """Read what is in a pipe."""
    data = b""
    try:
        while piece := os.read(read_fd, 1 << 16):
            data += piece
    except BlockingIOError:
        pass
    return data


def examine(path: Path, chat_id: str, lines: list[Line], killed_at: float) -> KillReport:
    """Compare the file with what the victim said."""
    report = KillReport(n_kills=1)
    report.n_not_ok = integrity(path) != "ok"
    store = ChatStore(path)
    messages = {message.id: message for message in store.messages(chat_id)}
    store.close()
    report.n_not_ok += bool(store.notice)
    report.n_left_streaming = sum(m.state is MessageState.STREAMING for m in messages.values())
    done = {line["reply"] for line in lines if line["kind"] == "done"}
    for turn, streamed in turns_of(lines):
        report.n_turns += 1
        user, reply = messages.get(str(turn["user"])), messages.get(str(turn["reply"]))
        report.n_turns_lost += user is None or user.text != turn["text"] or reply is None
        stored = reply.text if reply else ""
        whole = "".join(str(delta["text"]) for delta in streamed)
        report.n_wrong_texts += not whole.startswith(stored)
        if turn["reply"] in done:
            report.n_answers += 1
            report.n_answers_lost += stored != whole or not reply or reply.state != "complete"
        elif streamed:
            report.n_in_answers += 1
            report.lost_ms.append(age_of_lost(streamed, len(stored), killed_at))
    return report


def turns_of(lines: list[Line]) -> list[tuple[Line, list[Line]]]:
    """Give each turn with what was streamed in it."""
    turns: list[tuple[Line, list[Line]]] = []
    for line in lines:
        if line["kind"] == "turn":
            turns.append((line, []))
        elif line["kind"] == "delta" and turns:
            turns[-1][1].append(line)
    return turns


def age_of_lost(deltas: list[Line], n_stored: int, killed_at: float) -> float:
    """Give the milliseconds from the first text that is not stored to the kill; 0 = all is."""
    n_seen = 0
    for delta in deltas:
        n_seen += len(str(delta["text"]))
        if n_seen > n_stored:
            return (killed_at - float(str(delta["at"]))) * 1000
    return 0.0


def kill_many(folder: Path, n_kills: int, seed: int) -> KillReport:
    """Kill one victim after the other on one file."""
    path = folder / "chats.db"
    store = ChatStore(path)
    chat = store.create(model="echo")
    store.close()
    total = KillReport()
    for number in range(n_kills):
        total.add(kill_once(path, chat.id, seed + number))
    return total


def kill_in_parallel(folder: Path, n_kills: int, seed: int, n_parallel: int) -> KillReport:
    """Share the kills among several files and processes."""
    shares = [len(range(index, n_kills, n_parallel)) for index in range(n_parallel)]
    pids: list[int] = []
    for index, share in enumerate(shares):
        (folder / f"{index}").mkdir(parents=True)
        pid = os.fork()
        if pid == 0:
            try:
                report = kill_many(folder / f"{index}", share, seed + 100_000 * index)
                (folder / f"{index}.json").write_text(json.dumps(asdict(report)))
                os._exit(0)
            finally:
                os._exit(70)
        pids.append(pid)
    total = KillReport()
    for index, pid in enumerate(pids):
        _, status = os.waitpid(pid, 0)
        if status:
            msg = f"share {index} ended with {os.waitstatus_to_exitcode(status)}"
            raise RuntimeError(msg)
        total.add(KillReport(**json.loads((folder / f"{index}.json").read_text())))
    return total


if __name__ == "__main__":
    where, n, first_seed, parallel = sys.argv[1:]
    found = kill_in_parallel(Path(where), int(n), int(first_seed), int(parallel))
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
