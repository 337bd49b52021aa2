"""Where a running host is found: socket, lock and description, in folders of nobody else.

`LUCI_HOME/run` is 0700 and holds `host.lock` (held with flock for the life of the process, so the
lock of a dead host is free by itself), `host.json` and `host.sock`. Standard library only: the
socket listens a few milliseconds after the process has started.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from luci_tui.errors import ConfigError

SOCKET_PATH_MAX_BYTES = 100
"""Linux takes 107 bytes and macOS 103; a longer path goes below the temporary folder."""
BACKLOG = 128


@dataclass(frozen=True)
class RunFiles:
    """The paths of one home folder's host; none of them has to exist."""

    home: Path
    folder: Path
    socket: Path
    """Where a host that starts now listens; one that runs says in its HostInfo where it does."""
    lock: Path
    info: Path


@dataclass(frozen=True)
class HostInfo:
    """What `host.json` says of the host that wrote it; the file outlives a host that was killed."""

    pid: int
    version: str
    protocol: int
    started_at: float
    """Seconds since 1970."""
    socket: str
    """The temporary folder may be another one for the next front end."""


def run_files(home: Path) -> RunFiles:
    """Return the paths of the host of a home folder."""
    home = home.absolute()
    folder = home / "run"
    return RunFiles(
        home=home,
        folder=folder,
        socket=_socket_path(home, folder),
        lock=folder / "host.lock",
        info=folder / "host.json",
    )


def _socket_path(home: Path, folder: Path) -> Path:
    near = folder / "host.sock"
    if _fits(near):
        return near
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    name = f"luci-{os.getuid()}-{digest}"
    far = Path(tempfile.gettempdir()) / name / "host.sock"
    return far if _fits(far) else Path("/tmp") / name / "host.sock"


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_MAX_BYTES


def prepare_folders(files: RunFiles) -> None:
    """Make the folders that are missing and refuse those that others could use.

    Raises:
        ConfigError: a folder cannot be made, is not this user's, or is open to others.
    """
    for folder in dict.fromkeys((files.folder, files.socket.parent)):
        try:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The folder {folder} for the host cannot be made ({error.strerror}). "
                "Make it writable, or name another home folder with LUCI_HOME.",
                code="run_folder",
            ) from error
        check_folder(folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(
                f"The folder {folder} for the host cannot be written. "
                f"Run `chmod 700 {folder}`, or name another home folder with LUCI_HOME.",
                code="run_folder",
            )


def check_folder(folder: Path) -> None:
    """Refuse a folder in which somebody else could have put a socket.

    Raises:
        ConfigError: it is a link or no folder, belongs to another user, or others may enter it.
    """
    try:
        found = folder.lstat()
    except OSError as error:
        msg = f"The folder {folder} of the host cannot be looked at ({error.strerror})."
        raise ConfigError(msg, code="run_folder") from error
    if not stat.S_ISDIR(found.st_mode):
        msg = f"{folder} is a link or a file where the host's folder has to be. Take it away."
        raise ConfigError(msg, code="run_folder")
    if found.st_uid != os.getuid():
        raise ConfigError(
            f"The folder {folder} belongs to user {found.st_uid}, not to you ({os.getuid()}). "
            "Take it away, or name another home folder with LUCI_HOME.",
            code="run_folder",
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"The folder {folder} has mode {mode:04o}, so others could reach the host. "
            f"Run `chmod 700 {folder}`.",
            code="run_folder",
        )


def take_lock(files: RunFiles) -> int | None:
    """Take the lock of the one host and return its descriptor; None = a host has it.

    The lock is free again when the process ends, however that happens.

    Raises:
        ConfigError: the file cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(files.lock, flags, 0o600)
    except OSError as error:
        msg = f"The lock {files.lock} cannot be opened ({error.strerror}). Check its owner."
        raise ConfigError(msg, code="run_folder") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def is_locked(files: RunFiles) -> bool:
    """Say whether a host lives. It takes the lock for a moment, which a start then meets."""
    if not files.lock.is_file():
        return False
    fd = take_lock(files)
    if fd is None:
        return True
    os.close(fd)
    return False


def listen(files: RunFiles) -> socket.socket:
    """Take the socket's name, also from a host that was killed, and listen; needs the lock.

    Raises:
        ConfigError: the name cannot be taken.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        files.socket.unlink(missing_ok=True)
        listener.bind(str(files.socket))
        files.socket.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        msg = f"The host cannot listen on {files.socket} ({error.strerror}). Take that file away."
        raise ConfigError(msg, code="run_folder") from error
    listener.setblocking(False)
    return listener


def write_info(files: RunFiles, info: HostInfo) -> None:
    """Write `host.json` in one step.

    Raises:
        ConfigError: the disk is full or the folder cannot be written.
    """
    part = files.info.with_name(f"{files.info.name}.part-{os.getpid()}")
    try:
        part.write_text(json.dumps(asdict(info)) + "\n", encoding="utf-8")
        part.replace(files.info)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        msg = f"{files.info} cannot be written ({error.strerror}). Free some disk space."
        raise ConfigError(msg, code="run_folder") from error


def read_info(files: RunFiles) -> HostInfo | None:
    """Read `host.json`; None = there is none, or none that can be read."""
    try:
        return HostInfo(**json.loads(files.info.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def remove(files: RunFiles, lock: int) -> None:
    """Take socket and description away when the host leaves; the lock file stays.

    Where the home folder was deleted under this host, the next one may live at its place by now:
    what belongs to that one stays.

    Args:
        files: Where they lie.
        lock: This host's lock, as `take_lock` gave it.
    """
    if _is_anothers(files, lock):
        return
    for path in (files.socket, files.info):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _is_anothers(files: RunFiles, lock: int) -> bool:
    """Say whether another host than that of `lock` may have the place.

    A file that is open keeps its number, so the lock of another host never has the same one; and
    no host listens before it has made its lock.
    """
    try:
        there = files.lock.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    ours = os.fstat(lock)
    return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)
