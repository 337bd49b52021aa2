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
from luci_tui.units import format_count

if TYPE_CHECKING:
    from luci_tui.engine import job_frames
    from luci_tui.library.compare import CompareModelsSpec
    from luci_tui.library.convert import ConvertSpec


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
        "convert": kind_of("convert", _convert_title),
        "compare_models": kind_of("compare_models", _compare_title),
    }


def _quantize_title(spec: job_frames.QuantizeSpec) -> str:
    types = ", ".join(output.type for output in spec.outputs)
    return f"quantize {Path(spec.source).name} to {types}"


def _convert_title(spec: ConvertSpec) -> str:
    return f"convert {Path(spec.source).name} to {Path(spec.output).name}"


def _compare_title(spec: CompareModelsSpec) -> str:
    return f"compare {format_count(len(spec.models), 'model')}"


def _checked(kind: str, spec: Mapping[str, JsonValue]) -> BaseModel:
    try:
        return _model_of(kind).model_validate({**spec, "kind": kind})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        msg = f"The {kind} job has no usable {name}: {first['msg'].lower()}. Correct it."
        raise ConfigError(msg, code="invalid_request") from error


def _model_of(kind: str) -> type[BaseModel]:
    """Give what a specification is checked with; each is imported when it is asked for."""
    match kind:
        case "quantize":
            from luci_tui.engine.job_frames import QuantizeSpec

            return QuantizeSpec
        case "imatrix":
            from luci_tui.engine.job_frames import ImatrixSpec

            return ImatrixSpec
        case "convert":
            from luci_tui.library.convert import ConvertSpec

            return ConvertSpec
        case _:
            from luci_tui.library.compare import CompareModelsSpec

            return CompareModelsSpec


async def _events(
    spec: BaseModel, log_path: Path, command: tuple[str, ...] | None
) -> AsyncGenerator[Progress | Result]:
    from luci_tui.engine.job_frames import JobProgress
    from luci_tui.engine.job_process import COMMAND

    async with aclosing(_run(spec, log_path, command or COMMAND)) as events:
        async for event in events:
            if isinstance(event, JobProgress):
                yield Progress.model_validate(event.model_dump(exclude={"kind"}))
            else:
                yield result_of(event)


def _run(
    spec: BaseModel, log_path: Path, command: tuple[str, ...]
) -> AsyncGenerator[job_frames.JobProgress | BaseModel]:
    from luci_tui.engine.file_jobs import run_file_job
    from luci_tui.engine.job_frames import ImatrixSpec, QuantizeSpec
    from luci_tui.library.compare import CompareModelsSpec, compare_models
    from luci_tui.library.convert import ConvertSpec, convert

    match spec:
        case QuantizeSpec() | ImatrixSpec():
            return run_file_job(spec, log_path, command)
        case ConvertSpec():
            return convert(spec, log_path, command)
        case CompareModelsSpec():
            return compare_models(spec, log_path, command)
        case _:
            msg = f"{type(spec).__name__} is no specification of a job"
            raise RuntimeError(msg)


def result_of(event: BaseModel) -> Result:
    """Turn the result of a job process into what a record keeps."""
    return event.model_dump(mode="json", exclude={"kind"})
