"""Hosts that are killed with -9 while they install and update a model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.native


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("n_kills", [38, pytest.param(1000, marks=pytest.mark.slow)])
def test_killed_hosts_go_on_and_the_model_in_use_stays_whole(n_kills: int, tmp_path: Path) -> None:
    # A process of its own: it forks, which a process with threads should not.
    command = [sys.executable, "-m", "tests.support.host_download_kills", str(tmp_path)]
    done = subprocess.run(
        [*command, str(n_kills), "5"], capture_output=True, timeout=3500, check=False
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    report = json.loads(done.stdout)
    assert report["n_kills"] == n_kills
    assert report["n_in_updates"] >= n_kills // 2
    assert report["n_installed"] > 1
