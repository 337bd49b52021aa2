"""The job that measures a model; its run is kept when nobody looks any more, too."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue, ValidationError

from luci_tui.errors import ConfigError, EngineError
from luci_tui.host.api.messages import Progress, ProgressSeries
from luci_tui.host.jobs import JobKind, Result, Work

if TYPE_CHECKING:
    from luci_tui.bench.engine import Told
    from luci_tui.bench.history import BenchRun
    from luci_tui.bench.plan import BenchSpec
    from luci_tui.bench.report import BenchReport
    from luci_tui.chat.model import ModelSpec
    from luci_tui.engine.client import EngineClient

MAX_VALUES = 200
"""Of one series that is told while it grows."""

ChooseModel = Callable[["BenchSpec"], "ModelSpec"]
"""Finds the model that is named; it reads files."""


def bench_kind(
    new_engine: Callable[[], EngineClient], choose_model: ChooseModel, history: Path
) -> JobKind:
    """Return what makes the work of a bench.

    Args:
        new_engine: Makes an engine without a model, for this work alone.
        choose_model: Finds the model that is named.
        history: Where runs are kept.
    """

    def make(spec: Mapping[str, JsonValue]) -> Work:
        from luci_tui.bench.plan import BenchSpec

        try:
            wanted = BenchSpec.model_validate({**spec, "kind": "bench"})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            msg = f"The bench job has no usable {name}: {first['msg'].lower()}. Correct it."
            raise ConfigError(msg, code="invalid_request") from error
        return Work(
            f"bench of {Path(wanted.model).name}",
            _events(wanted, new_engine, choose_model, history),
        )

    return make


async def _events(
    wanted: BenchSpec,
    new_engine: Callable[[], EngineClient],
    choose_model: ChooseModel,
    history: Path,
) -> AsyncGenerator[Progress | Result]:
    from luci_tui.bench.engine import measure
    from luci_tui.bench.report import BenchReport

    model = await asyncio.to_thread(choose_model, wanted)
    engine = new_engine()
    told = _Told()
    try:
        items = measure(engine, model.load, wanted.plan(model.load.n_ctx))
        async with aclosing(items):
            async for item in items:
                if isinstance(item, BenchReport):
                    run = await asyncio.to_thread(
                        keep_run, item, wanted.model, model.load.model_path, history
                    )
                    yield run.model_dump(mode="json")
                    return
                yield told.progress(item)
    finally:
        await engine.close()
    msg = "The bench ended without a report. Try again."
    raise EngineError(msg)


def keep_run(report: BenchReport, asked: str, path: str, history: Path) -> BenchRun:
    """Put a run to those that are kept, and return it.

    Raises:
        ConfigError: it cannot be written.
    """
    from luci_tui.bench.history import add_run, run_of
    from luci_tui.bench.machine import machine_words

    run = run_of(report, asked, path, machine_words())
    add_run(history, run)
    return run


class _Told:
    """What was told of a bench so far."""

    def __init__(self) -> None:
        self._series: dict[str, deque[float]] = {}
        self._progress = Progress(unit="steps")

    def progress(self, item: Told) -> Progress:
        """Tell of one step more, or of one figure more."""
        from luci_tui.bench.engine import BenchStep

        if isinstance(item, BenchStep):
            changes: dict[str, object] = {
                "what": item.words,
                "n_done": item.n_done,
                "n_total": item.n_total,
            }
        else:
            values = self._series.setdefault(item.name, deque(maxlen=MAX_VALUES))
            values.append(round(item.tokens_per_s, 3))
            series = tuple(
                ProgressSeries(name=name, unit="tok/s", values=tuple(values))
                for name, values in self._series.items()
            )
            changes = {"series": series}
        self._progress = self._progress.model_copy(update=changes)
        return self._progress
