"""What the list of downloads and the details of one say; no widget is known here."""

from __future__ import annotations

from luci_tui.download.records import GOING, ItemState, Step
from luci_tui.host.api.download_messages import DownloadList, DownloadRecord, FileRecord
from luci_tui.tui.widgets.rows import Column, Row
from luci_tui.tui.widgets.text import bar, clock, one_line, percent
from luci_tui.units import format_bytes, format_count, format_duration

COLUMNS = (
    Column("id", 3, is_number=True),
    Column("model", least=18),
    Column("state", 9),
    Column("done", 4, is_number=True),
    Column("of", 9, is_number=True, rank=1),
    Column("rate", 10, is_number=True),
    Column("left", 11, is_number=True, rank=2),
)
_TONES = {
    ItemState.FAILED: "error",
    ItemState.PAUSED: "muted",
    ItemState.CANCELLED: "muted",
}
_STEPS = {
    Step.WAITING_TURN: "waits for its turn",
    Step.STARTING: "starting",
    Step.REHASHING: "reading what is there",
    Step.DOWNLOADING: "",
    Step.WAITING_RETRY: "waits to ask again",
    Step.PUBLISHING: "writing to the disk",
    Step.FETCHED: "arrived",
    Step.CHECKING: "being checked",
}


def can_pause(one: DownloadRecord) -> bool:
    """Tell whether it goes on by itself now."""
    return one.state in GOING


def can_resume(one: DownloadRecord) -> bool:
    """Tell whether it would go on."""
    return one.state in (ItemState.PAUSED, ItemState.FAILED)


def is_open(one: DownloadRecord) -> bool:
    """Tell whether something is still to be done, or to be removed."""
    return can_pause(one) or can_resume(one)


def row_of(one: DownloadRecord) -> Row:
    """Make the row of a download."""
    is_running = one.state is ItemState.RUNNING
    state, tone = one.state.value, _TONES.get(one.state, "")
    if is_running and _note(one):
        state, tone = "waits", "warning"
    elif is_running and any(file.step is Step.CHECKING for file in one.files):
        state = "checking"
    return Row(
        str(one.id),
        (
            str(one.id),
            one_line(one.name),
            state,
            _done(one),
            format_bytes(one.size_bytes) if one.is_size_known else "?",
            f"{format_bytes(round(one.rate_bytes_per_s))}/s" if is_running else "-",
            "-" if one.left_s is None else format_duration(one.left_s),
        ),
        tone,
    )


def status_of(listed: DownloadList, free_bytes: int) -> str:
    """Say in one line how things stand."""
    going = [one for one in listed.downloads if one.state in GOING]
    n_failed = sum(one.state is ItemState.FAILED for one in listed.downloads)
    rate = sum(one.rate_bytes_per_s for one in going)
    parts = [f"{len(going)} on their way"]
    if going:
        parts.append(f"{format_bytes(round(rate))}/s")
    if n_failed:
        parts.append(f"{n_failed} failed")
    limit = listed.limit_bytes_per_s
    parts.append(f"limit {format_bytes(limit)}/s" if limit else "no limit")
    parts.append(f"{format_bytes(free_bytes)} free")
    return " · ".join(parts)


def details_of(one: DownloadRecord, now_s: float) -> str:
    """Say everything about one download."""
    lines = [f"{one_line(one.name)} · {one.state.value} · {one_line(one.source)}"]
    if one.error is not None:
        lines.append(f"Error: {one_line(one.error.message)}")
    if one.ended_at is not None:
        lines.append(f"{clock(one.created_at, now_s)} to {clock(one.ended_at, now_s)}")
    for file in one.files:
        lines += _file_lines(file, is_going=one.state in GOING)
    return "\n".join(lines)


def _file_lines(file: FileRecord, *, is_going: bool) -> list[str]:
    words: list[str] = []
    if file.size_bytes:
        words.append(bar(file.done_bytes / file.size_bytes))
        words.append(f"{format_bytes(file.done_bytes)} of {format_bytes(file.size_bytes)}")
    elif file.done_bytes:
        words.append(format_bytes(file.done_bytes))
    if is_going and file.step is Step.DOWNLOADING:
        words.append(f"{format_bytes(round(file.rate_bytes_per_s))}/s")
    elif is_going or file.step is Step.FETCHED:
        words.append(_STEPS[file.step])
    if file.n_retries:
        words.append("1 retry" if file.n_retries == 1 else f"{file.n_retries} retries")
    lines = [one_line(file.name), " · ".join(words)]
    return [line for line in (*lines, one_line(file.note)) if line]


def question_before_cancel(one: DownloadRecord) -> str:
    """Ask before what has arrived is removed."""
    lost = format_bytes(one.done_bytes)
    files = format_count(len(one.files), "file")
    return (
        f"Cancel the download of {one_line(one.name)} ({files})?\n"
        f"The {lost} of it that have arrived are removed."
    )


def _note(one: DownloadRecord) -> str:
    return next((file.note for file in one.files if file.note), "")


def _done(one: DownloadRecord) -> str:
    if one.state is ItemState.DONE:
        return "100%"
    if not one.is_size_known or not one.size_bytes:
        return "-"
    return percent(one.done_bytes / one.size_bytes)
