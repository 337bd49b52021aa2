from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.own_mounts import NAMESPACE, mountable


def test_disk_that_is_full_before_or_during_an_install_is_one_sentence_and_goes_on(
    tmp_path: Path,
) -> None:
    disk = mountable(tmp_path / "disk")
    command = [*NAMESPACE, sys.executable, "-m", "tests.support.full_disk_install", str(disk)]
    run = subprocess.run(command, capture_output=True, timeout=55, check=False)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert (found["refused"], found["failed"]) == ("disk_space", "disk_full")
    assert "model needs 4.01 MiB, and " in found["says"]
    assert found["kept_bytes"] > 1_000_000
    assert (found["state"], found["is_right"]) == ("done", True)
    assert found["n_from_the_beginning"] == 1
