from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.hosts import end_host
from tests.support.warm_luci import run_luci

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from luci_tui.host.openai.server import ApiServer
    from tests.support.api_server import Shelf

Luci = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest_asyncio.fixture
async def luci_env(tmp_path: Path) -> AsyncGenerator[dict[str, str]]:
    """Give an environment with a home folder of its own and no terminal of the developer's.

    The models folder holds `any.gguf`, for which a host with the echo engine looks as well. A host
    that the test started is gone afterwards.
    """
    hidden = {"NO_COLOR", "SSH_CONNECTION", "SSH_TTY", "TMUX", "STY"}
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in hidden and not name.startswith("LUCI_")
    }
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    write_arch_model(TinyArch.LLAMA, home / "models" / "any.gguf")
    env["LUCI_HOME"] = str(home)
    env["PYTHONPATH"] = str(Path.cwd())
    yield env
    await end_host(home)


@pytest.fixture
def luci(luci_env: dict[str, str]) -> Luci:
    """Return a function that runs luci and gives its exit code, stdout and stderr."""

    def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return run_luci(arguments, luci_env, stdin)

    return run


# What few modules need and takes long to import is imported where it is used.


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Shelf]:
    """Give a tiny model for each thing that the HTTP API can be asked for, loaded."""
    from tests.support.api_models import tiny_shelf

    async with tiny_shelf(tmp_path_factory.mktemp("openai")) as models:
        yield models


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(shelf: Shelf) -> AsyncGenerator[ApiServer]:
    """Serve those models."""
    from tests.support.api_server import serving

    async with serving(shelf) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: ApiServer) -> AsyncGenerator[AsyncOpenAI]:
    """Ask the module's server through the `openai` client."""
    from tests.support.openai_use import sdk

    async with sdk(server.url) as made:
        yield made
