"""Find the host of a home folder, start it, replace it by a newer one, end it: for front ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import select
import signal
import sys
import time
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from luci_tui import paths
from luci_tui.errors import HostError
from luci_tui.host import run_files
from luci_tui.host.api.messages import ErrorBody, Hello, to_error
from luci_tui.host.client import HostClient
from luci_tui.host.host_log import LOG_NAME
from luci_tui.host.process import EXIT_BUSY
from luci_tui.version import HOST_PROTOCOL, VERSION

GONE_S = 30.0
"""Beyond its drain, a host that was asked to leave is gone after so long."""
RETRY_S = 0.05
"""Pause after a race was lost: the winner listens within a few milliseconds."""
LOG_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Launcher:
    """How a host is started, and for which luci."""

    command: tuple[str, ...] = (sys.executable, "-P", "-m", "luci_tui.host.process")
    arguments: tuple[str, ...] = ()
    start_s: float = 60.0
    """Longest time until it answers; a busy machine is slow to start an interpreter."""
    version: str = VERSION
    """Of the front end."""


@dataclass(frozen=True)
class Found:
    """A host that answers."""

    client: HostClient
    hello: Hello


async def ensure_host(home: Path | None = None, launcher: Launcher | None = None) -> HostClient:
    """Return a client of the host, which is started or replaced where that is needed.

    Args:
        home: The home folder; None = the one of the environment.
        launcher: How it is started; None = as usual.

    Raises:
        ConfigError: its folder cannot be used.
        HostError: it cannot be started, does not answer, or speaks another protocol.
    """
    home = home or paths.luci_home()
    launcher = launcher or Launcher()
    files = run_files.run_files(home)
    deadline_s = time.monotonic() + launcher.start_s
    notices: list[str] = []
    while time.monotonic() < deadline_s:
        found = await find_host(home)
        if found is None:
            if not await start_host(files, launcher):
                await asyncio.sleep(RETRY_S)
            continue
        verdict, notice = _judge(found.hello, launcher.version, has_replaced=bool(notices))
        if verdict is _Verdict.USE:
            found.client.notices += [*notices, *([notice] if notice else [])]
            return found.client
        try:
            if verdict is _Verdict.REFUSE:
                raise HostError(notice, code="other_version")
            if verdict is _Verdict.REPLACE:
                await found.client.stop()
                notices.append(notice)
        finally:
            await found.client.close()
        await wait_gone(found.hello.pid, max(0.0, deadline_s - time.monotonic()))
    raise HostError(
        f"The host could not be reached within {launcher.start_s:.0f} s. "
        f"Its log is {home / 'logs' / LOG_NAME}.",
        code="unreachable",
    )


async def find_host(home: Path | None = None) -> Found | None:
    """Return a client of the host that runs; None = none does.

    Raises:
        ConfigError: its folder cannot be trusted.
        HostError: it is there and silent.
    """
    files = run_files.run_files(home or paths.luci_home())
    info = run_files.read_info(files)
    socket = Path(info.socket) if info else files.socket
    if not socket.exists() or (info is None and not files.lock.exists()):
        # A socket without a lock is of a host whose home folder was deleted under it.
        return None
    run_files.check_folder(socket.parent)
    client = HostClient(socket)
    try:
        return Found(client, await client.hello())
    except BaseException as error:
        await client.close()
        if isinstance(error, HostError) and error.code == "unreachable":
            return None
        raise


async def start_host(files: run_files.RunFiles, launcher: Launcher) -> bool:
    """Start a host and return when it answers; False = another one was quicker.

    Raises:
        ConfigError: its folder cannot be used.
        LuciError: what the host says why it cannot start.
        HostError: it did not say.
    """
    run_files.prepare_folders(files)
    log_path = files.home / "logs" / LOG_NAME
    log_start = log_path.stat().st_size if log_path.is_file() else 0
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb", buffering=0) as pipe:
        try:
            status = await _spawn(files.home, launcher, write_fd, log_path)
        finally:
            os.close(write_fd)
        if status == EXIT_BUSY:
            return False
        line = await _read_line(pipe, launcher.start_s)
    if line is None:
        raise HostError(
            f"The host did not answer within {launcher.start_s:.0f} s. Its log is {log_path}.",
            code="unreachable",
        )
    if not line:
        raise HostError(
            f"The host ended while it started{_last_line(log_path, log_start)}. "
            f"Its log is {log_path}.",
            code="start_failed",
        )
    told: dict[str, object] = json.loads(line)
    if "ready" not in told:
        raise to_error(ErrorBody.model_validate(told))
    return True


async def _spawn(home: Path, launcher: Launcher, write_fd: int, log_path: Path) -> int:
    """Run the process until it has let go of us, and return its exit code."""
    try:
        log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log_path.open("ab") as log_file:
            process = await asyncio.create_subprocess_exec(
                *launcher.command,
                *launcher.arguments,
                *("--detach", "--ready-fd", str(write_fd)),
                pass_fds=(write_fd,),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log_file,
                env=paths.environment_for(home),
            )
    except OSError as error:
        msg = f"The host cannot be started ({error}). Check {log_path.parent} and free memory."
        raise HostError(msg, code="start_failed") from error
    try:
        return await asyncio.wait_for(process.wait(), launcher.start_s)
    except TimeoutError:
        process.kill()
        return await process.wait()


async def _read_line(pipe: object, wait_s: float) -> bytes | None:
    """Return the line that the host writes, b"" if it ended without one, None if it is late."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        return await asyncio.wait_for(reader.readline(), wait_s)
    except TimeoutError:
        return None
    finally:
        transport.close()


def _last_line(log_path: Path, start: int) -> str:
    """Quote the last line that a log has gained since byte `start`."""
    with contextlib.suppress(OSError), log_path.open("rb") as log:
        end = log.seek(0, os.SEEK_END)
        log.seek(max(min(start, end), end - LOG_TAIL_BYTES))
        lines = log.read().decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last[:300]}" if last else ""
    return ""


class _Verdict(Enum):
    USE = auto()
    REPLACE = auto()
    WAIT = auto()
    REFUSE = auto()


def _judge(hello: Hello, version: str, *, has_replaced: bool) -> tuple[_Verdict, str]:
    """Decide what a front end of `version` does with a host; the sentence is for the person."""
    if hello.is_leaving:
        return _Verdict.WAIT, ""
    ours, theirs = _order(version), _order(hello.version)
    is_newer = (ours, HOST_PROTOCOL) > (theirs, hello.protocol)
    speaks_ours = hello.protocol == HOST_PROTOCOL
    if is_newer and hello.is_idle and not has_replaced:
        return _Verdict.REPLACE, f"The idle host of luci {hello.version} was replaced."
    if has_replaced or (ours == theirs and speaks_ours):
        return _Verdict.USE, ""
    busy = ", ".join(hello.busy) or "in use"
    if speaks_ours and is_newer:
        return _Verdict.USE, (
            f"The host is still that of luci {hello.version}, because it is busy ({busy}). "
            "It is replaced when it is idle, or by `luci host restart`."
        )
    if speaks_ours:
        return _Verdict.USE, f"The host is that of luci {hello.version}; this is luci {version}."
    if is_newer:
        return _Verdict.REFUSE, (
            f"The host of luci {hello.version} speaks protocol {hello.protocol}, this luci "
            f"{HOST_PROTOCOL}, and it is busy ({busy}). Wait, or run `luci host restart`."
        )
    return _Verdict.REFUSE, (
        f"The host is of the newer luci {hello.version} and speaks protocol {hello.protocol}, "
        f"this one {HOST_PROTOCOL}. Update this one, or run `luci host restart`."
    )


def _order(version: str) -> tuple[int, ...]:
    """Make versions comparable by their numbers."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])


async def stop_host(
    home: Path | None = None, *, drain_s: float | None = None, force: bool = False
) -> int | None:
    """End the host and return the id its process had; None = there was none.

    Args:
        home: The home folder; None = the one of the environment.
        drain_s: Time for what runs; None = as the host's settings say.
        force: Kill it where it does not leave by itself.

    Raises:
        HostError: it does not answer, or does not leave.
    """
    files = run_files.run_files(home or paths.luci_home())
    pid = await _ask_to_leave(files, drain_s, force=force)
    if pid is None:
        return None
    if await wait_gone(pid, (drain_s or 0) + GONE_S):
        return pid
    if not force:
        msg = f"The host (process {pid}) does not leave. `luci host stop --force` kills it."
        raise HostError(msg, code="silent")
    _kill(pid)
    await wait_gone(pid, GONE_S)
    return pid


async def _ask_to_leave(
    files: run_files.RunFiles, drain_s: float | None, *, force: bool
) -> int | None:
    """Tell the host to leave and return its process id; one that is silent is killed by force."""
    try:
        found = await find_host(files.home)
    except HostError:
        if not force:
            raise
        found = None
    if found is not None:
        try:
            await found.client.stop(drain_s)
        finally:
            await found.client.close()
        return found.hello.pid
    info = run_files.read_info(files)
    if info is None or not run_files.is_locked(files):
        return None
    if not force:
        msg = (
            f"Process {info.pid} has the host's lock and does not answer. "
            "`luci host stop --force` kills it."
        )
        raise HostError(msg, code="silent")
    _kill(info.pid)
    return info.pid


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


async def wait_gone(pid: int, wait_s: float) -> bool:
    """Wait until a process has ended; False = it is still there."""
    if sys.platform != "linux":
        return await _poll_gone(pid, wait_s)
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:  # an old kernel, or no descriptor left
        return await _poll_gone(pid, wait_s)
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(fd, gone.set)
    try:
        if select.select([fd], [], [], 0)[0]:
            return True
        await asyncio.wait_for(gone.wait(), wait_s)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    return True


async def _poll_gone(pid: int, wait_s: float) -> bool:
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s:
        try:
            os.kill(pid, 0)
        except OSError:
            return True
        await asyncio.sleep(RETRY_S)
    return False
