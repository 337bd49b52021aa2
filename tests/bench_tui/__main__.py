"""Measure the screen on a terminal: `make bench-tui`.

Each figure is taken with the real program on a pseudo-terminal and a real host, in a temporary home
folder. Judge them on a quiet machine only. The exit code is 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import psutil

from luci_tui.units import format_bytes
from luci_tui.version import VERSION
from tests.bench_tui import figures
from tests.bench_tui.figures import Figure
from tests.bench_tui.filtering import filter_rows

BEGIN = "<!-- bench-tui: begin -->"
END = "<!-- bench-tui: end -->"
CACHE = Path(".cache/bench-models")
"""Where the other benches keep their models, too."""

Taken = Figure | tuple[Figure, ...]


def _kinds(options: argparse.Namespace) -> dict[str, Callable[[Path], Awaitable[Taken]]]:
    keys, rounds, for_s = int(options.keys), int(options.rounds), float(options.seconds)
    return {
        "start": lambda home: figures.first_frame(home, rounds),
        "open": lambda home: figures.long_chat(home, rounds),
        "stream": lambda home: figures.echo_while_streaming(home, CACHE, keys),
        "busy": lambda home: figures.echo_while_busy(home, CACHE, keys),
        "turns": lambda home: figures.echo_after_turns(home, keys),
        "loss": lambda home: figures.engine_loss(home, CACHE, rounds),
        "idle": lambda home: figures.idle(home, for_s),
        "ssh": lambda home: figures.streaming_over_ssh(home, for_s),
        "filter": lambda home: filter_rows(home, keys // 2),
    }


def main() -> int:
    """Measure, print, and write the table if asked to; 1 = a bar is missed."""
    options = _options()
    found: list[Figure] = []
    for name, take in _kinds(options).items():
        if options.only and name not in options.only:
            continue
        with tempfile.TemporaryDirectory(prefix="luci-screen-", dir=options.folder) as folder:
            taken = asyncio.run(_awaited(take(Path(folder) / "home")))
        new = list(taken) if isinstance(taken, tuple) else [taken]
        found += new
        if not options.json:
            sys.stdout.write("\n".join(_rows(new)) + "\n")
            sys.stdout.flush()
    if options.json:
        sys.stdout.write(json.dumps([asdict(one) | {"is_met": one.is_met} for one in found]) + "\n")
    if options.table:
        _write_table(options.table, found)
    return 0 if all(one.is_met for one in found) else 1


async def _awaited(taking: Awaitable[Taken]) -> Taken:
    return await taking


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_tui", description=__doc__)
    parser.add_argument("--only", action="append", help="one figure; repeatable")
    parser.add_argument("--keys", type=int, default=300, help="how many are typed for each echo")
    parser.add_argument("--rounds", type=int, default=7, help="of what is done again and again")
    parser.add_argument("--seconds", type=float, default=20.0, help="of what is watched")
    parser.add_argument("--folder", type=Path, help="for home folders; its path must be short")
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    parser.add_argument("--table", type=Path, help="Markdown file whose table is replaced")
    return parser.parse_args()


def _report(found: list[Figure]) -> Iterator[str]:
    memory = format_bytes(psutil.virtual_memory().total)
    yield f"- machine: {os.cpu_count()} CPUs, {memory}, {platform.release()}"
    yield f"- luci {VERSION}, Python {platform.python_version()}, a terminal of 120x40"
    yield ""
    yield "| Figure | Value | At most | | Spread |"
    yield "|---|--:|--:|---|---|"
    yield from _rows(found)


def _rows(found: list[Figure]) -> Iterator[str]:
    for one in found:
        verdict = "met" if one.is_met else "missed"
        value, bar = f"{one.value:.4g} {one.unit}", f"{one.bar:g} {one.unit}"
        yield f"| {one.name} | {value} | {bar} | {verdict} | {one.detail} |"


def _write_table(path: Path, found: list[Figure]) -> None:
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        msg = f"{path} has no place for the table: {BEGIN} and {END} are missing."
        raise SystemExit(msg)
    table = "\n".join(_report(found))
    path.write_text(f"{head}{BEGIN}\n\n{table}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
