"""Asking the hub of `tests.support.hub`: as the library does, and as the whole program does."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from luci_tui.cli.main import run_command_line
from luci_tui.config import HubEnvironment
from luci_tui.download.hub import Hub, HubOptions
from luci_tui.download.pace import Backoff
from tests.support import warm_luci
from tests.support.hub import Hub as FakeHub

TOKEN = "hf_" + "a1B2" * 8
"""Looks like one, and belongs to nobody."""
_HIDDEN = frozenset(
    {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_HOME", "HF_TOKEN_PATH", "NO_COLOR"}
)


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


def quick_hub(fake: FakeHub, folder: Path, *, token: str = "", **fields: Any) -> Hub:
    """Give a client of a hub that does not wait for long."""
    environment = HubEnvironment(
        endpoint=fake.url,
        token=token,
        token_variable="HF_TOKEN" if token else "",
        token_file=folder / "hf" / "token",
    )
    options = HubOptions(
        timeout_s=5.0,
        max_attempts=3,
        new_backoff=lambda: Backoff(first_s=0.001, max_s=0.002),
    )
    return Hub(environment, replace(options, **fields))


def hub_env(fake: FakeHub, folder: Path, **more: str) -> dict[str, str]:
    """Give an environment with the hub, and homes of its own for luci and the hub's library."""
    env = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
    own = {
        "LUCI_HOME": str(folder / "home"),
        "HF_HOME": str(folder / "hf"),
        "HF_ENDPOINT": fake.url,
        "PYTHONPATH": str(Path.cwd()),
    }
    return {**env, **own, **more}


def _no_screen(model: str, engine: str, resume: str | None) -> int:
    del model, engine, resume
    return 1


async def run_here(
    patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], env: dict[str, str], *words: str
) -> Done:
    """Run a command in this process, which is quicker; its standard input is not replaced."""
    for name in _HIDDEN - env.keys():
        patch.delenv(name, raising=False)
    for name, value in env.items():
        patch.setenv(name, value)
    capsys.readouterr()
    code = await asyncio.to_thread(run_command_line, list(words), _no_screen)
    out, err = capsys.readouterr()
    return Done(code, out, err)


async def run_luci(env: dict[str, str], *arguments: str, stdin: str = "") -> Done:
    """Run luci to its end while the hub of this process answers it."""
    done = await asyncio.to_thread(warm_luci.run_luci, arguments, env, stdin.encode())
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())
