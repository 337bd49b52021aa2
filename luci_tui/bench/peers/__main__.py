"""Compare luci with its peers: `python -m luci_tui.bench.peers`, or `make bench-peers`."""

from __future__ import annotations

import argparse
import logging
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from luci_tui.bench.peers import build, models, own, own_rounds, results, rounds, table
from luci_tui.version import VERSION

logger = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[3]
_CACHE = _ROOT / ".cache"
_RAW = _CACHE / "bench-peers.json"
_GROUPS = ("single", "streams", "prefix", "cancel", "own")
_MODELS = {"56m": models.SMALL, "1.1b": models.LARGE}
_PEERS = (results.BENCH, results.BATCHED, results.SERVER, results.PYTHON)
_CONTENDERS = {
    name.replace("luci ", ""): name
    for name in (results.WORKER, results.HOST, results.SERVE, *_PEERS)
}


def main() -> None:
    """Build what is missing, run the rounds, write the table."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    peers = build.peers_of(_ROOT)
    if not options.no_build:
        build.build_tools(_ROOT, psutil.cpu_count() or 1)
        if results.PYTHON in options.contenders:
            build.install_python_peer(_ROOT)
    collector = results.Collector()
    benches = [_bench(name, peers, options.threads, collector) for name in options.models]
    turns = _turns(options)
    for round_index in range(options.rounds):
        for bench in benches:
            for group, turn in _rotated(turns, round_index):
                if group == "prefix" and bench.model_name != models.SMALL.name:
                    continue
                logger.info("round %d, %s: %s", round_index + 1, bench.model_name, turn.__name__)
                turn(bench, round_index)
    if "own" in options.only and results.WORKER in options.contenders:
        for bench in benches:
            own.measure_buffers(bench)
            own.measure_idle_and_memory(bench)
        own.measure_start(collector, options.rounds)
    machine = (
        *_machine(options.threads),
        *_peer_versions(peers, options.contenders),
        *((b.model_name, str(b.model_path.relative_to(_ROOT))) for b in benches),
    )
    report = collector.report(machine, options.rounds)
    results.save(report, options.raw)
    if options.table:
        table.write_table(report, options.table)
    logger.info("%s", "\n".join(table.render(report)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m luci_tui.bench.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender runs")
    parser.add_argument("--models", nargs="+", choices=_MODELS, default=list(_MODELS))
    parser.add_argument("--only", nargs="+", choices=_GROUPS, default=list(_GROUPS))
    parser.add_argument("--threads", type=int, default=psutil.cpu_count(logical=False) or 1)
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=_CONTENDERS,
        default=list(_CONTENDERS),
        metavar="NAME",
        help=f"who is measured, of {', '.join(_CONTENDERS)}",
    )
    parser.add_argument("--no-build", action="store_true", help="use the peers as they are")
    parser.add_argument("--raw", type=Path, default=_RAW, help="where the raw values go, as JSON")
    parser.add_argument("--table", type=Path, help="Markdown file whose table is replaced")
    options = parser.parse_args()
    options.contenders = [_CONTENDERS[name] for name in options.contenders]
    return options


def _bench(
    name: str, peers: build.Peers, n_threads: int, collector: results.Collector
) -> rounds.Bench:
    model = _MODELS[name]
    quantize = peers.binary("llama-quantize")
    path = models.ensure_model(model, _CACHE / "bench-models", quantize, n_threads)
    return rounds.Bench(model.name, path, peers, n_threads, _ROOT, collector, model.n_repeats)


def _turns(options: argparse.Namespace) -> list[tuple[str, rounds.Turn]]:
    return [
        (group, turn)
        for group in options.only
        for turns in (own_rounds.OUR_TURNS, rounds.PEER_TURNS)
        for contender, turn in turns.get(group, {}).items()
        if contender in options.contenders
    ]


def _rotated(
    turns: list[tuple[str, rounds.Turn]], round_index: int
) -> list[tuple[str, rounds.Turn]]:
    """Start each round with another contender, so that none always follows the same one."""
    start = round_index % max(len(turns), 1)
    return turns[start:] + turns[:start]


def _machine(n_threads: int) -> tuple[tuple[str, str], ...]:
    memory_gb = psutil.virtual_memory().total / 1e9
    return (
        ("processor", f"{_processor()}, {psutil.cpu_count()} CPUs, {n_threads} threads used"),
        ("memory", f"{memory_gb:.0f} GB"),
        ("system", f"{platform.system()} {platform.release()}"),
    )


def _peer_versions(peers: build.Peers, contenders: list[str]) -> Iterator[tuple[str, str]]:
    compiler = subprocess.run(["c++", "--version"], capture_output=True, text=True, check=True)
    yield "compiler", compiler.stdout.splitlines()[0]
    yield "llama.cpp", _llama_version()
    if results.PYTHON in contenders:
        program = "import importlib.metadata as m; print(m.version('llama-cpp-python'))"
        command = [str(peers.python), "-c", program]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        yield "llama-cpp-python", found.stdout.strip()
    yield "luci", VERSION
    yield "Python", platform.python_version()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1) if found else platform.processor() or platform.machine()


def _llama_version() -> str:
    lock = (_ROOT / "native" / "llama.cpp.lock").read_text(encoding="utf-8")
    found = re.search(r"commit (\w+)", lock)
    return f"commit {found.group(1)}" if found else "see native/llama.cpp.lock"


if __name__ == "__main__":
    main()
