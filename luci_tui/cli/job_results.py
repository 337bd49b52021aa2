"""What a job has found or made, in the words of the command that does the same work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import JsonValue, ValidationError

if TYPE_CHECKING:
    from luci_tui.host.api.messages import JobRecord


def result_lines(job: JobRecord) -> list[str]:
    """Say what a job that is done has found or made; what nobody knows is shown as it is."""
    if job.result is None:
        return []
    try:
        return _known(job.kind, job.result)
    except ValidationError:  # of another version of luci
        return _plain(job.result)


def is_in_part(job: JobRecord) -> bool:
    """Tell whether a job is done, and some of what was asked for is not."""
    if job.kind != "compare_models" or job.result is None:
        return False
    from luci_tui.library.compare import ModelsCompared

    try:
        return bool(ModelsCompared.model_validate(job.result).failed)
    except ValidationError:
        return False


def _known(kind: str, result: Mapping[str, JsonValue]) -> list[str]:
    # Each command is large, and a job is of one kind.
    match kind:
        case "quantize":
            from luci_tui.cli import quantize
            from luci_tui.engine.job_frames import QuantizeResult

            quantized = QuantizeResult.model_validate(result)
            return [*quantize.result_lines(quantized), *quantize.notes_of(quantized)]
        case "imatrix":
            from luci_tui.cli import imatrix
            from luci_tui.engine.job_frames import ImatrixResult

            made = ImatrixResult.model_validate(result)
            return [*imatrix.result_lines(made), *imatrix.notes_of(made)]
        case "convert":
            from luci_tui.cli import convert
            from luci_tui.library.convert import ConvertResult

            converted = ConvertResult.model_validate(result)
            return [*convert.result_lines(converted), *convert.notes_of(converted)]
        case "compare_models":
            from luci_tui.cli import compare
            from luci_tui.library.compare import ModelsCompared

            compared = ModelsCompared.model_validate(result)
            return [*compare.table_lines(compared), *compare.notes_of(compared)]
        case "bench":
            from luci_tui.bench.history import BenchRun, report_of

            return report_of(BenchRun.model_validate(result)).as_lines()
        case "load":
            return [f"{result.get('name')} was loaded."]
        case _:
            return _plain(result)


def _plain(result: Mapping[str, JsonValue]) -> list[str]:
    """Set each value in a line, as JSON where it has parts."""
    return [
        f"{name:<9} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in result.items()
    ]
