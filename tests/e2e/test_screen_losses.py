"""The screen when something under it, or it itself, goes away: nothing is lost, and it is said."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
from pydantic import JsonValue

from luci_tui.download.records import ItemState
from luci_tui.host.api.download_messages import DownloadRecord
from luci_tui.host.client import HostClient
from luci_tui.host.download_client import HostDownloads
from luci_tui.host.lifecycle import Launcher
from luci_tui.library.own_settings import set_sampling
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.hosts import children_of, pid_of, running_host
from tests.support.hub import running_hub
from tests.support.paced_host import HOLD
from tests.support.terminal import TerminalProgram
from tests.support.tiny_vocab import CHATML_TEMPLATE
from tests.support.waiting import until

pytestmark = pytest.mark.terminal

PACED = Launcher(
    command=(sys.executable, "-m", "tests.support.paced_host"), arguments=("--idle-exit-s", "60")
)
SCREEN = ("-m", "luci_tui", "--model", "any.gguf")
QUIT = "\x11"
RELOAD = "\x12"
ESCAPE = "\x1b"
SLOW_BYTES_PER_S = 4096


async def download_ends(client: HostClient) -> ItemState:
    """Wait until the only download has ended, and say how."""

    async def has_ended() -> bool:
        return (await only_download(client)).ended_at is not None

    await until(has_ended)
    return (await only_download(client)).state


async def only_download(client: HostClient) -> DownloadRecord:
    (one,) = (await HostDownloads(client).list()).downloads
    return one


async def test_screen_that_loses_its_terminal_in_a_download_then_the_next_one_tells_its_end(
    luci_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(luci_env["LUCI_HOME"])
    content = write_arch_model(TinyArch.LLAMA, tmp_path / "far.gguf").read_bytes()
    async with running_hub() as hub:
        hub.add_repo("org/far", {"far.gguf": content})
        for name, value in {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}.items():
            monkeypatch.setenv(name, value)
        async with running_host(home, PACED) as client:
            downloads = HostDownloads(client)
            await downloads.set_limit(SLOW_BYTES_PER_S)
            await downloads.add(await downloads.plan("hf:org/far/far.gguf"))
            await asyncio.to_thread(hang_up_in_a_download, luci_env)
            assert (await only_download(client)).state is ItemState.RUNNING
            await downloads.set_limit(0)
            assert await download_ends(client) is ItemState.DONE
            await asyncio.to_thread(come_back, luci_env)
    installed = next((home / "models").rglob("far*.gguf"))
    assert installed.read_bytes() == content


def hang_up_in_a_download(env: dict[str, str]) -> None:
    with TerminalProgram(*SCREEN, env=env) as screen:
        screen.wait_for("ready")
        screen.send("\x1b3")
        screen.wait_until(lambda: "running" in screen.text_since(0))
        screen.hang_up()
        ended = screen.wait()
    assert ended.exit_code == 128 + signal.SIGHUP
    assert ended.waited_s < 5


def come_back(env: dict[str, str]) -> None:
    with TerminalProgram(*SCREEN, env=env) as screen:
        screen.wait_for("While you were away")
        screen.wait_until(lambda: "download far: done" in screen.text_since(0))
        screen.send(QUIT)
        assert screen.wait().exit_code == 0


async def test_answer_that_ended_without_a_screen_is_told_with_the_way_back_to_it(
    luci_env: dict[str, str],
) -> None:
    home = Path(luci_env["LUCI_HOME"])
    async with running_host(home, PACED) as client:
        await asyncio.to_thread(hang_up_in_an_answer, luci_env, home / HOLD)
        (home / HOLD).unlink()
        await until(partial(has_no_turn, client))
        await asyncio.to_thread(come_back_to_the_answer, luci_env)


async def has_no_turn(client: HostClient) -> bool:
    return not (await client.status()).turns


def hang_up_in_an_answer(env: dict[str, str], hold: Path) -> None:
    with TerminalProgram(*SCREEN, env=env) as screen:
        screen.wait_for("ready")
        screen.send("word " * 50 + "\r")
        screen.wait_for("answering")
        hold.touch()
        screen.hang_up()
        assert screen.wait().exit_code == 128 + signal.SIGHUP


def come_back_to_the_answer(env: dict[str, str]) -> None:
    with TerminalProgram(*SCREEN, env=env) as screen:
        screen.wait_for("1 answer.")
        screen.wait_until(lambda: ": complete; luci" in screen.text_since(0))
        screen.send(QUIT)
        assert screen.wait().exit_code == 0


async def test_quitting_in_an_answer_and_a_download_says_what_goes_on(
    luci_env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(luci_env["LUCI_HOME"])
    content = write_arch_model(TinyArch.LLAMA, tmp_path / "far.gguf").read_bytes()
    async with running_hub() as hub:
        hub.add_repo("org/far", {"far.gguf": content})
        for name, value in {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}.items():
            monkeypatch.setenv(name, value)
        async with running_host(home, PACED) as client:
            downloads = HostDownloads(client)
            await downloads.set_limit(SLOW_BYTES_PER_S)
            await downloads.add(await downloads.plan("hf:org/far/far.gguf"))
            said = await asyncio.to_thread(quit_in_an_answer, luci_env, home / HOLD)
            (home / HOLD).unlink()
    assert "1 download goes on in the host." in said
    assert "The answer goes on in the host." in said
    assert "`luci --resume " in said


def quit_in_an_answer(env: dict[str, str], hold: Path) -> str:
    with TerminalProgram(*SCREEN, env=env) as screen:
        screen.wait_for("ready")
        screen.send("word " * 50 + "\r")
        screen.wait_for("answering")
        hold.touch()
        screen.send(QUIT)
        assert screen.wait().exit_code == 0
    return screen.output.rpartition(b"\x1b[?1049l")[2].decode()


@pytest.mark.native
async def test_worker_and_then_host_killed_in_an_answer_then_one_key_goes_on(
    luci_env: dict[str, str],
) -> None:
    home = Path(luci_env["LUCI_HOME"])
    model = home / "models" / "talks.gguf"
    write_arch_model(
        TinyArch.LLAMA, model, chat_template=CHATML_TEMPLATE, n_layers=48, n_ctx_train=8192
    )
    # The weights are random: left alone, the model may say nothing that is seen, or end at once.
    letters: dict[str, JsonValue] = {"grammar": "root ::= [a-z]*", "ignore_eos": True}
    set_sampling("talks", letters, home / "library.toml")
    async with running_host(home, Launcher(arguments=("--idle-exit-s", "60"))):
        await asyncio.to_thread(lose_worker_and_host, luci_env, home)


def lose_worker_and_host(env: dict[str, str], home: Path) -> None:
    # The model talks until its context is full; with so many layers that takes longer than a test
    # needs for a kill.
    with TerminalProgram("-m", "luci_tui", "--model", "talks", env=env) as screen:
        screen.wait_for("ready")
        host = pid_of(home)
        (worker,) = children_of(host)
        lose_in_an_answer(screen, worker.pid, "the answer broke off here")
        screen.wait_until(lambda: "no model ·" in screen.text_since(0))
        n_before = len(screen.output)
        screen.send(RELOAD)
        screen.wait_until(lambda: "ready ·" in screen.text_since(n_before))
        n_before = len(screen.output)
        # It is looked for, and another one is started.
        lose_in_an_answer(screen, host, "the host ended while this was said")
        screen.wait_until(lambda: "ready ·" in screen.text_since(n_before))
        assert pid_of(home) != host
        begin_an_answer(screen)
        screen.send(ESCAPE)
        screen.wait_for("stopped by you")
        screen.send(QUIT)
        assert screen.wait().exit_code == 0
    assert b"Traceback" not in screen.output


def begin_an_answer(screen: TerminalProgram) -> None:
    n_before = len(screen.output)
    screen.send("hello\r")
    screen.wait_until(lambda: "answering ·" in screen.text_since(n_before))


def lose_in_an_answer(screen: TerminalProgram, pid: int, mark: str) -> None:
    """Kill a process in an answer, and see that what came of it stays."""
    begin_an_answer(screen)
    n_before = len(screen.output)
    os.kill(pid, signal.SIGKILL)
    screen.wait_until(lambda: mark in screen.text_since(n_before))
