"""Compare models on one text: size, perplexity, divergence from the best, speed, memory."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from luci_tui.engine import job_frames, job_process, memory
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.part_files import part_folder, sweep
from luci_tui.errors import EngineError, LuciError
from luci_tui.gguf.header import read_header

DEFAULT_TEXT: Final = Path(__file__).with_name("compare_text.txt")
"""A few pages of English prose, dialogue, lists and code, written for luci."""


class CompareModelsSpec(BaseModel):
    """Which models are compared, and on what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["compare_models"] = "compare_models"
    models: tuple[str, ...] = Field(min_length=1, max_length=64)
    text: str = ""
    """Path; "" = the text that comes with luci."""
    base: str = ""
    """Path of the model that the others are measured against; "" = the largest of them."""
    n_ctx: int = Field(default=512, ge=16, le=1_048_576)
    n_chunks: int = Field(default=0, ge=0)
    """0 = the whole text."""
    n_threads: int = Field(default=0, ge=0, le=1024)
    n_prompt: int = Field(default=128, ge=0, le=65_536)
    """Tokens of the speed test's prompt."""
    n_gen: int = Field(default=16, ge=0, le=65_536)
    force: bool = False
    """Measure a model that memory seems too small for, too."""


class ComparedModel(BaseModel):
    """One row of the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scored: job_frames.TextScored
    is_base: bool
    is_best: bool
    """No other model is both smaller and nearer to the base (Pareto-best)."""

    @property
    def loss(self) -> float | None:
        """What the model lost: divergence from the base, or its own perplexity; None = unknown."""
        return loss_of(self.scored, is_base=self.is_base)


class FailedModel(BaseModel):
    """The row of a model that could not be measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    code: str
    message: str
    """Why, as one sentence."""


class ModelsCompared(BaseModel):
    """The table, in the order in which the models were named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["models_compared"] = "models_compared"
    text: str
    text_bytes: int
    n_ctx: int
    base: str
    """The largest model that could be measured, where the one that was named could not be."""
    rows: tuple[ComparedModel | FailedModel, ...]

    @property
    def measured(self) -> tuple[ComparedModel, ...]:
        """The rows with figures; there is at least one."""
        return tuple(row for row in self.rows if isinstance(row, ComparedModel))

    @property
    def failed(self) -> tuple[FailedModel, ...]:
        """The rows of the others."""
        return tuple(row for row in self.rows if isinstance(row, FailedModel))


async def compare_models(
    spec: CompareModelsSpec, log_path: Path, command: tuple[str, ...] = job_process.COMMAND
) -> AsyncGenerator[job_frames.JobProgress | ModelsCompared]:
    """Measure one model after the other and give progress, then the table.

    The base's predictions lie in a temporary file meanwhile: 2 bytes for each token of the
    vocabulary at each position. A model that cannot be measured keeps its row, with the reason.

    Args:
        spec: What to compare.
        log_path: Where the job processes write their log.
        command: How they are started.

    Raises:
        LuciError: no model can be measured, or the text cannot be used.
    """
    comparison = _Comparison(spec, log_path, command)
    folder = await asyncio.to_thread(_temporary_folder)
    with part_folder(folder / f"base-{time.time_ns()}") as part:
        async with aclosing(comparison.measure(part.path)) as events:
            async for event in events:
                yield event
    yield comparison.table()


class _Comparison:
    """One comparison: which models are still to be measured, and what was found of the others."""

    def __init__(self, spec: CompareModelsSpec, log_path: Path, command: tuple[str, ...]) -> None:
        self._spec = spec
        self._log_path = log_path
        self._command = command
        self._text = Path(spec.text) if spec.text else DEFAULT_TEXT
        self._text_bytes = 0
        named = [*spec.models, *([spec.base] if spec.base else [])]
        self._models = list(dict.fromkeys(named))
        self._base = ""
        """The first model that was measured; "" = none yet."""
        self._base_file = ""
        self._scored: dict[str, job_frames.TextScored] = {}
        self._failed: dict[str, LuciError] = {}

    async def measure(self, folder: Path) -> AsyncGenerator[job_frames.JobProgress]:
        """Measure all models, the base first.

        Args:
            folder: For what the base foretells.
        """
        order = await asyncio.to_thread(self._base_first)
        for index, path in enumerate(order):
            job = self._job(path, folder / f"base-{index}")
            try:
                await asyncio.to_thread(self._require_usable, path)
                async with aclosing(self._run(job)) as events:
                    async for event in events:
                        yield _over_all(event, index, len(order))
            except LuciError as error:
                self._failed[path] = error
            if path in self._scored and not self._base:
                self._base, self._base_file = path, job.write_base

    def table(self) -> ModelsCompared:
        """Give what was found.

        Raises:
            LuciError: nothing was.
        """
        if not self._scored:
            raise self._failure()
        compared = rows_of([*self._scored.values()], self._base)
        rows: dict[str, ComparedModel | FailedModel] = {row.scored.model: row for row in compared}
        for path, error in self._failed.items():
            rows[path] = FailedModel(model=path, code=error.code, message=error.message)
        return ModelsCompared(
            text=self._spec.text or DEFAULT_TEXT.name,
            text_bytes=self._text_bytes,
            n_ctx=self._spec.n_ctx,
            base=self._base,
            rows=tuple(rows[path] for path in self._models),
        )

    def _failure(self) -> LuciError:
        """Give the error of a comparison that came to nothing."""
        first = self._failed[self._models[0]]
        if len({error.message for error in self._failed.values()}) == 1:
            return first
        msg = f"None of the {len(self._models)} models can be measured; the first: {first.message}"
        return EngineError(msg, code=first.code)

    def _base_first(self) -> list[str]:
        """Order the models that can be read: the first that can be measured is the base."""
        with suppress(OSError):  # without a text each model says so
            self._text_bytes = self._text.stat().st_size
        sizes: dict[str, int] = {}
        for path in self._models:
            try:
                sizes[path] = read_header(Path(path)).weights_bytes
            except LuciError as error:
                self._failed[path] = error
        order = [path for path in self._models if path in sizes]
        # By size, so that the largest of the others is the base should this one come to nothing.
        return sorted(order, key=lambda path: (path != self._spec.base, -sizes[path]))

    def _require_usable(self, path: str) -> None:
        """Refuse a model of another kind than the base, and one that memory is too small for.

        Raises:
            LuciError: why.
        """
        header = read_header(Path(path))
        base = self._scored.get(self._base)
        makes_embeddings = header.values.get(f"{header.architecture}.attention.causal") is False
        if base is not None and makes_embeddings != (base.perplexity is None):
            does = ("makes embeddings", "writes text")
            ours, theirs = does if makes_embeddings else does[::-1]
            raise EngineError(
                f"{Path(path).name} {ours} and the base, {Path(self._base).name}, {theirs}. "
                "Compare models of one kind.",
                code="not_comparable",
            )
        load = LoadSpec(model_path=path, n_ctx=self._spec.n_ctx, force=self._spec.force)
        memory.check_fits(memory.estimate(header, load), memory.available_bytes(), load, header)

    def _job(self, path: str, base_file: Path) -> job_frames.TextScoreSpec:
        is_base = not self._base
        return job_frames.TextScoreSpec(
            model=path,
            text=str(self._text),
            n_ctx=self._spec.n_ctx,
            n_chunks=self._spec.n_chunks,
            n_threads=self._spec.n_threads,
            write_base=str(base_file) if is_base and len(self._models) > 1 else "",
            read_base=self._base_file,
            n_prompt=self._spec.n_prompt,
            n_gen=self._spec.n_gen,
        )

    async def _run(self, job: job_frames.TextScoreSpec) -> AsyncGenerator[job_frames.JobProgress]:
        """Do one job, hand on its progress and keep what it found."""
        async with aclosing(job_process.run_job(job, self._log_path, self._command)) as events:
            async for event in events:
                if isinstance(event, job_frames.JobProgress):
                    yield event
                elif isinstance(event, job_frames.TextScored):
                    self._scored[job.model] = event


def rows_of(scored: Sequence[job_frames.TextScored], base: str) -> tuple[ComparedModel, ...]:
    """Mark the base and the models that no other beats in both size and loss."""
    best = _pareto_best(
        [(one.size_bytes, loss_of(one, is_base=one.model == base)) for one in scored]
    )
    return tuple(
        ComparedModel(scored=one, is_base=one.model == base, is_best=is_best)
        for one, is_best in zip(scored, best, strict=True)
    )


def loss_of(scored: job_frames.TextScored, *, is_base: bool) -> float | None:
    """Give what orders models by quality, the less the better; None = nothing is known."""
    if is_base:
        return 0.0
    if scored.mean_kld is not None:
        return max(0.0, scored.mean_kld)
    return scored.embedding_distance


def _pareto_best(points: Sequence[tuple[int, float | None]]) -> list[bool]:
    def is_beaten(size: int, loss: float) -> bool:
        return any(
            other_loss is not None
            and other_size <= size
            and other_loss <= loss
            and (other_size, other_loss) != (size, loss)
            for other_size, other_loss in points
        )

    return [loss is not None and not is_beaten(size, loss) for size, loss in points]


def _over_all(event: job_frames.JobProgress, index: int, n_models: int) -> job_frames.JobProgress:
    """Make one count of the chunks of all models."""
    if not event.n_total:
        return event
    n_done = index * event.n_total + event.n_done
    return event.model_copy(update={"n_done": n_done, "n_total": n_models * event.n_total})


def _temporary_folder() -> Path:
    """Make this person's folder for base files, and remove what killed processes left there."""
    folder = Path(tempfile.gettempdir()) / f"luci-compare-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = folder.stat(follow_symlinks=False).st_uid
    except OSError as error:
        msg = f"{folder} cannot be made ({error.strerror}). Set TMPDIR to another folder."
        raise EngineError(msg, code="not_writable") from error
    if owner != os.getuid() or folder.is_symlink():
        msg = f"{folder} belongs to somebody else. Set TMPDIR to a folder of your own."
        raise EngineError(msg, code="not_writable")
    sweep(folder)
    return folder
