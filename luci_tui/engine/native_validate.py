"""The validator of the compiled core: files in, findings out. Runs in job and worker processes."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from luci_tui.engine import native
from luci_tui.engine.job_frames import JobProgress, ValidateResult, ValidateSpec
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import ModelLoadError
from luci_tui.gguf.findings import FileReport, Finding, Severity, Verdict

_POLL_S: Final = 0.1
_HASH_BYTES: Final = 4 * 1024 * 1024

Report = Callable[[JobProgress], None]


def validate(spec: ValidateSpec, report: Report) -> ValidateResult:
    """Check every file of the job, one after the other.

    Raises:
        EngineError: the extension is not there.
    """
    native.require_native()
    return ValidateResult(reports=tuple(_validate_one(path, spec, report) for path in spec.paths))


def require_valid_model(spec: LoadSpec) -> None:
    """Check every file of a load quickly, before native code reads the first of them.

    Raises:
        ModelLoadError: a file is rejected; `code` is that of its first finding.
    """
    others = [lora.path for lora in spec.loras] + [spec.draft_model_path, spec.mmproj_path]
    for path in filter(None, [spec.model_path, *others]):
        error = check_file(path).first_error
        if error is not None:
            raise ModelLoadError(
                f"{Path(path).name} is not loaded: {error.message} (Rule {error.code}; "
                "`luci validate` tells more.)",
                code=error.code,
            )


def check_file(path: str, *, deep: bool = False, report: Report | None = None) -> FileReport:
    """Check one file, and with `deep` every block of its tensors."""
    from luci_tui import _native as core

    progress = core.ValidateProgress()
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_POLL_S):
            if report is not None:
                report(
                    JobProgress(what=path, n_done=progress.done_bytes, n_total=progress.total_bytes)
                )

    watcher = threading.Thread(target=watch, daemon=True)
    if deep:
        watcher.start()
    try:
        rows = core.validate(os.fsencode(path), progress, deep)
    finally:
        is_over.set()
        if deep:
            watcher.join()
    return make_report(path, [_finding(*row) for row in rows])


def make_report(path: str, findings: list[Finding]) -> FileReport:
    """Put findings and the verdict that follows from them together."""
    severities = {finding.severity for finding in findings}
    verdict = Verdict.OK
    if Severity.ERROR in severities:
        verdict = Verdict.REJECTED
    elif severities:
        verdict = Verdict.WARNING
    return FileReport(path=path, verdict=verdict, findings=tuple(findings))


def _finding(code: str, is_error: bool, offset: int, message: bytes) -> Finding:
    severity = Severity.ERROR if is_error else Severity.WARNING
    text = message.decode("utf-8", errors="backslashreplace")
    return Finding(code=code, severity=severity, offset=offset, message=text)


def _validate_one(path: str, spec: ValidateSpec, report: Report) -> FileReport:
    checked = check_file(path, deep=spec.deep, report=report)
    if not spec.sha256 or checked.verdict is Verdict.REJECTED:
        return checked
    found = _sha256(path, report)
    if found == spec.sha256.lower():
        return checked
    finding = Finding(
        code="D02",
        severity=Severity.ERROR,
        offset=0,
        message=f"The SHA-256 of the file is {found} and not {spec.sha256.lower()}: it is another "
        "file, or it was damaged on its way. Download it again.",
    )
    return make_report(path, [finding, *checked.findings])


def _sha256(path: str, report: Report) -> str:
    digest = hashlib.sha256()
    size = Path(path).stat().st_size
    n_done = 0
    with Path(path).open("rb") as file:
        while piece := file.read(_HASH_BYTES):
            digest.update(piece)
            n_done += len(piece)
            report(JobProgress(what=path, n_done=n_done, n_total=size))
    return digest.hexdigest()
