"""A virtual environment beside the project's own, for a program that must not share it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache"
"""Survives `make clean`; git ignores it."""
LIMIT_S = 1800.0


def own_venv(name: str, requirements: Path) -> Path:
    """Return the folder of the environment's programs; the first call makes it from the registry.

    Args:
        name: Of its folder in the cache.
        requirements: What is installed; another content makes another environment.
    """
    wanted = requirements.read_bytes() + sys.version.encode()
    folder = CACHE / name / hashlib.sha256(wanted).hexdigest()[:16]
    is_complete = folder / "complete"
    if not is_complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(folder / "bin" / "pip"), "install", "--quiet", "-r", str(requirements))
        is_complete.touch()
    return folder / "bin"


def _run(*command: str) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")
