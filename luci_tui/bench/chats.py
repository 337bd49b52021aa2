"""How fast chats open and are found: `python -m luci_tui.bench.chats --json`.

Two stores are built from a fixed seed, with words as frequent as in real texts (Zipf): one chat of
5,000 messages, and 100,000 messages over 500 chats. Each figure is the time of one call on a store
that was opened afresh, so SQLite's own cache is empty; the system's cache is warm.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from luci_tui.bench.report import Spread, percentile
from luci_tui.chat.naming import new_id
from luci_tui.chat.records import ChatSession, Message, Role
from luci_tui.chat.search import SearchOrder
from luci_tui.chat.store import ChatStore
from luci_tui.engine import frames

N_LONG = 5_000
"""Messages of the one long chat."""
N_MANY = 100_000
"""Messages of the large store."""
N_CHATS = 500
OPEN_BAR_MS = 200.0
SEARCH_BAR_MS = 100.0
_N_WORDS = 20_000
_SEED = 5
_QUERIES = {
    "one rare word": "w15000",
    "a word in about every second message": "w0",
    "two frequent words": "w0 w3",
    "three letters, being typed": "w12",
    "a word that is not there": "nowhere",
}


@dataclass(frozen=True)
class Figure:
    """The rounds of one call."""

    what: str
    bar_ms: float
    rounds_ms: Sequence[float]
    cpu_ms: Sequence[float]
    """Time of the processor alone; on a busy machine it says more than the clock."""

    @property
    def is_met(self) -> bool:
        """All but the slowest twentieth of the rounds are below the bar, by the clock."""
        return percentile(self.rounds_ms, 95) < self.bar_ms

    def as_json(self) -> dict[str, object]:
        """Return the figure as a JSON object."""
        spread, cpu = Spread.of(self.rounds_ms), Spread.of(self.cpu_ms)
        return {
            "what": self.what,
            "ms": spread.as_json() if spread else None,
            "cpu_ms": cpu.as_json() if cpu else None,
            "p95_ms": round(percentile(self.rounds_ms, 95), 3),
            "bar_ms": self.bar_ms,
            "is_met": self.is_met,
        }


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Build the stores and take all figures."""
    long_store, many_store = folder / "long.db", folder / "many.db"
    chance = random.Random(_SEED)
    words = _words(chance)
    (long_chat,) = _build(long_store, words, chance, n_chats=1, n_messages=N_LONG)
    chats = _build(many_store, words, chance, n_chats=N_CHATS, n_messages=N_MANY)
    figures = [
        _timed(
            f"open a chat of {N_LONG} messages",
            OPEN_BAR_MS,
            long_store,
            rounds,
            lambda store: store.open(long_chat),
        ),
        _timed(
            f"open a chat of {N_MANY // N_CHATS} among {N_MANY} messages",
            OPEN_BAR_MS,
            many_store,
            rounds,
            lambda store: store.open(chats[N_CHATS // 2]),
        ),
        _timed(f"list {N_CHATS} chats", OPEN_BAR_MS, many_store, rounds, lambda s: s.chats()),
    ]
    for what, query in _QUERIES.items():
        for order in SearchOrder:
            figures.append(_search(many_store, rounds, what, query, order))
    return figures


def _search(path: Path, rounds: int, what: str, query: str, order: SearchOrder) -> Figure:
    name = f"search {N_MANY} messages, {order.value} first: {what}"
    return _timed(name, SEARCH_BAR_MS, path, rounds, lambda store: store.search(query, order=order))


def _timed(
    what: str, bar_ms: float, path: Path, rounds: int, call: Callable[[ChatStore], object]
) -> Figure:
    rounds_ms: list[float] = []
    cpu_ms: list[float] = []
    for _ in range(rounds):
        store = ChatStore(path)
        started, cpu_started = time.perf_counter(), time.process_time()
        call(store)
        cpu_ms.append((time.process_time() - cpu_started) * 1000)
        rounds_ms.append((time.perf_counter() - started) * 1000)
        store.close()
    return Figure(what, bar_ms, rounds_ms, cpu_ms)


def _words(chance: random.Random) -> list[str]:
    """Draw a long text in which the word of rank n is as frequent as 1/(n + 2.7)."""
    weights = [1 / (rank + 2.7) for rank in range(_N_WORDS)]
    return chance.choices([f"w{rank}" for rank in range(_N_WORDS)], weights, k=500_000)


def _build(
    path: Path, words: list[str], chance: random.Random, *, n_chats: int, n_messages: int
) -> list[str]:
    """Fill a store; gives the ids of its chats."""
    store = ChatStore(path)
    ids: list[str] = []
    for number in range(n_chats):
        messages = _conversation(words, chance, n_messages // n_chats)
        session = ChatSession(
            id=new_id(10),
            title=f"Chat {number}",
            is_title_set=True,
            model="bench",
            active_leaf_id=messages[-1].id,
            created_ms=number,
            updated_ms=number,
        )
        ids.append(store.add(session, messages).id)
    store.close()
    return ids


def _conversation(words: list[str], chance: random.Random, n_messages: int) -> list[Message]:
    """Make a chat as it is after its turns: prompts of 5 to 30 words, answers of 20 to 150."""
    made: list[Message] = []
    for place in range(n_messages):
        is_answer = place % 2 == 1
        n_words = chance.randrange(20, 151) if is_answer else chance.randrange(5, 31)
        start = chance.randrange(len(words) - n_words)
        message = Message(
            id=new_id(),
            parent_id=made[-1].id if made else None,
            role=Role.ASSISTANT if is_answer else Role.USER,
            text=" ".join(words[start : start + n_words]),
            created_ms=place,
        )
        made.append(message.model_copy(update=_figures(n_words)) if is_answer else message)
    return made


def _figures(n_words: int) -> dict[str, object]:
    usage = frames.Usage(prompt_tokens=500, completion_tokens=n_words, n_ctx=4096)
    timings = frames.Timings(prefill_ms=100.5, decode_ms=1000.25, ttft_ms=101.5)
    return {
        "model": "bench",
        "finish_reason": frames.FinishReason.STOP,
        "usage": usage,
        "timings": timings,
        "seed": 1,
        "finished_ms": 1,
    }


def machine() -> dict[str, object]:
    """Say where the figures were taken."""
    return {
        "cpus": os.cpu_count(),
        "load_average_1_min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(),
    }


def main(arguments: list[str]) -> int:
    """Measure and print; 1 = a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m luci_tui.bench.chats", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=20, help="calls per figure [20]")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="luci-chats-") as folder:
        figures = measure(Path(folder), options.rounds)
    if options.json:
        report = {"machine": machine(), "figures": [figure.as_json() for figure in figures]}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        for figure in figures:
            median, cpu = statistics.median(figure.rounds_ms), statistics.median(figure.cpu_ms)
            verdict = "met" if figure.is_met else "missed"
            sys.stdout.write(
                f"{median:8.1f} ms  p95 {percentile(figure.rounds_ms, 95):8.1f} ms"
                f"  cpu {cpu:8.1f} ms  (bar {figure.bar_ms:.0f} ms, {verdict})  {figure.what}\n"
            )
    return 0 if all(figure.is_met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
