import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Luci = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def luci_env(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a home folder of its own and no terminal of the developer's."""
    hidden = {"NO_COLOR", "SSH_CONNECTION", "SSH_TTY", "TMUX", "STY"}
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env["LUCI_HOME"] = str(tmp_path / "home")
    env["PYTHONPATH"] = str(Path.cwd())
    return env


@pytest.fixture
def luci(luci_env: dict[str, str]) -> Luci:
    """Return a function that runs luci and gives its exit code, stdout and stderr."""

    def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "luci_tui", *arguments],
            input=stdin,
            capture_output=True,
            env=luci_env,
            timeout=60,
            check=False,
        )

    return run
