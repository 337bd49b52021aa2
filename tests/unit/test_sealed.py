from __future__ import annotations

import subprocess
import sys

import pytest

ATTEMPTS = (
    "socket.create_connection(('127.0.0.1', 9), 1)",
    "socket.getaddrinfo('localhost', 80)",
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    "socket.socket(socket.AF_INET6).bind(('::1', 0))",
    "urllib.request.urlopen('http://127.0.0.1:9/')",
)


def run_sealed(code: str) -> str:
    """Run a line in a sealed process, for the seal cannot be taken off again."""
    program = (
        "import os, socket, urllib.request\n"
        "from luci_tui.engine.sealed import seal_process\n"
        "seal_process()\n"
        f"try:\n    {code}\nexcept Exception as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return run.stdout.decode()


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_sealed_process_reaches_no_network(attempt: str) -> None:
    assert "a job process has no network" in run_sealed(attempt)


def test_sealed_process_keeps_local_sockets_and_tells_libraries_to_stay_offline() -> None:
    local = "a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))"
    assert run_sealed(local) == "b'x'\n"
    assert run_sealed("print(os.environ['HF_HUB_OFFLINE'])") == "1\n"
