"""The kinds of job that are work on files, each in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, JsonValue, ValidationError

from luci_tui.errors import ConfigError
from luci_tui.host.api.messages import Progress
from luci_tui.host.jobs import JobKind, Result, Work

if TYPE_CHECKING:
    from luci_tui.engine import job_frames


def file_job_kinds(log_path: Path, command: tuple[str, ...] | None = None) -> dict[str, JobKind]:
    """Return what can be done with files.

    Args:
        log_path: Where the job processes write their log.
        command: How they are started; None = as `job_process` does.
    """

    def kind_of(name: str, title: Callable[[Any], str]) -> JobKind:
        def make(spec: Mapping[str, JsonValue]) -> Work:
            checked = _checked(name, spec)
            return Work(title(checked), _events(checked, log_path, command))

        return make

    return {
        "quantize": kind_of("quantize", _quantize_title),
        "imatrix": kind_of("imatrix", lambda spec: f"imatrix of {Path(spec.model).name}"),
    }


def _quantize_title(spec: job_frames.QuantizeSpec) -> str:
    types = ", ".join(output.type for output in spec.outputs)
    return f"quantize {Path(spec.source).name} to {types}"


def _checked(
    kind: str, spec: Mapping[str, JsonValue]
) -> job_frames.QuantizeSpec | job_frames.ImatrixSpec:
    from luci_tui.engine import job_frames

    model: type[job_frames.QuantizeSpec | job_frames.ImatrixSpec] = (
        job_frames.QuantizeSpec if kind == "quantize" else job_frames.ImatrixSpec
    )
    try:
        return model.model_validate({**spec, "kind": kind})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        msg = f"The {kind} job has no usable {name}: {first['msg'].lower()}. Correct it."
        raise ConfigError(msg, code="invalid_request") from error


async def _events(
    spec: job_frames.QuantizeSpec | job_frames.ImatrixSpec,
    log_path: Path,
    command: tuple[str, ...] | None,
) -> AsyncGenerator[Progress | Result]:
    from luci_tui.engine.file_jobs import run_file_job
    from luci_tui.engine.job_frames import JobProgress
    from luci_tui.engine.job_process import COMMAND

    async with aclosing(run_file_job(spec, log_path, command or COMMAND)) as events:
        async for event in events:
            if isinstance(event, JobProgress):
                yield Progress.model_validate(event.model_dump(exclude={"kind"}))
            else:
                yield result_of(event)


def result_of(event: BaseModel) -> Result:
    """Turn the result of a job process into what a record keeps."""
    return event.model_dump(mode="json", exclude={"kind"})
