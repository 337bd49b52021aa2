from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.own_mounts import NAMESPACE, mountable
from tests.support.wide_models import write_wide_model

pytestmark = pytest.mark.native


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Give a folder on which a file system can be mounted, or skip."""
    return mountable(tmp_path / "disk")


def test_quantize_onto_a_disk_that_fills_up_is_one_sentence_and_leaves_nothing(
    disk: Path, tmp_path: Path, luci_env: dict[str, str]
) -> None:
    source = write_wide_model(tmp_path / "wide-F16.gguf", n_layers=3, n_ff=768)
    before = source.read_bytes(), source.stat().st_mtime_ns
    command = [*NAMESPACE, sys.executable, "-m", "tests.support.full_disk", str(source), str(disk)]
    run = subprocess.run(
        [*command, "Q3_K_M"], env=luci_env, capture_output=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["written_bytes"] > 0
    assert (found["exit_code"], found["stdout"]) == (2, "")
    assert found["stderr"].count("\n") == 1
    assert "the disk is full after" in found["stderr"]
    assert found["names"] == ["ballast"]
    assert (source.read_bytes(), source.stat().st_mtime_ns) == before
    assert (found["exit_code_with_room"], found["names_with_room"]) == (0, ["out.gguf"])
