"""The validator of the compiled core: files in, findings out. Runs in job and worker processes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from luci_tui.engine import job_frames, native
from luci_tui.engine.job_frames import JobProgress, ValidateResult
from luci_tui.gguf.findings import FileReport, Finding, Severity, Verdict

_POLL_S: Final = 0.1


def validate(spec: job_frames.ValidateSpec, report: "job_child.Report") -> ValidateResult:
    """Check every file of the job."""
    raise SystemError
