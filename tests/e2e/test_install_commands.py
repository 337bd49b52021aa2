"""`luci install`, `downloads` and `uninstall` with a host, a hub and a validator of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from luci_tui.library.manifest import model_folder, read_manifest
from tests.e2e.conftest import Luci
from tests.support import raw_gguf
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.hosts import pid_of
from tests.support.hub_process import hub_process
from tests.support.terminal import TerminalProgram
from tests.support.waiting import until_here

pytestmark = [pytest.mark.native, pytest.mark.timeout(180), pytest.mark.usefixtures("hub")]

SLOW = "[downloads]\nreserve_bytes = 0\nlimit_bytes_per_s = 20000\n"

MISTAKES = (
    (("install", "no-such-model"), b"catalogue has no model"),
    (("install", "tier"), b"Say which tier"),
    (("install", "tier", "7"), b"Say which tier"),
    (("install", "core", "all"), b"goes alone"),
    (("install", "core"), b"Give --yes"),
    (("install", "a/b", "c/d", "--name", "x"), b"is one name for 2 models"),
    (("install", "hf:../..", "--yes"), b"names no repository"),
    (("install", "hf:org/repo/../../x.gguf"), b"names no file"),
    (("install", "hf:org/repo:F32", "--name", "../x"), b"name"),
    (("install", "hf:org/repo:F32", "--name", "builtin"), b"--name"),
    (("uninstall", "no-such-model", "--yes"), b"No model called"),
    (("uninstall", "../..", "--yes"), b"No model called"),
    (("uninstall", "any"), b"--yes"),
    (("downloads", "pause", "77"), b"There is no download 77"),
    (("downloads", "limit", "fast"), b"is no rate"),
    (("downloads", "forget", "77"), b"There is no download 77"),
    (("downloads", "forget", "ended", "1"), b"is no number of a download"),
)


@pytest.fixture
def home(luci_env: dict[str, str]) -> Path:
    made = Path(luci_env["LUCI_HOME"])
    (made / "config.toml").write_text("[downloads]\nreserve_bytes = 0\n")
    return made


@pytest.fixture
def hub(luci_env: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """Run a hub with a model that is sound and one that is not, and make it the one in use."""
    files = tmp_path / "hub"
    files.mkdir()
    write_arch_model(TinyArch.LLAMA, files / "tiny-F32.gguf")
    write_arch_model(TinyArch.LLAMA, files / "next-F16.gguf", seed=2)
    (files / "cut-Q8_0.gguf").write_bytes(raw_gguf.good_model().build()[:-5000])
    with hub_process(files) as url:
        luci_env |= {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "*"}
        yield url


def downloads(luci: Luci) -> list[dict[str, Any]]:
    listed: dict[str, Any] = json.loads(luci("downloads", "--json").stdout)
    return listed["downloads"]


def is_installed(home: Path, name: str) -> bool:
    return read_manifest(model_folder(home / "models", name)) is not None


def test_install_waits_until_the_model_is_there(luci: Luci, home: Path) -> None:
    done = luci("install", "hf:org/repo:F32", "--name", "tiny")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"tiny is installed (755 KiB in ")
    assert done.stderr == b""
    assert is_installed(home, "tiny")
    again = luci("install", "hf:org/repo:F32", "--name", "tiny", "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, [])
    gone = luci("uninstall", "tiny", "--yes")
    assert gone.stdout == b"tiny is removed; 755 KiB are free.\n"
    assert not is_installed(home, "tiny")


def test_install_that_fails_is_one_sentence_and_exit_code_2(luci: Luci) -> None:
    rejected = luci("install", "hf:org/repo:Q8_0")
    assert (rejected.returncode, rejected.stdout) == (2, b"")
    assert rejected.stderr.startswith(b"luci: cut-Q8_0 is not installed: cut-Q8_0.gguf: ")
    assert rejected.stderr.count(b"\n") == 1
    (failed,) = downloads(luci)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "rejected")
    cancelled = luci("downloads", "cancel", str(failed["id"]))
    assert cancelled.stdout == b"Download 1 (cut-Q8_0) is cancelled.\n"
    forgotten = luci("downloads", "forget", "ended")
    assert forgotten.stdout == b"Download 1 (cut-Q8_0) is forgotten.\n"
    assert downloads(luci) == []
    assert b"no download that has ended" in luci("downloads", "forget", "ended").stderr


def test_each_mistake_is_one_sentence(luci: Luci) -> None:
    # With one host for all of them, whose start takes longer than they do.
    for arguments, says in MISTAKES:
        done = luci(*arguments)
        assert (done.returncode, done.stdout) == (2, b""), arguments
        assert says in done.stderr
        assert done.stderr.count(b"\n") == 1


def test_download_in_the_background_is_steered_and_outlives_its_host(
    luci: Luci, home: Path
) -> None:
    (home / "config.toml").write_text(SLOW)
    begun = luci("install", "hf:org/repo:F32", "--name", "tiny", "--background")
    assert (begun.returncode, begun.stdout) == (0, b"1\n")
    assert luci("downloads", "pause").stdout == b"Download 1 (tiny) is paused.\n"
    assert luci("downloads", "resume", "1").stdout.startswith(b"Download 1 (tiny) is ")
    assert luci("downloads", "move", "1", "front").returncode == 0
    pid = pid_of(home)
    os.kill(pid, signal.SIGKILL)
    until_here(lambda: not psutil.pid_exists(pid))
    # Whatever starts the host next, the download goes on.
    assert luci("host", "start").returncode == 0
    assert b"download 1 (tiny)" in luci("host", "status").stdout
    assert luci("downloads", "limit", "none").stdout == b"Downloads have no limit.\n"
    until_here(lambda: is_installed(home, "tiny"))
    watched = luci("downloads", "list", "--watch")
    assert watched.returncode == 0
    assert watched.stdout.startswith(b"   1  done ")


def test_ctrl_c_asks_what_shall_become_of_the_download(
    luci: Luci, luci_env: dict[str, str], home: Path
) -> None:
    (home / "config.toml").write_text(SLOW)
    arguments = ("-m", "luci_tui", "install", "hf:org/repo:F32", "--name", "tiny")
    # One download and one host for all answers: an install that is asked for again attaches.
    for answer, state in (("\x03", "running"), ("k\n", "running"), ("p\n", "paused"), ("d\n", "")):
        with TerminalProgram(*arguments, env=luci_env) as program:
            program.wait_for("KiB/s")
            program.send("\x03")
            program.wait_for("[d]iscard? [k] ")
            program.send(answer)
            assert program.wait().exit_code == 130
        (one,) = downloads(luci)
        assert one["state"] == (state or "cancelled"), answer


def test_model_whose_files_go_while_it_is_in_memory_is_one_sentence_and_can_be_unloaded(
    luci: Luci, home: Path
) -> None:
    assert luci("install", "hf:org/repo:F32", "--name", "tiny").returncode == 0
    assert luci("load", "tiny").returncode == 0
    updated = luci("install", "hf:org/repo/next-F16.gguf", "--name", "tiny")
    assert updated.returncode == 0, updated.stderr
    folder = model_folder(home / "models", "tiny")
    # The version in memory stays until nobody has it open.
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 2
    shutil.rmtree(folder)
    assert b"tiny" in luci("ps").stdout
    gone = luci("embed", "tiny", "text")
    assert (gone.returncode, gone.stderr.count(b"\n")) == (2, 1)
    assert b'There is no model "tiny"' in gone.stderr
    assert luci("unload", "tiny").returncode == 0
    assert luci("install", "hf:org/repo:F32", "--name", "tiny").returncode == 0
    assert luci("load", "tiny").returncode == 0
