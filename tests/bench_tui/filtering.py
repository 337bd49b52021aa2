"""Take how long a key in the filter of a long list needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench_tui import homes
from tests.bench_tui.figures import Figure, host_at, key_figure, screen_at
from tests.bench_tui.timed_terminal import TimedTerminal

BAR_MS = 50
CLEAR = "\x15"
MAX_LOGS = 12
"""Logs that are turned over before the long one has to be there."""


async def filter_rows(home: Path, n_keys: int) -> tuple[Figure, Figure]:
    """From a key in the filter to the filtered list standing there, for log lines and for chats."""
    homes.add_log(home)
    homes.add_chats(home, homes.N_LINES, 2)
    lines = [homes.log_line(number) for number in range(homes.N_LINES)]
    chats = [f"builtin {homes.title_of(number)}" for number in range(homes.N_LINES)]
    async with host_at(home):
        with screen_at(home) as terminal:
            terminal.until_shown("ready")
            _open_log(terminal)
            of_lines = _filtered(terminal, lines, n_keys)
        with screen_at(home) as terminal:
            terminal.until_shown("ready")
            terminal.send("\x0c")
            terminal.until_shown(f"{homes.N_LINES} chats")
            of_chats = _filtered(terminal, chats, n_keys)
    return (
        key_figure(f"filtering {homes.N_LINES:,} lines of a log, each key", of_lines, bar=BAR_MS),
        key_figure(f"filtering {homes.N_LINES:,} chats, each key", of_chats, bar=BAR_MS),
    )


def _open_log(terminal: TimedTerminal) -> None:
    had = len(terminal.output)
    terminal.send("\x1b8")
    terminal.until_shown(" lines", had)
    for _ in range(MAX_LOGS):
        if f"{homes.LOG_NAME} (".encode() in terminal.output[had:]:
            terminal.until_shown(f"{homes.N_LINES:,} lines", had)
            return
        had = len(terminal.output)
        terminal.send("\x1b[C")
        terminal.until_shown(".log (", had)
    msg = f"None of the {MAX_LOGS} first logs is {homes.LOG_NAME}."
    raise TimeoutError(msg)


def _filtered(terminal: TimedTerminal, rows: Sequence[str], n_keys: int) -> list[float]:
    """Type words that leave fewer rows with each letter, and take the milliseconds of each key."""
    texts = [row.casefold() for row in rows]
    terminal.settle()
    terminal.send("/")
    terminal.until_shown("Filter:")
    times: list[float] = []
    for number in range(len(rows)):
        had = len(terminal.output)
        for typed, n_left in _narrowing(homes.code_of(number * 37 % len(rows)), texts):
            times.append(_until_drawn(terminal, typed[-1], n_left, len(rows)))
            if len(times) >= n_keys:
                return times
        if len(terminal.output) > had:
            times.append(_until_drawn(terminal, CLEAR, len(rows), len(rows)))
    return times


def _narrowing(word: str, rows: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Give beginnings of the word as long as each leaves fewer rows, and how many."""
    before = len(rows)
    for end in range(1, len(word) + 1):
        n_left = sum(word[:end] in row for row in rows)
        if n_left == before:
            return
        before = n_left
        yield word[:end], n_left


def _until_drawn(terminal: TimedTerminal, key: str, n_left: int, n_all: int) -> float:
    """Type and give the milliseconds until the count and all other changes are drawn."""
    had = len(terminal.output)
    sent_s = terminal.send(key)
    terminal.until_shown(f"{n_left:,} of {n_all:,}", had)
    return (terminal.settle() - sent_s) * 1000
