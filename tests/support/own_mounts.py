"""Small file systems for tests, in a mount namespace that goes away with its process."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

NAMESPACE = ("unshare", "--mount", "--map-root-user")
"""A user namespace as well, so that nobody has to be root."""


def mountable(folder: Path) -> Path:
    """Make a folder on which such a program can mount, or skip the test."""
    folder.mkdir()
    try:
        trial = (*NAMESPACE, "mount", "-t", "tmpfs", "luci-test", str(folder))
        run = subprocess.run(trial, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        pytest.skip("a full disk needs a mount of its own, and this system has no unshare")
    if run.returncode != 0:
        pytest.skip(f"a full disk needs a mount of its own: {run.stderr.strip()}")
    return folder
