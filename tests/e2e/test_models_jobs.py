"""What Models has the host do with real files, in tmux: quantize and compare, one refused."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.hosts import end_host
from tests.support.tmux import Tmux, has_tmux
from tests.support.wide_models import write_wide_model

pytestmark = [
    pytest.mark.native,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not has_tmux(), reason="there is no tmux on the PATH"),
]

ROOT = Path(__file__).parents[2]


@pytest_asyncio.fixture
async def home() -> AsyncGenerator[Path]:
    """Give a home with a model that can be quantized, and one that cannot be compared."""
    with tempfile.TemporaryDirectory(prefix="luci-", dir="/tmp") as folder:
        models = Path(folder) / "models" / "custom_models"
        models.mkdir(parents=True)
        write_wide_model(models / "wide.gguf", n_layers=1)
        write_arch_model(TinyArch.RERANKER, models / "ranks.gguf")
        yield Path(folder)
        await end_host(Path(folder))


@pytest.fixture
def tmux(home: Path) -> Iterator[Tmux]:
    """Give the screen, with Models before it."""
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "LUCI_HOME": str(home),
        "NO_PROXY": "*",
        "LANG": "C.UTF-8",
    }
    run = f"{shlex.quote(sys.executable)} -m luci_tui; echo it has left; read line"
    with Tmux("sh", "-c", run, env=env, folder=home, size=(100, 30)) as terminal:
        terminal.wait_for("^ ready")
        terminal.press("M-2")
        terminal.wait_for(r"wide +")
        yield terminal
        terminal.press("C-q")
        terminal.wait_for("^it has left")


def test_models_are_quantized_and_compared_and_what_cannot_be_is_told(
    tmux: Tmux, home: Path
) -> None:
    tmux.press("Down")
    tmux.wait_for(r"^.wide · F16")
    tmux.press("q")
    tmux.wait_for("Quantize wide to which types")
    tmux.press("Enter")
    tmux.wait_for(r"wide-Q4_K_M +")
    assert (home / "models" / "custom_models" / "wide-Q4_K_M.gguf").is_file()
    tmux.press("m")
    tmux.wait_for(r"\[x\] +wide +F16")
    tmux.press("Down", "Space", "Enter")
    tmux.wait_for(r"\* wide\.gguf .* base ")
    assert tmux.wait_for(r"wide-Q4_K_M\.gguf .* (\d\.\d+) +[\d.]+% ").group(1) > "0"
    tmux.press("Escape")
    tmux.wait_without("nearer to the base")
    tmux.press("m")
    tmux.wait_for(r"\[x\] +wide +F16")
    tmux.press("Space", "Up", "Space", "Enter")
    tmux.wait_for("ranks.gguf cannot be")
