from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.wide_models import write_wide_model

pytestmark = pytest.mark.native

NAMESPACE = ("unshare", "--mount", "--map-root-user")
"""A user namespace as well, so that nobody has to be root."""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Give a folder on which a file system can be mounted, or skip."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        trial = (*NAMESPACE, "mount", "-t", "tmpfs", "luci-test", str(folder))
        run = subprocess.run(trial, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        pytest.skip("a full disk needs a mount of its own, and this system has no unshare")
    if run.returncode != 0:
        pytest.skip(f"a full disk needs a mount of its own: {run.stderr.strip()}")
    return folder


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
