"""Start llama-server on the loopback, and stop it."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from luci_tui.bench.peers.http_stream import HOST, HttpTarget
from luci_tui.bench.peers.workload import N_BATCH, N_CTX_PER_SLOT, N_UBATCH
from luci_tui.errors import EngineError

_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 10.0
_BUFFER_MIB = re.compile(r"(\S+)\s+(\S+) buffer size\s*=\s*([\d.]+) MiB")


def server_command(
    binary: Path,
    model: Path,
    n_threads: int,
    n_slots: int,
    port: int | str,
    *,
    n_ctx: int = N_CTX_PER_SLOT,
    is_verbose: bool = False,
) -> list[str]:
    """Return llama-server's command; every slot has `n_ctx` tokens of context."""
    return [
        *(str(binary), "-m", str(model), "--host", HOST, "--port", str(port)),
        *("-t", str(n_threads), "-tb", str(n_threads)),
        *("-c", str(n_ctx * n_slots), "-np", str(n_slots)),
        *("-b", str(N_BATCH), "-ub", str(N_UBATCH)),
        *(("-lv", "4") if is_verbose else ()),
    ]


class Server:
    """A running llama-server."""

    def __init__(self, port: int, log_path: Path) -> None:
        self.target = HttpTarget("llama-server", port, "any")
        self._log_path = log_path

    def buffers_mib(self) -> dict[str, float]:
        """Return the sizes in its log in MiB: model, KV, compute, output. Needs a verbose one."""
        sizes: dict[str, float] = {}
        for _, kind, mib in _BUFFER_MIB.findall(self._log_path.read_text(errors="replace")):
            sizes[kind] = sizes.get(kind, 0.0) + float(mib)
        return sizes


@contextmanager
def running_server(
    binary: Path,
    model: Path,
    n_threads: int,
    n_slots: int,
    *,
    n_ctx: int = N_CTX_PER_SLOT,
    is_verbose: bool = False,
) -> Generator[Server]:
    """Run llama-server until the block ends; it has answered its health check by then."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        log_path = Path(folder) / "server.log"
        command = server_command(
            binary, model, n_threads, n_slots, port, n_ctx=n_ctx, is_verbose=is_verbose
        )
        with log_path.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_until_healthy(process, port, log_path)
            yield Server(port, log_path)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP_TIMEOUT_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        if _is_healthy(port):
            return
        time.sleep(0.02)
    end = log_path.read_text(errors="replace")[-500:]
    message = f"llama-server did not start on port {port}; its log ends with: {end!r}"
    raise EngineError(message)


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
