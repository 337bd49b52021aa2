"""What luci's figures must reach, and whether they do."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from luci_tui.bench.peers import results
from luci_tui.bench.peers.results import Report, Series
from luci_tui.bench.peers.workload import STREAM_COUNTS


@dataclass(frozen=True)
class RatioTarget:
    """luci must be at least `at_least` times as good as a contender."""

    test: str
    contender: str
    """Start of the contender's name; of several, the best one counts."""
    at_least: float
    model: str = ""
    """Empty = every model."""
    strict: bool = False
    """True = ahead of it, not level with it."""
    ours: str = results.WORKER
    """Which part of luci."""


RATIO_TARGETS = (
    RatioTarget("tg128", results.BENCH, 0.95),
    RatioTarget("pp512", results.BENCH, 0.95),
    RatioTarget("tg128", results.SERVER, 1.0, strict=True),
    RatioTarget("tg128", results.PYTHON, 1.0, strict=True),
    *(RatioTarget(f"streams{count}", results.BATCHED, 0.93) for count in STREAM_COUNTS),
    RatioTarget(f"streams{max(STREAM_COUNTS)}", results.SERVER, 1.2),
    RatioTarget("prefix40", "best peer", 2.0),
    *(
        RatioTarget(test, results.BENCH, 0.93, ours=ours)
        for test in ("tg128", "pp512")
        for ours in (results.HOST, results.SERVE)
    ),
    *(
        RatioTarget(f"{test}{max(STREAM_COUNTS)}", results.SERVER, 1.0, ours=results.SERVE)
        for test in ("streams", "ttft")
    ),
)


def best_peer(report: Report, model: str, test: str) -> Series | None:
    """Return the fastest series of a test that is not luci's own."""
    peers = [s for s in _of(report, model, test) if s.contender not in results.OURS]
    if not peers:
        return None
    pick = max if peers[0].higher_is_better else min
    return pick(peers, key=lambda series: series.median)


def series_of(report: Report, model: str, test: str, contender: str) -> Series | None:
    """Return what one contender reached in a test."""
    found = [s for s in _of(report, model, test) if s.contender == contender]
    return found[0] if found else None


def worker_series(report: Report, model: str, test: str) -> Series | None:
    """Return what luci's worker reached in a test."""
    return series_of(report, model, test, results.WORKER)


def ratio(ours: Series, theirs: Series) -> float:
    """Return how many times as good `ours` is: the median of the ratios of each round.

    A machine that grows slower or faster during the run changes both sides of a round alike. Series
    of different lengths, as of a run that measured one side only, are compared by their medians.
    """
    pairs = [(ours.median, theirs.median)]
    if len(ours.values) == len(theirs.values):
        pairs = list(zip(ours.values, theirs.values, strict=True))
    if ours.higher_is_better:
        return statistics.median(mine / other for mine, other in pairs)
    return statistics.median(other / mine for mine, other in pairs)


def ratio_target(report: Report, series: Series) -> RatioTarget | None:
    """Return the target that luci's worker has against this series, if there is one."""
    for target in RATIO_TARGETS:
        if target.test != series.test or target.ours != results.WORKER:
            continue
        if target.contender == series.contender:
            return target
        best = best_peer(report, series.model, series.test)
        if target.contender == "best peer" and best is series:
            return target
    return None


def own_target(report: Report, series: Series) -> tuple[RatioTarget, float] | None:
    """Return what the host or the server must reach in this series, and what it reached.

    None where it has no target, or the one to compare it with was not measured.
    """
    for target in RATIO_TARGETS:
        if series.contender == results.WORKER or target.ours != series.contender:
            continue
        theirs = series_of(report, series.model, series.test, target.contender)
        if target.test == series.test and theirs is not None:
            return target, ratio(series, theirs)
    return None


def is_met(target: RatioTarget, reached: float) -> bool:
    """Tell whether a ratio reaches its target."""
    return reached > target.at_least if target.strict else reached >= target.at_least


def _of(report: Report, model: str, test: str) -> list[Series]:
    return [s for s in report.series if s.model == model and s.test == test]
