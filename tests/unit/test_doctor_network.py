from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from luci_tui.host import run_files
from luci_tui.host.doctor_network import examine_network
from luci_tui.host.findings import Finding, Level
from luci_tui.version import HOST_PROTOCOL, VERSION


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    return tmp_path


def finding(name: str) -> Finding:
    return next(one for one in examine_network() if one.name == name)


def pretend_to_be_host(home: Path) -> None:
    files = run_files.run_files(home)
    run_files.prepare_folders(files)
    run_files.write_info(
        files,
        run_files.HostInfo(os.getpid(), VERSION, HOST_PROTOCOL, time.time(), str(files.socket)),
    )


@pytest.mark.parametrize(
    ("content", "mode", "level", "said"),
    [
        (None, 0, Level.OK, "none yet"),
        ("a-key-of-enough-characters\n", 0o600, Level.OK, "1 key in"),
        ("a-key-of-enough-characters\nand-another-such-key\n", 0o600, Level.OK, "2 keys in"),
        ("a-key-of-enough-characters\n", 0o644, Level.PROBLEM, "mode 0644"),
        ("a-key-of-enough-characters\nshort\n", 0o600, Level.PROBLEM, "key 2 has fewer"),
        ("\n", 0o600, Level.PROBLEM, "no key"),
    ],
)
def test_key_then_its_state_is_told(
    home: Path, content: str | None, mode: int, level: Level, said: str
) -> None:
    if content is not None:
        (home / "api_key").write_text(content)
        (home / "api_key").chmod(mode)
    found = finding("API key")
    assert (found.level, said in found.text) == (level, True), found.text
    assert content is None or content.split("\n")[0] not in found.text or not content.strip()


def test_key_that_is_a_link_then_it_is_a_problem(home: Path) -> None:
    (home / "api_key").symlink_to("/etc/hostname")
    assert finding("API key").level is Level.PROBLEM


@pytest.mark.parametrize(
    ("address", "level", "said"),
    [
        ("127.0.0.1", Level.OK, "which only this machine reaches"),
        ("0.0.0.0", Level.WARNING, "which other machines reach, without TLS"),
    ],
)
def test_listening_then_the_address_and_who_reaches_it_are_told(
    home: Path, address: str, level: Level, said: str
) -> None:
    pretend_to_be_host(home)
    with socket.create_server((address, 0)) as listener:
        found = finding("listening")
        assert f"{address}:{listener.getsockname()[1]}" in found.text
    assert (found.level, said in found.text) == (level, True), found.text


def test_listening_of_no_host_then_it_is_nothing(home: Path) -> None:
    assert not list(home.iterdir())
    assert finding("listening").text == "Nothing: no host runs."
