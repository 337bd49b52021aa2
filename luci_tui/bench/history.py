"""`LUCI_HOME/bench.jsonl`: the runs of the bench, so that a later one can be compared with them.

One line of JSON for each run, the youngest last. The file is bounded, a line that cannot be read
is passed over, and one that was broken off by a crash spoils no other.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from luci_tui.bench.report import BenchReport, Measured, Spread, Via
from luci_tui.errors import ConfigError
from luci_tui.version import VERSION
from luci_tui.whole_file import locked, write_whole

MAX_RUNS: Final = 1000
"""The oldest go when there are more."""
SPARE_RUNS: Final = 100
"""So many more are there at times, since not every run writes the whole file anew."""
MAX_LINE_BYTES: Final = 256 * 1024
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""Of a longer file only the end is read."""


class _Kept(BaseModel):
    # A newer luci may write more into a line than this one knows.
    model_config = ConfigDict(frozen=True, extra="ignore")


class KeptSpread(_Kept):
    """Median, least and greatest of the rounds."""

    median: float = Field(allow_inf_nan=False)
    min: float = Field(allow_inf_nan=False)
    max: float = Field(allow_inf_nan=False)

    def overlaps(self, other: KeptSpread) -> bool:
        """Tell whether a value of the one may as well be of the other."""
        return self.min <= other.max and other.min <= self.max


class KeptResult(_Kept):
    """One test through one way."""

    test: str = Field(max_length=40)
    via: Via
    streams: int = Field(ge=1)
    tokens_per_s: KeptSpread
    ttft_ms: KeptSpread | None = None

    @property
    def key(self) -> tuple[str, int, Via]:
        """What has to be the same so that two results can be compared."""
        return (self.test, self.streams, self.via)


class BenchRun(_Kept):
    """One run of the bench, with all that may be the reason of a difference."""

    id: str = Field(min_length=1, max_length=40)
    at: float
    """Seconds since 1970, at its end."""
    luci: str = ""
    asked: str
    """The name or path by which the model was asked for."""
    path: str = ""
    """Of the file that was loaded."""
    file_bytes: int = 0
    file_mtime_ns: int = 0
    model: str
    """The name that the file gives itself."""
    description: str = ""
    threads: int = 0
    rounds: int = 0
    temperature: float = 0.0
    machine: str = ""
    results: tuple[KeptResult, ...] = Field(min_length=1, max_length=200)
    step_ms: float = 0.0

    def of(self, beginning: str, streams: int = 1, via: Via = Via.WORKER) -> KeptResult | None:
        """Give the result of a test by the beginning of its name: "pp" or "tg"."""
        for one in self.results:
            if one.test.startswith(beginning) and (one.streams, one.via) == (streams, via):
                return one
        return None

    @property
    def is_of(self) -> tuple[str, str]:
        """What makes two runs runs of the same model."""
        return (self.path or self.asked, self.model)


@dataclass(frozen=True)
class History:
    """All runs that can be read."""

    runs: tuple[BenchRun, ...] = ()
    """The oldest first."""
    n_broken: int = 0
    """Lines that cannot be read."""

    def before(self, run: BenchRun) -> BenchRun | None:
        """Give the run of the same model that came before; None = there is none."""
        found: BenchRun | None = None
        for one in self.runs:
            if one.id == run.id:
                return found
            if one.is_of == run.is_of:
                found = one
        return found


def run_of(report: BenchReport, asked: str, path: str, machine: str) -> BenchRun:
    """Make what is kept of a report.

    Args:
        report: What was measured.
        asked: The name by which the model was asked for.
        path: The file that was loaded.
        machine: What computed.
    """
    size_bytes, mtime_ns = _facts(Path(path))
    return BenchRun.model_validate(
        {
            **report.as_json(),
            "id": secrets.token_hex(6),
            "at": time.time(),
            "luci": VERSION,
            "asked": asked,
            "path": path,
            "file_bytes": size_bytes,
            "file_mtime_ns": mtime_ns,
            "machine": machine,
        }
    )


def read_history(path: Path) -> History:
    """Read the file; one that is not there has no runs.

    Raises:
        ConfigError: it is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(0, size_bytes - MAX_FILE_BYTES))
            lines = file.read(MAX_FILE_BYTES).split(b"\n")
    except FileNotFoundError:
        return History()
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}). Check its permissions."
        raise ConfigError(msg) from error
    runs: dict[str, BenchRun] = {}
    n_broken = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            run = BenchRun.model_validate_json(line[: MAX_LINE_BYTES + 1])
        except ValidationError:
            n_broken += 1
            continue
        runs[run.id] = run
    return History(tuple(runs.values())[-MAX_RUNS:], n_broken)


def add_run(path: Path, run: BenchRun) -> None:
    """Keep a run.

    Raises:
        ConfigError: it cannot be written.
    """
    line = run.model_dump_json() + "\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path):
            if _count(path) >= MAX_RUNS + SPARE_RUNS:
                _write(path, [*read_history(path).runs[1 - MAX_RUNS :], run])
                return
            # What a crash left of a line has to end before the next one begins.
            start = "" if _ends_well(path) else "\n"
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write((start + line).encode())
    except OSError as error:
        raise _unwritable(path, error) from error


def remove_run(path: Path, run_id: str) -> None:
    """Forget a run; lines that cannot be read go as well.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    try:
        with locked(path):
            _write(path, [one for one in read_history(path).runs if one.id != run_id])
    except OSError as error:
        raise _unwritable(path, error) from error


@dataclass(frozen=True)
class Change:
    """One test of two runs."""

    key: tuple[str, int, Via]
    before: KeptSpread | None
    after: KeptSpread | None
    """None = the run has no such test."""

    @property
    def ratio(self) -> float | None:
        """After over before; None = there is nothing to divide."""
        if self.before is None or self.after is None or self.before.median <= 0:
            return None
        return self.after.median / self.before.median

    @property
    def may_be_chance(self) -> bool:
        """Both runs have values that the other has, too."""
        return bool(self.before and self.after and self.before.overlaps(self.after))


def compare(before: BenchRun, after: BenchRun) -> list[Change]:
    """Put the rates of two runs side by side, in the order of the later one."""
    old = {one.key: one.tokens_per_s for one in before.results}
    new = {one.key: one.tokens_per_s for one in after.results}
    return [Change(key, old.get(key), new.get(key)) for key in {**new, **old}]


def differences(before: BenchRun, after: BenchRun) -> list[str]:
    """Name what else was not the same, and may be the reason of a difference."""
    pairs = [
        ("model", before.model, after.model),
        ("type", before.description, after.description),
        ("threads", str(before.threads), str(after.threads)),
        ("temperature", f"{before.temperature:g}", f"{after.temperature:g}"),
        ("rounds", str(before.rounds), str(after.rounds)),
        ("luci", before.luci, after.luci),
        ("machine", before.machine, after.machine),
        ("file", before.path, after.path),
    ]
    found = [f"{name}: {old or '-'}, then {new or '-'}" for name, old, new in pairs if old != new]
    is_same_file = before.path == after.path
    if is_same_file and before.file_mtime_ns != after.file_mtime_ns:
        found.append("the file was changed in between")
    return found


def change_words(change: Change) -> str:
    """Write a change in percent; "~" = it may be chance, "-" = there is nothing to compare."""
    if change.ratio is None:
        return "-"
    return f"{(change.ratio - 1) * 100:+.1f}%{' ~' if change.may_be_chance else ''}"


def run_lines(run: BenchRun, before: BenchRun | None) -> list[str]:
    """Set a run in lines, with what changed since the one before."""
    changes = {one.key: one for one in compare(before, run)} if before else {}
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.at))
    lines = [f"{when}  {run.model} ({run.description}), {run.threads} threads, luci {run.luci}"]
    for one in run.results:
        rate = one.tokens_per_s
        ttft = f"{one.ttft_ms.median:.1f} ms" if one.ttft_ms else "-"
        change = change_words(changes[one.key]) if one.key in changes else "-"
        spread = f"{rate.min:.1f}-{rate.max:.1f}"
        lines.append(
            f"    {one.test:<8}x{one.streams:<4}{one.via:<8}{rate.median:>9.1f}  {spread:<17}"
            f"{ttft:>11}  {change}"
        )
    return lines


def report_of(run: BenchRun) -> BenchReport:
    """Make the report of a run again; of its cancels nothing was kept."""

    def spread(kept: KeptSpread) -> Spread:
        return Spread(kept.median, kept.min, kept.max)

    return BenchReport(
        model=run.model,
        description=run.description,
        threads=run.threads,
        rounds=run.rounds,
        temperature=run.temperature,
        results=[
            Measured(
                test=one.test,
                via=one.via,
                streams=one.streams,
                tokens_per_s=spread(one.tokens_per_s),
                ttft_ms=spread(one.ttft_ms) if one.ttft_ms else None,
            )
            for one in run.results
        ],
        cancel_ms=(),
        step_ms=run.step_ms,
    )


def as_json(runs: Sequence[BenchRun]) -> str:
    """Write runs as one JSON document."""
    data = [one.model_dump(mode="json") for one in runs]
    return json.dumps({"runs": data}, indent=2, ensure_ascii=False) + "\n"


def as_markdown(runs: Sequence[BenchRun]) -> str:
    """Write runs as a table for a page."""
    lines = [
        "| When | Model | Test | Streams | Via | tok/s | Least to most | TTFT | Threads | luci |",
        "|---|---|---|--:|---|--:|---|--:|--:|---|",
    ]
    for run in runs:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.at))
        lines += [_markdown_row(run, one, when) for one in run.results]
    machines = list(dict.fromkeys(one.machine for one in runs if one.machine))
    return "\n".join([*lines, "", *(f"Machine: {_cell(one)}" for one in machines)]) + "\n"


def _markdown_row(run: BenchRun, one: KeptResult, when: str) -> str:
    rate = one.tokens_per_s
    cells = [
        when,
        f"{run.model} ({run.description})",
        one.test,
        str(one.streams),
        one.via.value,
        f"{rate.median:.1f}",
        f"{rate.min:.1f} to {rate.max:.1f}",
        f"{one.ttft_ms.median:.1f} ms" if one.ttft_ms else "",
        str(run.threads),
        run.luci,
    ]
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _facts(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return (0, 0)
    return (facts.st_size, facts.st_mtime_ns)


def _count(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    except FileNotFoundError:
        return 0


def _ends_well(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return True


def _write(path: Path, runs: Iterable[BenchRun]) -> None:
    write_whole(path, "".join(one.model_dump_json() + "\n" for one in runs))


def _unwritable(path: Path, error: OSError) -> ConfigError:
    msg = f"{path} cannot be written ({error.strerror}). Check its folder and the disk."
    return ConfigError(msg)
