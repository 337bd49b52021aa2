"""A model on llama.cpp's own RPC server, through the worker process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from luci_tui.engine.process import WorkerEngine
from luci_tui.errors import ModelLoadError, WorkerLostError
from tests.support import engines
from tests.support.arch_models import TinyArch, write_arch_model

pytestmark = pytest.mark.native

SERVER = Path("build/native/bin/ggml-rpc-server")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextlib.asynccontextmanager
async def rpc_server(log: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    port = free_port()
    with log.open("wb") as out:
        words = (str(SERVER), "--host", "127.0.0.1", "--port", str(port), "--threads", "1")
        process = await asyncio.create_subprocess_exec(*words, stdout=out, stderr=out)
    try:
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    await writer.wait_closed()
                    break
                await asyncio.sleep(0.02)
        yield f"127.0.0.1:{port}", process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.skipif(
    not SERVER.exists(), reason="`make native-test` builds llama.cpp's ggml-rpc-server"
)
async def test_worker_given_an_rpc_server_then_says_the_same_until_it_goes(tmp_path: Path) -> None:
    path = str(write_arch_model(TinyArch.LLAMA, tmp_path / "tiny.gguf"))
    engine = WorkerEngine(tmp_path / "worker.log")
    await engines.load(engine, path)
    expected = (await engines.answer(engine, engines.request())).text
    async with rpc_server(tmp_path / "rpc.log") as (server, process):
        await engines.load(engine, path, rpc_servers=(server,))
        assert (await engines.answer(engine, engines.request())).text == expected
        process.kill()
        await process.wait()
        with pytest.raises(WorkerLostError):
            await engines.answer(engine, engines.request())
    await engine.close()


async def test_load_given_an_rpc_server_that_is_not_there_then_no_worker_is_started(
    tmp_path: Path,
) -> None:
    path = str(write_arch_model(TinyArch.LLAMA, tmp_path / "tiny.gguf"))
    engine = WorkerEngine(tmp_path / "worker.log")
    with pytest.raises(ModelLoadError, match="cannot be reached") as caught:
        await engines.load(engine, path, rpc_servers=(f"127.0.0.1:{free_port()}",))
    assert caught.value.code == "rpc_unreachable"
    assert engine.pid is None
    assert not (tmp_path / "worker.log").exists()
