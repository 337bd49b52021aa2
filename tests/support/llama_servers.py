"""llama-server from the pinned tree, on tiny models; built if it is not there, which takes long."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from luci_tui.bench.peers import build

ROOT = Path(__file__).parents[2]
START_S = 120.0
"""A busy machine is slow to start it."""


def llama_server() -> Path:
    """Give the program."""
    path = build.peers_of(ROOT).binary("llama-server")
    if not path.exists():
        build.build_tool(ROOT, "llama-server", os.cpu_count() or 1)
    return path


LONG_CONTEXT = ("--override-kv", "llama.context_length=int:131072")
"""Options for a context beyond that of the tiny model, which an answer takes long to fill."""


@dataclass
class LlamaServer:
    """One server process with one model."""

    port: int
    command: tuple[str, ...]
    log_path: Path
    process: asyncio.subprocess.Process | None = None

    @property
    def base_url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def metrics_url(self) -> str:
        """Where its counters are, if it was started with --metrics."""
        return f"http://127.0.0.1:{self.port}/metrics"

    async def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log_path.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command, stdout=log, stderr=log
            )
        async with asyncio.timeout(START_S), httpx.AsyncClient(trust_env=False) as client:
            while not await self._is_well(client):
                if self.process.returncode is not None:
                    end = self.log_path.read_text(errors="replace")[-2000:]
                    raise AssertionError(f"llama-server ended: {end}")
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """End it without asking."""
        process, self.process = self.process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def _is_well(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(f"http://127.0.0.1:{self.port}/health")).status_code == 200
        except httpx.HTTPError:
            return False


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_of(model: Path, folder: Path, *options: str, port: int = 0) -> LlamaServer:
    """Describe a server that is not started yet."""
    port = port or free_port()
    arguments = (
        "-m",
        str(model),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "-t",
        "1",
        "-tb",
        "1",
    )
    command = (str(llama_server()), *arguments, *options)
    return LlamaServer(port, command, folder / f"llama-{port}.log")


@asynccontextmanager
async def running(*servers: LlamaServer) -> AsyncGenerator[None]:
    """Run servers inside the block."""
    try:
        await asyncio.gather(*(server.start() for server in servers))
        yield
    finally:
        for server in servers:
            await server.kill()
