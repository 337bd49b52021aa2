"""How runs of the bench are written into lists, details and plots; no widget is known here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from luci_tui.bench.history import (
    BenchRun,
    History,
    KeptSpread,
    change_words,
    compare,
    differences,
)
from luci_tui.bench.report import Via
from luci_tui.host.api.messages import JobRecord, ProgressSeries
from luci_tui.tui.widgets.plot import Drawing, Line
from luci_tui.tui.widgets.rows import Column, Row
from luci_tui.tui.widgets.text import bar, clock, one_line, percent
from luci_tui.units import format_count, format_duration

COLUMNS = (
    Column("when", 11),
    Column("model", least=12),
    Column("pp tok/s", 8, is_number=True),
    Column("tg tok/s", 8, is_number=True),
    Column("TTFT", 7, is_number=True, rank=2),
    Column("change", 8, is_number=True, rank=1),
)
EMPTY = "No run is kept yet. b measures a model; `luci bench` does the same."
MARK = "* "
"""Before the name of the run with which another one is compared."""
MAX_POINTS = 60
"""The youngest runs of a model that a plot has room for."""
KINDS = ("tg", "pp", "TTFT")
"""What a plot of the history can show."""


def job_key(job_id: str) -> str:
    """Return the key of the row of a run that is being measured."""
    return f"job:{job_id}"


def row_of_job(job: JobRecord) -> Row:
    """Make the row of a run that is being measured."""
    progress = job.progress
    done = "-"
    if progress is not None and progress.n_total:
        done = percent(progress.n_done / progress.n_total)
    name = one_line(job.title.removeprefix("bench of "))
    return Row(job_key(job.id), ("running", name, "-", "-", "-", done))


def row_of(run: BenchRun, history: History, now_s: float, marked: str) -> Row:
    """Make the row of a run."""
    prefill, decode = run.of("pp"), run.of("tg")
    ttft = prefill.ttft_ms if prefill else None
    cells = (
        clock(run.at, now_s),
        (MARK if run.id == marked else "") + one_line(name_of(run)),
        _rate(prefill.tokens_per_s if prefill else None),
        _rate(decode.tokens_per_s if decode else None),
        format_duration(ttft.median / 1000) if ttft else "-",
        _decode_change(run, history.before(run)),
    )
    return Row(run.id, cells)


def name_of(run: BenchRun) -> str:
    """Give the name by which a person knows the model."""
    return Path(run.asked).name


def status_of(n_running: int, history: History, file_name: str) -> str:
    """Say in one line how things stand."""
    words = [f"{n_running} running"] if n_running else []
    words.append(f"{format_count(len(history.runs), 'run')} kept")
    if history.n_broken:
        words.append(f"{format_count(history.n_broken, 'line')} of {file_name} cannot be read")
    if len(history.runs) > 1:
        words.append("Space marks one to compare with")
    return " · ".join(words)


def details_of(run: BenchRun, before: BenchRun | None, *, is_wide: bool) -> str:
    """Say everything about a run; where there is little room, without the bare core."""
    sampling = "greedy" if run.temperature == 0 else f"temperature {run.temperature:g}"
    head = [
        name_of(run),
        run.description,
        f"{run.threads} threads",
        f"{run.rounds} rounds, {sampling}",
    ]
    lines = [one_line(" · ".join(filter(None, head)))]
    if is_wide:
        lines += [one_line(run.machine), one_line(f"{run.path} · luci {run.luci}")]
    lines.append(_figures("test", "via", "tok/s", "spread", "TTFT", "change"))
    changes = {one.key: one for one in compare(before, run)} if before else {}
    for one in run.results:
        if not is_wide and one.via is Via.CORE:
            continue
        rate = one.tokens_per_s
        lines.append(
            _figures(
                one_line(f"{one.test} x{one.streams}"),
                one.via.value,
                _rate(rate),
                f"{_rate(rate.min)}-{_rate(rate.max)}",
                format_duration(one.ttft_ms.median / 1000) if one.ttft_ms else "-",
                change_words(changes[one.key]) if one.key in changes else "-",
            )
        )
    return "\n".join(filter(None, lines))


def job_details(job: JobRecord, now_s: float) -> str:
    """Say how far a run is that is being measured."""
    lines = [f"{one_line(job.title)} · job {job.id} · {job.state.value}"]
    if (progress := job.progress) is not None and progress.n_total:
        fraction = progress.n_done / progress.n_total
        words = [bar(fraction), one_line(progress.what)]
        elapsed_s = now_s - job.created_at
        if 0 < fraction < 1 and elapsed_s > 0:
            words.append(f"{format_duration(elapsed_s * (1 - fraction) / fraction)} left")
        lines.append(" · ".join(words))
    return "\n".join(lines)


def live_drawing(series: Sequence[ProgressSeries], turn: int) -> Drawing:
    """Draw the rounds of the test that is being measured, or of one that is turned to."""
    tests: dict[str, list[ProgressSeries]] = {}
    for one in series:
        tests.setdefault(one.name.rpartition(", ")[0], []).append(one)
    if not tests:
        return Drawing("", ())
    name = list(tests)[(turn - 1) % len(tests)]  # the last one is measured now
    lines = tuple(
        Line(one.name.rpartition(", ")[2], tuple(enumerate(map(float, one.values), start=1)))
        for one in tests[name]
    )
    return Drawing(f"{name}, tok/s by round", lines)


def history_drawing(run: BenchRun, history: History, turn: int, now_s: float) -> Drawing:
    """Draw one figure of all runs of a model; the run with the cursor has a mark of its own."""
    kind = KINDS[turn % len(KINDS)]
    points: list[tuple[float, float]] = []
    ticks: list[tuple[float, str]] = []
    this: list[tuple[float, float]] = []
    same = [one for one in history.runs if one.is_of == run.is_of][-MAX_POINTS:]
    for number, one in enumerate(same, start=1):
        value = _value(one, kind)
        if value is None:
            continue
        points.append((float(number), value))
        ticks.append((float(number), clock(one.at, now_s)))
        if one.id == run.id:
            this.append(points[-1])
    if not points:
        return Drawing("", ())
    unit = "ms" if kind == "TTFT" else "tok/s"
    title = f"{kind}, {unit} · {format_count(len(points), 'run')} of {one_line(name_of(run))}"
    ends = [ticks[0], ticks[-1]] if len(ticks) > 1 else ticks
    lines = (Line("", tuple(points)), Line("", ()), Line("this run", tuple(this), True))
    return Drawing(title, lines, tuple(ends))


def comparison_lines(before: BenchRun, after: BenchRun) -> tuple[str, ...]:
    """Put two runs side by side."""
    lines = [f"{'':<11}{'':<8}{_moment(before):>14}{_moment(after):>14}{'change':>10}"]
    if before.is_of != after.is_of:
        lines.append(f"{'':<19}{name_of(before)[:13]:>14}{name_of(after)[:13]:>14}")
    for one in compare(before, after):
        test, streams, via = one.key
        lines.append(
            f"{f'{test} x{streams}':<11}{via.value:<8}{_rate(one.before):>14}"
            f"{_rate(one.after):>14}{change_words(one):>10}"
        )
    lines += ["", "Tokens per second. ~: the spreads overlap, so it may be chance."]
    if found := differences(before, after):
        lines += ["", "What else was different:", *(f"  {one}" for one in found)]
    return tuple(lines)


def _figures(*cells: str) -> str:
    widths = (-10, -7, 6, 13, 8, 9)
    parts = [
        cell.ljust(-width) if width < 0 else cell.rjust(width)
        for cell, width in zip(cells, widths, strict=True)
    ]
    return "".join(parts).rstrip()


def _moment(run: BenchRun) -> str:
    return time.strftime("%m-%d %H:%M", time.localtime(run.at))


def _decode_change(run: BenchRun, before: BenchRun | None) -> str:
    decode = run.of("tg")
    if before is None or decode is None:
        return "-"
    change = next((one for one in compare(before, run) if one.key == decode.key), None)
    return "-" if change is None else change_words(change)


def _value(run: BenchRun, kind: str) -> float | None:
    if kind == "TTFT":
        prefill = run.of("pp")
        return prefill.ttft_ms.median if prefill and prefill.ttft_ms else None
    found = run.of(kind)
    return found.tokens_per_s.median if found else None


def _rate(value: KeptSpread | float | None) -> str:
    """Write a rate with three digits or all that are before the point."""
    if value is None:
        return "-"
    number = value.median if isinstance(value, KeptSpread) else value
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"
