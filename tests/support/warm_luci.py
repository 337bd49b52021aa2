"""`luci` in forks of a process that has imported it already.

`python -m tests.support.warm_luci SOCKET` listens there until its standard input ends. For each
connection it forks a process that gets arguments, environment and the three standard streams, and
is `python -m luci_tui` from then on, with an end and an exit code of its own. What is saved is the
start of an interpreter for each of some hundred commands. A test whose subject is the process or
how it starts begins one in the ordinary way.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, BinaryIO

from luci_tui.__main__ import main as be_luci
from luci_tui.cli import main as cli

LIMIT_S = 60.0
_N_STREAMS = 3


def run_luci(
    arguments: tuple[str, ...], env: Mapping[str, str], stdin: bytes
) -> subprocess.CompletedProcess[bytes]:
    """Run a command of luci and give its exit code, stdout and stderr.

    Raises:
        subprocess.TimeoutExpired: it took longer than LIMIT_S and was ended.
    """
    with ExitStack() as stack, ThreadPoolExecutor(_N_STREAMS) as threads:
        given, to_write = _pipe(stack)
        to_read_out, out = _pipe(stack)
        to_read_err, err = _pipe(stack)
        channel = stack.enter_context(socket.socket(socket.AF_UNIX))
        channel.settimeout(LIMIT_S)
        channel.connect(str(_server()))
        call = {"arguments": arguments, "env": dict(env), "folder": str(Path.cwd())}
        socket.send_fds(channel, [b"\0"], [one.fileno() for one in (given, out, err)])
        channel.sendall(json.dumps(call).encode())
        channel.shutdown(socket.SHUT_WR)
        for theirs in (given, out, err):
            theirs.close()
        threads.submit(_write, to_write, stdin)
        texts = [threads.submit(one.read) for one in (to_read_out, to_read_err)]
        code = _exit_code(stack.enter_context(channel.makefile("r")), arguments)
        return subprocess.CompletedProcess(arguments, code, *(text.result() for text in texts))


def _pipe(stack: ExitStack) -> tuple[BinaryIO, BinaryIO]:
    read_fd, write_fd = os.pipe()
    return (
        stack.enter_context(os.fdopen(read_fd, "rb")),
        stack.enter_context(os.fdopen(write_fd, "wb", buffering=0)),
    )


def _write(stream: BinaryIO, data: bytes) -> None:
    """Give a command what it reads; it need not read all of it."""
    with suppress(BrokenPipeError), stream:
        while data:
            data = data[os.write(stream.fileno(), data) :]


def _exit_code(lines: IO[str], arguments: tuple[str, ...]) -> int:
    pid = int(lines.readline())
    try:
        return int(lines.readline())
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        raise subprocess.TimeoutExpired(arguments, LIMIT_S) from None


@cache
def _server() -> Path:
    """Start the process that is forked; it lives as long as this one."""
    folder = Path(tempfile.mkdtemp(prefix="luci-warm-", dir="/tmp"))
    path = folder / "socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm_luci", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    atexit.register(_end, process, folder)
    assert process.stdout is not None
    said, _, _ = select.select([process.stdout], [], [], LIMIT_S)
    assert said, "tests.support.warm_luci does not start"
    assert process.stdout.readline() == b"ready\n"
    return path


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    with process:
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Call:
    """What the process that is luci gets."""

    fds: list[int]
    arguments: list[str]
    env: dict[str, str]
    folder: str


def _next_call(listener: socket.socket) -> _Call | None:
    """Fork for each connection; returns in what is to be luci, and at the end with None."""
    while True:
        readable, _, _ = select.select([listener, 0], [], [])
        if listener not in readable:
            return None
        channel, _ = listener.accept()
        with channel:
            _, fds, _, _ = socket.recv_fds(channel, 1, _N_STREAMS)
            with channel.makefile("rb") as sent:
                call = _Call(fds, **json.load(sent))
            # One process is luci and another waits for its end, so that commands may overlap.
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                pid = os.fork()
                if pid == 0:
                    listener.close()
                    return call
                _tell_end(channel, pid, fds)
        for fd in fds:
            os.close(fd)


def _tell_end(channel: socket.socket, pid: int, fds: list[int]) -> None:
    """Say which process it is and how it ended."""
    os.closerange(0, 3)
    for fd in fds:
        os.close(fd)
    channel.sendall(b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):
        channel.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _take(call: _Call) -> None:
    """Become the process that was asked for, but for what it does."""
    for number, fd in enumerate(call.fds):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(call.env)
    time.tzset()
    os.chdir(call.folder)
    sys.argv = ["luci", *call.arguments]


def main(path: str) -> int:
    """Import luci, and be it as often as it is asked for."""
    for name in cli.COMMANDS:
        importlib.import_module(cli.module_of(name))
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        call = _next_call(listener)
    if call is None:
        return 0
    _take(call)
    return be_luci()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
