"""What the list of jobs and the details of one say; no widget is known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from luci_tui.host.api.messages import JobRecord, JobState, Progress
from luci_tui.tui.widgets.rows import Column, Row
from luci_tui.tui.widgets.text import bar, clock, one_line, percent
from luci_tui.units import format_bytes, format_duration

if TYPE_CHECKING:
    from pydantic import JsonValue

COLUMNS = (
    Column("id", 4, is_number=True),
    Column("state", 11),
    Column("done", 4, is_number=True),
    Column("began", 11, rank=2),
    Column("took", 11, rank=1),
    Column("job", least=24),
)
_TONES = {
    JobState.FAILED: "error",
    JobState.INTERRUPTED: "warning",
    JobState.CANCELLED: "muted",
    JobState.DONE: "",
    JobState.RUNNING: "",
}

MAX_RESULT_LINES = 60
"""Of a result; `luci jobs show` has all of it."""

Step = tuple[float, str]
"""(seconds since 1970, what the job was at)"""


def can_resume(job: JobRecord) -> bool:
    """Tell whether the job can be begun again; loading a model is asked for in the chat."""
    ended_badly = (JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED)
    return job.state in ended_badly and job.kind != "load"


def row_of(job: JobRecord, now_s: float) -> Row:
    """Make the row of a job."""
    took_s = (job.ended_at or now_s) - job.created_at
    return Row(
        job.id,
        (
            job.id,
            job.state.value,
            _done(job),
            clock(job.created_at, now_s),
            format_duration(max(0.0, took_s)),
            one_line(job.title),
        ),
        _TONES[job.state],
    )


def status_of(jobs: Sequence[JobRecord]) -> str:
    """Say in one line how things stand."""
    n_running = sum(job.state is JobState.RUNNING for job in jobs)
    n_ended = len(jobs) - n_running
    return f"{n_running} running · {n_ended} ended · jobs go on when luci is closed"


def details_of(job: JobRecord, steps: Sequence[Step], now_s: float) -> str:
    """Say everything about one job."""
    lines = [f"job {job.id} · {job.kind} · {job.state.value}", one_line(job.title)]
    if job.state is JobState.RUNNING:
        lines += _progress(job, now_s)
        lines += [f"{clock(at_s, now_s)}  {one_line(what)}" for at_s, what in reversed(steps)]
    elif job.state is JobState.INTERRUPTED:
        advice = " r begins it again." if can_resume(job) else ""
        lines.append(f"The host left or was killed while it ran.{advice}")
    if job.error is not None:
        lines.append(f"Error: {one_line(job.error.message)}")
    lines += _result_lines(job.result or {})[:MAX_RESULT_LINES]
    if job.ended_at is not None:
        lines.append(
            f"{clock(job.created_at, now_s)} to {clock(job.ended_at, now_s)}, "
            f"{format_duration(max(0.0, job.ended_at - job.created_at))}"
        )
    return "\n".join(lines)


def _result_lines(result: Mapping[str, JsonValue], indent: str = "") -> list[str]:
    """Write a result, a value a line; what is empty is left out."""
    lines: list[str] = []
    for name, value in result.items():
        parts = value if isinstance(value, list) else [value]
        tables = [one for one in parts if isinstance(one, dict)]
        plain = [_value(name, one) for one in parts if one not in (None, "", [], {})]
        if tables:
            for table in tables:
                lines += [f"{indent}{one_line(name)}:", *_result_lines(table, f"{indent}  ")]
        elif plain:
            lines.append(f"{indent}{one_line(name)}: {', '.join(plain)}")
    return lines


def _value(name: str, value: JsonValue) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int() if name.endswith("_bytes"):
            return format_bytes(value)
        case float():
            return f"{value:.4g}"
        case _:
            return one_line(str(value))


def _done(job: JobRecord) -> str:
    fraction = _fraction(job.progress)
    if job.state is not JobState.RUNNING or fraction is None:
        return "-"
    return percent(fraction)


def _fraction(progress: Progress | None) -> float | None:
    if progress is None:
        return None
    if progress.bytes_total:
        return progress.bytes_done / progress.bytes_total
    return progress.n_done / progress.n_total if progress.n_total else None


def _progress(job: JobRecord, now_s: float) -> list[str]:
    progress, fraction = job.progress, _fraction(job.progress)
    if progress is None or fraction is None:
        return ["It has not said yet how far it is."]
    words = [bar(fraction)]
    if progress.unit:
        words.append(f"{progress.n_done:.0f}/{progress.n_total:.0f} {one_line(progress.unit)}")
    elapsed_s = now_s - job.created_at
    if progress.bytes_total and elapsed_s > 0:
        words.append(f"{format_bytes(round(progress.bytes_done / elapsed_s))}/s")
    if 0 < fraction < 1 and elapsed_s > 0:
        words.append(f"{format_duration(elapsed_s * (1 - fraction) / fraction)} left")
    return [" · ".join(words)]
