"""The figures of one bench run, as data, as JSON and as a table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from luci_tui.units import format_count


class Via(StrEnum):
    """Where a figure was taken."""

    CORE = "core"
    """In the worker process, around the core alone."""
    WORKER = "worker"
    """By a client of the worker: frames, pipes and delivery included."""


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of the rounds."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Sum up the rounds; None if there are none."""
        rounds = list(values)
        if not rounds:
            return None
        return cls(statistics.median(rounds), min(rounds), max(rounds))

    def as_json(self) -> dict[str, float]:
        """Return the three numbers, rounded to what a clock can tell."""
        return {
            "median": round(self.median, 3),
            "min": round(self.min, 3),
            "max": round(self.max, 3),
        }


@dataclass(frozen=True)
class Measured:
    """All rounds of one test through one way."""

    test: str
    """"pp512": prefill of 512 tokens; "tg128": decode of 128 tokens."""
    via: Via
    streams: int
    tokens_per_s: Spread
    """Sum over all streams."""
    ttft_ms: Spread | None
    """Sent to first delta, all streams of all rounds; None = not visible from there."""


@dataclass(frozen=True)
class BenchReport:
    """Everything that one run of the bench found out."""

    model: str
    description: str
    threads: int
    rounds: int
    temperature: float
    """0 = greedy. Peers like llama-bench do not sample at all."""
    results: Sequence[Measured]
    cancel_ms: Sequence[float]
    """Closing the answer to all slots idle, as a client sees it, one per cancel."""
    step_ms: float
    """One decode step of one stream in the core; the yardstick for `cancel_ms`."""

    def ratios(self) -> list[tuple[str, int, float]]:
        """Return (test, streams, median through the worker / median of the core)."""
        medians = {(r.test, r.streams, r.via): r.tokens_per_s.median for r in self.results}
        return [
            (test, streams, median / medians[test, streams, Via.CORE])
            for (test, streams, via), median in medians.items()
            if via is Via.WORKER and medians.get((test, streams, Via.CORE))
        ]

    def as_json(self) -> dict[str, object]:
        """Return the report as a JSON object."""
        cancels = Spread.of(self.cancel_ms)
        return {
            "model": self.model,
            "description": self.description,
            "threads": self.threads,
            "rounds": self.rounds,
            "temperature": self.temperature,
            "results": [
                {
                    "test": result.test,
                    "via": result.via.value,
                    "streams": result.streams,
                    "tokens_per_s": result.tokens_per_s.as_json(),
                    "ttft_ms": result.ttft_ms.as_json() if result.ttft_ms else None,
                }
                for result in self.results
            ],
            "ratios": [
                {"test": test, "streams": streams, "worker_over_core": round(ratio, 4)}
                for test, streams, ratio in self.ratios()
            ],
            "cancel_ms": {**cancels.as_json(), "p99": round(percentile(self.cancel_ms, 99), 3)}
            if cancels
            else None,
            "step_ms": round(self.step_ms, 3),
        }

    def as_lines(self) -> list[str]:
        """Return the report as a table for people."""
        sampling = "greedy" if self.temperature == 0 else f"temperature {self.temperature:g}"
        lines = [
            f"{self.model} ({self.description}), {self.threads} threads, "
            f"median (min-max) of {format_count(self.rounds, 'round')}, {sampling}",
            "",
            f"{'test':<8}{'streams':>8}  {'via':<8}{'tok/s':>9}  {'min-max':<17}{'TTFT ms':>9}",
        ]
        lines += [_line(result) for result in self.results]
        lines.append("")
        lines += [
            f"{test} x{streams}: worker / core = {ratio:.3f}"
            for test, streams, ratio in self.ratios()
        ]
        if self.cancel_ms:
            lines.append(
                f"cancel: median {statistics.median(self.cancel_ms):.1f} ms, "
                f"p99 {percentile(self.cancel_ms, 99):.1f} ms of {len(self.cancel_ms)}; "
                f"one decode step takes {self.step_ms:.1f} ms"
            )
        return lines


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile; the greatest value stands for what few values hide."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def _line(result: Measured) -> str:
    rate = result.tokens_per_s
    spread = f"{rate.min:.1f}-{rate.max:.1f}"
    ttft = f"{result.ttft_ms.median:.1f}" if result.ttft_ms else "-"
    return (
        f"{result.test:<8}{result.streams:>8}  {result.via.value:<8}{rate.median:>9.1f}  "
        f"{spread:<17}{ttft:>9}"
    )
