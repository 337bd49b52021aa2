"""What was measured: one series of values per model, test and contender."""

from __future__ import annotations

import statistics
from pathlib import Path

from pydantic import BaseModel, ConfigDict

WORKER = "luci worker"
CORE = "luci core"
HOST = "luci host"
SERVE = "luci serve"
OURS = (WORKER, CORE, HOST, SERVE)
"""In the order of the table."""
BENCH = "llama-bench"
BATCHED = "llama-batched-bench"
SERVER = "llama-server"
PYTHON = "llama-cpp-python"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Series(_Data):
    """The values of one contender in one test, one per round."""

    model: str
    """Name of the model; empty for what needs none."""
    test: str
    """tg128, pp512, streams4, ttft16, prefix40, cancel, …"""
    contender: str
    unit: str
    """"tok/s", "s", "ms", "MB" or "%"."""
    command: str
    """How to get the value by hand."""
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Middle value over the rounds."""
        return statistics.median(self.values)

    @property
    def higher_is_better(self) -> bool:
        """Rates want to be high; durations and sizes want to be low."""
        return self.unit == "tok/s"


class Report(_Data):
    """Everything one run of the comparison found."""

    machine: tuple[tuple[str, str], ...]
    """(what, value): processor, cores, memory, system, compiler, versions."""
    rounds: int
    series: tuple[Series, ...]


class Collector:
    """Gathers values while the rounds run."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str], Series] = {}

    def add(
        self, model: str, test: str, contender: str, value: float, *, unit: str, command: str
    ) -> None:
        """Append one value to its series."""
        key = (model, test, contender)
        known = self._series.get(key)
        values = (*known.values, value) if known else (value,)
        self._series[key] = Series(
            model=model,
            test=test,
            contender=contender,
            unit=unit,
            command=command,
            values=values,
        )

    def report(self, machine: tuple[tuple[str, str], ...], rounds: int) -> Report:
        """Return everything that was gathered."""
        return Report(machine=machine, rounds=rounds, series=tuple(self._series.values()))


def save(report: Report, path: Path) -> None:
    """Write the raw values as JSON, under the final name only when complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(report.model_dump_json(indent=1), encoding="utf-8")
    part.replace(path)


def load(path: Path) -> Report:
    """Read what `save` wrote."""
    return Report.model_validate_json(path.read_text(encoding="utf-8"))
