"""Check a model's files with luci's validator, in a process of its own."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

from luci_tui import paths
from luci_tui.errors import EngineError

MAX_FINDINGS = 5


async def check_files(files: tuple[Path, ...]) -> str:
    """Return the verdict and the first findings, in words.

    Raises:
        EngineError: the check could not be made.
    """
    from luci_tui.engine.job_frames import ValidateResult, ValidateSpec
    from luci_tui.engine.job_process import run_job

    spec = ValidateSpec(paths=tuple(str(path) for path in files))
    async with aclosing(run_job(spec, paths.logs_folder() / "jobs.log")) as events:
        async for event in events:
            if isinstance(event, ValidateResult):
                return " · ".join(_words(event))
    msg = "The check ended without a verdict. Try again."
    raise EngineError(msg)


def _words(result: object) -> list[str]:
    from luci_tui.engine.job_frames import ValidateResult

    assert isinstance(result, ValidateResult)
    verdicts = sorted({report.verdict.value for report in result.reports})
    findings = [finding for report in result.reports for finding in report.findings]
    words = [f"checked now: {', '.join(verdicts)}"]
    words += [f"{one.code}: {one.message}" for one in findings[:MAX_FINDINGS]]
    n_more = len(findings) - MAX_FINDINGS
    return words + ([f"and {n_more} more, see `luci validate`"] if n_more > 0 else [])
