"""Compare models on one text: size, perplexity, divergence from the best, speed, memory."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from luci_tui.engine import job_frames, job_process
from luci_tui.engine.part_files import part_folder, sweep
from luci_tui.errors import EngineError
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


class ModelsCompared(BaseModel):
    """The table, in the order in which the models were named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["models_compared"] = "models_compared"
    text: str
    text_bytes: int
    n_ctx: int
    base: str
    rows: tuple[ComparedModel, ...]


async def compare_models(
    spec: CompareModelsSpec, log_path: Path, command: tuple[str, ...] = job_process.COMMAND
) -> AsyncGenerator[job_frames.JobProgress | ModelsCompared]:
    """Measure one model after the other and give progress, then the table.

    The base's predictions lie in a temporary file meanwhile: 2 bytes for each token of the
    vocabulary at each position.

    Args:
        spec: What to compare.
        log_path: Where the job processes write their log.
        command: How they are started.

    Raises:
        LuciError: a model or the text cannot be used.
    """
    text = Path(spec.text) if spec.text else DEFAULT_TEXT
    order = await asyncio.to_thread(_base_first, spec)
    scored: dict[str, job_frames.TextScored] = {}
    folder = await asyncio.to_thread(_temporary_folder)
    with part_folder(folder / f"base-{time.time_ns()}") as part:
        for index, path in enumerate(order):
            job = _job(spec, path, text, part.path / "base", is_base=index == 0)
            async with aclosing(job_process.run_job(job, log_path, command)) as events:
                async for event in events:
                    if isinstance(event, job_frames.JobProgress):
                        yield _over_all(event, index, len(order))
                    elif isinstance(event, job_frames.TextScored):
                        scored[path] = event
    yield ModelsCompared(
        text=spec.text or DEFAULT_TEXT.name,
        text_bytes=text.stat().st_size,
        n_ctx=spec.n_ctx,
        base=order[0],
        rows=rows_of([scored[path] for path in _models(spec)], order[0]),
    )


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


def _models(spec: CompareModelsSpec) -> list[str]:
    named = [*spec.models, *([spec.base] if spec.base else [])]
    return list(dict.fromkeys(named))


def _base_first(spec: CompareModelsSpec) -> list[str]:
    models = _models(spec)
    sizes = {path: read_header(Path(path)).weights_bytes for path in models}
    base = spec.base or max(models, key=lambda path: sizes[path])
    return [base, *(path for path in models if path != base)]


def _job(
    spec: CompareModelsSpec, path: str, text: Path, base_file: Path, *, is_base: bool
) -> job_frames.TextScoreSpec:
    has_others = len(_models(spec)) > 1
    return job_frames.TextScoreSpec(
        model=path,
        text=str(text),
        n_ctx=spec.n_ctx,
        n_chunks=spec.n_chunks,
        n_threads=spec.n_threads,
        write_base=str(base_file) if is_base and has_others else "",
        read_base="" if is_base else str(base_file),
        n_prompt=spec.n_prompt,
        n_gen=spec.n_gen,
    )


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
