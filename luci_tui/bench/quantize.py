"""Compare `luci quantize` with llama-quantize: `python -m luci_tui.bench.quantize MODEL`.

Both convert the same file to the same type with the same threads, in turns, so that what else the
machine does meets both. Two pairs of figures: the whole command, from its start to its end, and
quantizing alone as each program measures it itself. llama-quantize does not sync what it writes;
luci's whole command does, and checks the file.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from luci_tui.bench.peers import build
from luci_tui.errors import EngineError

TARGET_RATIO = 0.97
"""luci's speed over llama-quantize's that is wanted at least."""

logger = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[2]
_TOOL_TIME = re.compile(r"quantize time\s*=\s*([0-9.]+) ms")


@dataclass
class Times:
    """Seconds of one contender, a value per round."""

    whole_s: list[float] = field(default_factory=list[float])
    core_s: list[float] = field(default_factory=list[float])


def main() -> None:
    """Run the rounds and print the table."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    tool = options.tool or build.peers_of(_ROOT).binary("llama-quantize")
    if not tool.exists():
        build.build_tool(_ROOT, "llama-quantize", psutil.cpu_count() or 1)
    for line in report(measure(options, tool), options):
        sys.stdout.write(line + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m luci_tui.bench.quantize", description=__doc__)
    parser.add_argument("model", type=Path, help="an F16 or F32 model of some gigabytes")
    parser.add_argument("--type", default="Q4_K_M")
    parser.add_argument("--threads", type=int, default=psutil.cpu_count(logical=False) or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the outputs go; default: the model's")
    parser.add_argument("--tool", type=Path, help="llama-quantize; default: build/peers/bin")
    return parser.parse_args()


def measure(options: argparse.Namespace, tool: Path) -> tuple[Times, Times]:
    """Run all rounds: (luci, llama-quantize).

    Raises:
        EngineError: one of the programs failed, or the files differ.
    """
    folder = options.folder or options.model.parent
    ours, theirs = folder / "bench-luci.gguf", folder / "bench-peer.gguf"
    luci, peer = Times(), Times()
    try:
        _run_luci(options, ours, Times())  # both find the source in the page cache
        for index in range(options.rounds):
            # Who goes first changes from round to round.
            for is_luci in (True, False) if index % 2 == 0 else (False, True):
                if is_luci:
                    _run_luci(options, ours, luci)
                else:
                    _run_tool(options, tool, theirs, peer)
            logger.info("round %d: %.2f s, %.2f s", index + 1, luci.core_s[-1], peer.core_s[-1])
        if not _are_equal(ours, theirs):
            msg = f"{ours} and {theirs} differ. Check that both come from the same llama.cpp."
            raise EngineError(msg, code="bench")
    finally:
        ours.unlink(missing_ok=True)
        theirs.unlink(missing_ok=True)
    return luci, peer


def _run_luci(options: argparse.Namespace, output: Path, times: Times) -> None:
    command = [sys.executable, "-m", "luci_tui", "quantize", str(options.model), str(output)]
    command += ["--type", options.type, "--threads", str(options.threads), "--force", "--json"]
    text, whole_s = _timed(command)
    times.whole_s.append(whole_s)
    times.core_s.append(float(json.loads(text)["files"][0]["seconds"]))


def _run_tool(options: argparse.Namespace, tool: Path, output: Path, times: Times) -> None:
    command = [str(tool), str(options.model), str(output), options.type, str(options.threads)]
    text, whole_s = _timed(command)
    found = _TOOL_TIME.search(text)
    if found is None:
        msg = f"{tool} printed no time. Build it again from the pinned tree."
        raise EngineError(msg, code="bench")
    times.whole_s.append(whole_s)
    times.core_s.append(float(found[1]) / 1000)


def _timed(command: list[str]) -> tuple[str, float]:
    # What the last turn wrote must not be written back during this one.
    os.sync()
    start_s = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    whole_s = time.monotonic() - start_s
    if done.returncode != 0:
        msg = f"{command[0]} failed: {done.stderr.strip()[-300:]}"
        raise EngineError(msg, code="bench")
    return done.stdout, whole_s


def _are_equal(first: Path, second: Path) -> bool:
    if first.stat().st_size != second.stat().st_size:
        return False
    with first.open("rb") as one, second.open("rb") as other:
        while block := one.read(1 << 20):
            if block != other.read(1 << 20):
                return False
    return True


def report(times: tuple[Times, Times], options: argparse.Namespace) -> list[str]:
    """Describe the medians; a ratio is the median over the rounds of peer's time / luci's."""
    luci, peer = times
    lines = [f"{options.model.name} to {options.type}, {options.threads} threads, files are equal"]
    for name, ours, theirs in (
        ("quantizing", luci.core_s, peer.core_s),
        ("whole command", luci.whole_s, peer.whole_s),
    ):
        ratio = statistics.median(other / own for own, other in zip(ours, theirs, strict=True))
        lines.append(
            f"{name}: luci {statistics.median(ours):.2f} s, llama-quantize "
            f"{statistics.median(theirs):.2f} s, speed ratio {ratio:.3f} (target {TARGET_RATIO})"
        )
    return lines


if __name__ == "__main__":
    main()
