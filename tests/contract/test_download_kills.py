"""Downloads that are killed with -9, in a process that is forked for each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "n_kills", [12, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_killed_downloads_leave_the_old_file_or_the_new_one(n_kills: int, tmp_path: Path) -> None:
    # A process of its own: it forks, which a process with threads should not.
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.download_kills", str(tmp_path), str(n_kills), "3"],
        capture_output=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    report = json.loads(done.stdout)
    assert report["n_kills"] == n_kills
    assert report["n_complete"] > 0
    assert report["resent_bytes_per_kill"] <= 1024 * 1024
