"""Results of `make bench-peers`, where they are: luci beside llama.cpp's tools and others."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from luci_tui import paths
from luci_tui.bench.peers import results, targets
from luci_tui.bench.peers.results import Report, Series
from luci_tui.tui.widgets.plot import Drawing, Line
from luci_tui.tui.widgets.rows import Column, Row
from luci_tui.tui.widgets.text import one_line

COLUMNS = (
    Column("test", 9),
    Column("model", 12, rank=1),
    Column("contender", least=11),
    Column("median", 13, is_number=True),
    Column("spread", 15, is_number=True, rank=2),
    Column("luci is", 7, is_number=True),
)


@dataclass(frozen=True)
class Peers:
    """One report, or why there is none."""

    report: Report | None = None
    trouble: str = ""

    @property
    def series(self) -> dict[str, Series]:
        """By the keys of the rows."""
        found = self.report.series if self.report else ()
        return {f"{one.test}|{one.model}|{one.contender}": one for one in found}


def read_peers() -> Peers:
    """Read the first report that is there; blocks."""
    places = paths.bench_peers_files()
    path = next((one for one in places if one.is_file()), None)
    if path is None:
        advice = "`make bench-peers` in luci's sources writes one."
        return Peers(trouble=f"There is no result of bench-peers at {places[0]}. {advice}")
    try:
        return Peers(results.load(path))
    except (OSError, ValidationError, ValueError) as error:
        said = type(error).__name__
        return Peers(trouble=f"{path} cannot be read ({said}). `make bench-peers` writes it anew.")


def rows_of(peers: Peers) -> list[Row]:
    """Make the rows of all series."""
    assert peers.report is not None
    series = peers.series
    models = list(dict.fromkeys(one.model for one in series.values()))
    tests = list(dict.fromkeys(one.test for one in series.values()))
    order = sorted(
        series, key=lambda key: (models.index(series[key].model), tests.index(series[key].test))
    )
    return [_row(key, series[key], peers.report) for key in order]


def status_of(peers: Peers) -> str:
    """Say in one line what was compared, and on what."""
    if peers.report is None:
        return peers.trouble
    machine = dict(peers.report.machine).get("processor", "")
    return one_line(f"bench-peers · {peers.report.rounds} rounds · {machine}")


def details_of(series: Series) -> str:
    """Say how a figure came about."""
    values = ", ".join(_number(one) for one in series.values)
    lines = [
        f"{series.contender} · {series.test}{f' · {series.model}' if series.model else ''}",
        f"rounds: {values} {series.unit}",
        f"by hand: {series.command}",
    ]
    return "\n".join(one_line(line) for line in lines)


def drawing_of(series: Series, report: Report) -> Drawing:
    """Draw luci's worker beside a contender, round by round."""
    ours = targets.worker_series(report, series.model, series.test)
    shown = [one for one in (ours, series) if one is not None]
    lines = tuple(
        Line(one.contender, tuple(enumerate(map(float, one.values), start=1)))
        for one in dict.fromkeys(shown)
    )
    return Drawing(f"{series.test}, {series.unit} by round", lines)


def _row(key: str, series: Series, report: Report) -> Row:
    ours = targets.worker_series(report, series.model, series.test)
    is_peer = ours is not None and series.contender != results.WORKER and series.test != "memory"
    reached = f"{targets.ratio(ours, series):.2f}x" if ours is not None and is_peer else "-"
    cells = (
        series.test,
        series.model or "-",
        series.contender,
        f"{_number(series.median)} {series.unit}",
        f"{_number(min(series.values))} to {_number(max(series.values))}",
        reached,
    )
    return Row(key, tuple(map(one_line, cells)))


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
