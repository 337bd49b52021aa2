"""Turn a report into the table of docs/benchmarks.md, between two markers."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

from luci_tui.bench.peers import results, targets
from luci_tui.bench.peers.results import Report, Series
from luci_tui.errors import ConfigError

BEGIN = "<!-- bench-peers: begin -->"
END = "<!-- bench-peers: end -->"
CANCEL_ALLOWANCE_MS = 30.0
MEMORY_ALLOWANCE_MIB = 150e6 / (1024 * 1024)
MAX_IDLE_PERCENT = 0.2
"""Two ticks of the clock in 10 s: below it nothing can be told from nothing."""
MAX_VERSION_MS = 150.0
MAX_FIRST_FRAME_MS = 600.0

_TEST_NAMES = {
    "tg128": "decode, tg128",
    "pp512": "prefill, pp512",
    "streams4": "4 streams, decode",
    "streams8": "8 streams, decode",
    "streams16": "16 streams, decode",
    "ttft16": "16 streams, TTFT p95",
    "prefix40": "40 requests, shared prefix",
    "cancel": "cancel, p50 and p99",
}


def write_table(report: Report, path: Path) -> None:
    """Put the report between the markers of the file at `path`; the prose around them stays.

    Raises:
        ConfigError: the file has no pair of markers.
    """
    text = path.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        message = f"{path} holds no {BEGIN} … {END}; put both lines where the table belongs."
        raise ConfigError(message)
    body = "\n".join(render(report))
    path.write_text(f"{head}{BEGIN}\n\n{body}\n\n{END}{tail}", encoding="utf-8")


def render(report: Report) -> Iterator[str]:
    """Yield the lines of the machine, the table and the commands."""
    for what, value in report.machine:
        yield f"- {what}: {value}"
    yield f"- rounds: {report.rounds}, every contender in turn in each of them"
    yield ""
    yield "| Model | Test | Contender | Median | Min to max | Ratio | Target | |"
    yield "|---|---|---|--:|--:|--:|---|---|"
    previous = ("", "")
    for series in _ordered(report):
        model, test = series.model, _TEST_NAMES.get(series.test, series.test)
        same = previous == (model, test)
        yield _row(report, series, "" if same else model, "" if same else test)
        previous = (model, test)
    yield ""
    yield "The command behind each figure, `$MODEL` being one of the two files:"
    yield ""
    commands: dict[tuple[str, str], list[str]] = {}
    for series in _ordered(report):
        tests = commands.setdefault((series.contender, series.command), [])
        if series.test not in tests:
            tests.append(series.test)
    for (contender, command), tests in commands.items():
        yield f"- {contender} ({', '.join(tests)}): `{command}`"


def _ordered(report: Report) -> list[Series]:
    """Sort by model and test in the order of measuring; luci leads each group."""
    models = list(dict.fromkeys(s.model for s in report.series))
    tests = [*_TEST_NAMES, *dict.fromkeys(s.test for s in report.series)]
    ours = results.OURS

    def key(series: Series) -> tuple[int, int, int]:
        rank = ours.index(series.contender) if series.contender in ours else len(ours)
        return models.index(series.model), tests.index(series.test), rank

    return sorted(report.series, key=key)


def _row(report: Report, series: Series, model: str, test: str) -> str:
    middle = _number(series.median)
    if series.test == "cancel":
        middle = f"{middle} and {_number(_p99(series))}"
    spread = f"{_number(min(series.values))} to {_number(max(series.values))}"
    reached, target, verdict = _against(report, series)
    cells = [model, test, series.contender, f"{middle} {series.unit}", spread]
    return "| " + " | ".join([*cells, reached, target, verdict]) + " |"


def _against(report: Report, series: Series) -> tuple[str, str, str]:
    """Return the cells: ratio, target, met or missed."""
    limit = _limit(report, series)
    if limit is not None:
        maximum, why = limit
        value = _p99(series) if series.test == "cancel" else series.median
        return "", f"≤ {_number(maximum)} {series.unit} ({why})", _verdict(value <= maximum)
    if series.contender in (results.HOST, results.SERVE):
        return _own(report, series)
    ours = targets.worker_series(report, series.model, series.test)
    if ours is None or ours is series or series.test == "memory":
        return "", "", ""
    reached = targets.ratio(ours, series)
    target = targets.ratio_target(report, series)
    if target is None:
        return f"{reached:.2f}", "", ""
    return f"{reached:.2f}", *_judged(target, reached)


def _own(report: Report, series: Series) -> tuple[str, str, str]:
    """Return the cells of the host or the server: it is compared with one contender alone."""
    found = targets.own_target(report, series)
    if found is None:
        return "", "", ""
    target, reached = found
    return f"{reached:.2f} of {target.contender}", *_judged(target, reached)


def _judged(target: targets.RatioTarget, reached: float) -> tuple[str, str]:
    sign = ">" if target.strict else "≥"
    return f"{sign} {target.at_least:.2f}", _verdict(targets.is_met(target, reached))


def _limit(report: Report, series: Series) -> tuple[float, str] | None:
    """Return (largest allowed value, where it comes from) of a figure that luci alone has."""
    if series.test == "--version":
        return MAX_VERSION_MS, "to start"
    if series.test == "first frame":
        return MAX_FIRST_FRAME_MS, "to draw"
    if series.contender != results.WORKER:
        return None
    if series.test == "idle CPU":
        return MAX_IDLE_PERCENT, "not measurable"
    decode = targets.worker_series(report, series.model, "tg128")
    if series.test == "cancel" and decode is not None:
        return 1000 / decode.median + CANCEL_ALLOWANCE_MS, "one decode step + 30 ms"
    buffers = targets.best_peer(report, series.model, "memory")
    if series.test == "memory" and buffers is not None:
        return buffers.median + MEMORY_ALLOWANCE_MIB, "buffers + 150 MB"
    return None


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def _p99(series: Series) -> float:
    return statistics.quantiles(series.values, n=100, method="inclusive")[98]


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
