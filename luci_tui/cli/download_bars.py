"""Downloads on a terminal: one line for each that is on its way, written over while it moves."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from luci_tui.chat.sanitize import sanitize
from luci_tui.units import format_bytes, format_duration

if TYPE_CHECKING:
    from luci_tui.host.api.download_messages import DownloadRecord, FileRecord

MAX_BARS = 8
BAR_COLUMNS = 20
_WORDS = {
    "queued": "waits for its turn",
    "starting": "starting",
    "rehashing": "reading what is there",
    "publishing": "writing to the disk",
    "checking": "checking",
    "fetched": "arrived",
}
"""By `Step`, where there is no rate to tell of."""


class Bars:
    """Lines on stderr that are written over; silent if stderr is no terminal."""

    def __init__(self) -> None:
        self.is_shown = sys.stderr.isatty()
        self._n_lines = 0

    def show(self, downloads: Iterable[DownloadRecord]) -> None:
        """Replace the lines."""
        if not self.is_shown:
            return
        lines = [line_of(one) for one in downloads]
        if len(lines) > MAX_BARS:
            lines = [*lines[: MAX_BARS - 1], f"and {len(lines) - MAX_BARS + 1} more"]
        n_columns = shutil.get_terminal_size().columns
        self.clear()
        # A line that is too long would take two, which nothing would take away.
        sys.stderr.write("".join(f"{sanitize(line)[: n_columns - 1]}\n" for line in lines))
        sys.stderr.flush()
        self._n_lines = len(lines)

    def clear(self) -> None:
        """Take the lines away."""
        if self._n_lines:
            sys.stderr.write(f"\x1b[{self._n_lines}A\r\x1b[J")
            sys.stderr.flush()
            self._n_lines = 0


def line_of(one: DownloadRecord) -> str:
    """Describe a download in one line."""
    if one.state.value in ("done", "cancelled"):
        return f"{one.name}  {format_bytes(one.size_bytes)}"
    parts = [one.name, _bar(one), _amount(one)]
    active = [file for file in one.files if file.step.value not in ("queued", "fetched")]
    if one.state.value != "running":
        parts.append("waits for its turn" if one.state.value == "queued" else one.state.value)
    elif one.rate_bytes_per_s > 0:
        parts.append(f"{format_bytes(round(one.rate_bytes_per_s))}/s")
        parts += [f"{format_duration(one.left_s)} left"] if one.left_s is not None else []
    elif active:
        parts.append(_WORDS.get(active[0].step.value, ""))
    parts += _troubles(one.files)
    return "  ".join(part for part in parts if part)


def _bar(one: DownloadRecord) -> str:
    if not one.is_size_known or not one.size_bytes:
        return ""
    share = min(1.0, one.done_bytes / one.size_bytes)
    n_full = int(share * BAR_COLUMNS)
    return f"[{'#' * n_full}{'-' * (BAR_COLUMNS - n_full)}] {share:4.0%}"


def _amount(one: DownloadRecord) -> str:
    done = format_bytes(one.done_bytes)
    return f"{done} of {format_bytes(one.size_bytes)}" if one.is_size_known else done


def _troubles(files: tuple[FileRecord, ...]) -> list[str]:
    n_retries = sum(file.n_retries for file in files)
    words = [f"{n_retries} retries" if n_retries > 1 else "1 retry"] if n_retries else []
    return words + [file.note for file in files if file.note][:1]
