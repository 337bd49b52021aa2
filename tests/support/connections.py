"""Watch which addresses a program and all its children give to the network, on two ways.

Python's own audit hook sees what Python code does, everywhere and as any user. strace sees native
code too, where it is installed and may trace.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

LIMIT_S = 1800.0
"""Tracing is slow, and much slower on a busy machine."""
AUDITED = Path(__file__).with_name("audited").resolve()

_CALLS = "connect,bind,sendto,sendmsg,sendmmsg"
_CALL = re.compile(r"^\d+ +(\w+)\((\d+), ")
_FAMILY = re.compile(r"sa_family=AF_(\w+)")
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
_HOST = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
_UNIX = re.compile(r'sun_path=(@?"(?:[^"\\]|\\.)*")')


@dataclass(frozen=True)
class Contact:
    """An address that was given to the network."""

    call: str
    """connect, bind, sendto and so on; getaddrinfo and the like ask for a name."""
    family: str
    """UNIX, INET, INET6, or what the system calls it; NAME = a name to look up."""
    host: str
    """An IP address, the path of a unix socket, or a name."""
    port: int = 0


def can_trace() -> bool:
    """Say whether strace is there and the system lets it trace."""
    strace = shutil.which("strace")
    if strace is None:
        return False
    tried = subprocess.run(
        [strace, "-o", "/dev/null", "true"], capture_output=True, timeout=LIMIT_S, check=False
    )
    return tried.returncode == 0


@dataclass(frozen=True)
class Seen:
    """What a program did."""

    exit_code: int
    output: str
    """stdout and stderr."""
    by_python: tuple[Contact, ...]
    by_any_code: tuple[Contact, ...]
    """Empty without strace."""


def watch(
    command: Sequence[str], env: Mapping[str, str], folder: Path, *, with_strace: bool
) -> Seen:
    """Run a program to its end, with all that it starts.

    Args:
        command: The program.
        env: Its environment.
        folder: Where what was seen is written.
        with_strace: Also trace system calls; what runs on in the background is waited for.
    """
    audit_file, trace_file = folder / "audit.jsonl", folder / "strace.txt"
    tracing = (
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-s",
        "256",
        "-e",
        f"trace={_CALLS}",
        "-o",
        str(trace_file),
    )
    done = subprocess.run(
        [*(tracing if with_strace else ()), *command],
        env={
            **env,
            "LUCI_AUDIT_FILE": str(audit_file),
            "PYTHONPATH": f"{AUDITED}:{env.get('PYTHONPATH', '')}",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    audited = [_of_python(*json.loads(line)) for line in audit_file.read_text().splitlines()]
    traced = trace_file.read_text(errors="replace").splitlines() if with_strace else []
    return Seen(
        done.returncode,
        done.stdout,
        tuple(one for one in audited if one),
        tuple(one for line in traced if (one := _of_strace(line))),
    )


def _of_python(event: str, address: object) -> Contact | None:
    call = event.removeprefix("socket.")
    if address is None:
        return None
    if call.startswith("get"):
        return Contact(call, "NAME", str(address))
    if isinstance(address, list):
        host, port, *_ = [*cast("list[str | int]", address), 0]
        family = "INET6" if ":" in str(host) else "INET"
        return Contact(call, family, str(host), port if isinstance(port, int) else 0)
    return Contact(call, "UNIX", str(address))


def _of_strace(line: str) -> Contact | None:
    """Read one line; None = no address is given, as on a socket that is connected."""
    call, family = _CALL.match(line), _FAMILY.search(line)
    if call is None or family is None:
        return None
    if family[1] == "UNIX":
        path = _UNIX.search(line)
        return Contact(call[1], "UNIX", path[1].replace('"', "") if path else "")
    host, port = _HOST.search(line), _PORT.search(line)
    return Contact(
        call[1],
        family[1],
        (host[1] or host[2]) if host else "",
        int(port[1]) if port else 0,
    )
