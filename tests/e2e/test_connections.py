"""No connection that was not asked for: the whole program is watched, with a proxy in its way."""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from luci_tui.host.run_files import run_files
from tests.support.connections import LIMIT_S, Contact, can_trace, watch
from tests.support.wide_models import write_wide_model

CAN_TRACE = can_trace()
"""Native code is watched too. Without strace only Python is, and the test's name says so."""
LOOPBACK = {"127.0.0.1", "::1"}
LOCAL_SERVICES = {"/var/run/nscd/socket", "/run/nscd/socket", "/run/systemd/userdb"}
"""Of the C library: it asks a local cache for names of users."""
KERNEL = {"NETLINK"}
"""Questions to the kernel itself, such as which addresses the machine has."""
PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
FOREIGN = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect(("192.0.2.1", 53))
sock.close()
"""
"""Sends nothing: a datagram socket is connected by noting the address. Source: RFC 5737."""


@contextmanager
def listening_proxy() -> Iterator[tuple[socket.socket, str]]:
    """Give a socket on which connections would wait, and its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


def is_waiting(listener: socket.socket) -> bool:
    return bool(select.select([listener], [], [], 0)[0])


def not_asked_for(contacts: tuple[Contact, ...], home: Path, ports: set[int]) -> list[Contact]:
    """Leave out what luci may do: its own unix socket, and loopback where it was told to serve."""
    own = {str(run_files(home).socket), *LOCAL_SERVICES}

    def is_fine(one: Contact) -> bool:
        match one.family:
            case "UNIX":
                return one.host in own
            case "INET" | "INET6":
                # A server on port 0 is told its port afterwards.
                is_bind = one.call == "bind" and one.port == 0
                return one.host in LOOPBACK and (is_bind or one.port in ports)
            case "NAME":
                return one.host in LOOPBACK
            case family:
                return family in KERNEL

    return [one for one in contacts if not is_fine(one)]


@pytest.mark.native
@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.parametrize(
    "stages", [(), pytest.param(("commands", "screen"), marks=pytest.mark.slow)], ids=["api", "all"]
)
@pytest.mark.parametrize("watchers", ["strace and Python" if CAN_TRACE else "Python alone"])
def test_program_then_it_connects_to_nothing_but_itself(
    tmp_path: Path, watchers: str, stages: tuple[str, ...]
) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    work.mkdir()
    write_wide_model(work / "wide-F16.gguf")
    hidden = {"NO_COLOR", "SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "no_proxy", "NO_PROXY"}
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env |= {"LUCI_HOME": str(home), "HOME": str(tmp_path), "TMPDIR": str(work)}
    env["PYTHONPATH"] = str(Path.cwd())
    command = (sys.executable, "-m", "tests.support.whole_program", str(work), *stages)
    with listening_proxy() as (listener, url):
        env |= dict.fromkeys(PROXY_NAMES, url)
        seen = watch(command, env, tmp_path, with_strace=watchers != "Python alone")
        assert seen.exit_code == 0, seen.output
        assert not is_waiting(listener)
    ports = {int(seen.output.split()[-1])}
    assert not_asked_for(seen.by_python, home, ports) == []
    assert not_asked_for(seen.by_any_code, home, ports) == []
    # What may happen did: the host was found by its socket, and the port was served and used.
    for contacts in (seen.by_python, *([seen.by_any_code] if CAN_TRACE else [])):
        done = {(one.call, one.family) for one in contacts}
        assert {("connect", "UNIX"), ("bind", "UNIX"), ("connect", "INET")} <= done


@pytest.mark.parametrize("with_strace", [False, *([True] if CAN_TRACE else [])])
def test_watch_given_a_foreign_address_then_it_is_seen(
    tmp_path: Path, *, with_strace: bool
) -> None:
    seen = watch(
        (sys.executable, "-c", FOREIGN), dict(os.environ), tmp_path, with_strace=with_strace
    )
    contacts = seen.by_any_code if with_strace else seen.by_python
    foreign = Contact("connect", "INET", "192.0.2.1", 53)
    assert not_asked_for(contacts, tmp_path, {8080}) == [foreign]


def test_proxy_given_a_request_then_it_is_noticed() -> None:
    with listening_proxy() as (listener, url):
        assert not is_waiting(listener)
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
            assert is_waiting(listener)
