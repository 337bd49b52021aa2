"""A job process as it is, but one that stops at each report while the home folder says so.

    python tests/support/paced_job.py --parent-pid N

While the home folder holds a file named `hold-jobs`, the job goes no further once it has told how
far it is, so that a test can do something in the middle of it.
"""

from __future__ import annotations

import time
from typing import Final

from luci_tui import paths
from luci_tui.engine import job_child
from luci_tui.engine.job_frames import JobProgress, JobResult, JobSpec

POLL_S: Final = 0.01
HOLD_JOBS: Final = "hold-jobs"

_run_job = job_child.run_job


def run_job(spec: JobSpec, report: job_child.Report) -> JobResult:
    """Do the job, and wait after each report while the file is there."""
    hold = paths.luci_home() / HOLD_JOBS

    def report_and_wait(progress: JobProgress) -> None:
        report(progress)
        while hold.exists():
            time.sleep(POLL_S)

    return _run_job(spec, report_and_wait)


if __name__ == "__main__":
    job_child.run_job = run_job
    job_child.main()
