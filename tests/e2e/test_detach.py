import re
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from luci_tui.host.api.messages import JobState
from luci_tui.host.chat_client import HostChats
from luci_tui.host.lifecycle import Launcher
from tests.support.hosts import running_host
from tests.support.paced_host import HOLD
from tests.support.paced_job import HOLD_JOBS
from tests.support.terminal import TerminalProgram
from tests.support.wide_models import write_wide_model

PACED = Launcher(
    command=(sys.executable, "-m", "tests.support.paced_host"), arguments=("--idle-exit-s", "60")
)
LUCI = ("-m", "luci_tui")
SCREEN = (*LUCI, "--model", "any.gguf")
WORDS = [f"w{number}" for number in range(1, 101)]
JOB = "1"

BOTH = """
import os, subprocess, sys
middle = sys.argv.index("--")
subprocess.run([sys.executable, *sys.argv[1:middle]], check=True)
os.execv(sys.executable, [sys.executable, *sys.argv[middle + 1:]])
"""
"""Runs `python FIRST -- SECOND` one after the other on the same terminal, as a shell does."""


def words_in(text: str) -> list[str]:
    return re.findall(r"\bw\d+\b", text)


@pytest.mark.native
async def test_stream_and_job_go_on_without_their_terminals_and_nothing_is_lost(
    luci_env: dict[str, str], tmp_path: Path
) -> None:
    home = Path(luci_env["LUCI_HOME"])
    hold, hold_jobs = home / HOLD, home / HOLD_JOBS
    source, target = write_wide_model(tmp_path / "wide-F16.gguf"), tmp_path / "wide-Q4_K_M.gguf"
    quantize = ("quantize", str(source), str(target), "--type", "Q4_K_M", "--background")
    hold_jobs.touch()
    async with running_host(home, PACED) as client:
        chats = HostChats(client)
        with ExitStack() as terminals:
            screen = terminals.enter_context(
                TerminalProgram("-c", BOTH, *LUCI, *quantize, "--", *SCREEN, env=luci_env)
            )
            screen.wait_for(f"Job {JOB} runs")
            watching = terminals.enter_context(
                TerminalProgram(*LUCI, "jobs", "attach", JOB, env=luci_env)
            )
            watching.wait_for("tensors")
            screen.wait_for("ready")
            screen.send(" ".join(WORDS) + "\r")
            screen.wait_for("answering")
            hold.touch()
            for terminal in (screen, watching):
                terminal.hang_up()
            assert screen.wait().exit_code == 128 + signal.SIGHUP
            assert watching.wait().exit_code == -signal.SIGHUP
        (row,) = await chats.list(limit=9, archived=False)
        assert await chats.running_turn(row.session.id)
        assert (await client.job(JOB)).state is JobState.RUNNING
        assert not target.exists()
        with (
            TerminalProgram(*LUCI, "jobs", "attach", JOB, env=luci_env) as watching,
            TerminalProgram(*SCREEN, env=luci_env) as screen,
        ):
            watching.wait_for("tensors")
            screen.wait_for("answering")
            hold_jobs.unlink()
            watching.wait_for(f"Job {JOB} is done")
            assert watching.wait().exit_code == 0
            hold.unlink()
            screen.wait_for("TTFT")
            n_before = len(screen.output)
            screen.resize(100, 24)
            screen.wait_until(lambda: words_in(screen.text_since(n_before))[-100:] == WORDS)
            screen.send("\x11")
            assert screen.wait().exit_code == 0
        assert f"luci --resume {row.session.id}".encode() in screen.output
        _, reply = await chats.messages(row.session.id)
    assert reply.text.split() == WORDS
    assert reply.state == "complete"
    assert target.is_file()


async def test_escape_ends_the_answer_in_the_host(luci_env: dict[str, str]) -> None:
    hold = Path(luci_env["LUCI_HOME"]) / HOLD
    async with running_host(hold.parent, PACED) as client:
        with TerminalProgram(*SCREEN, env=luci_env) as screen:
            screen.wait_for("ready")
            screen.send(" ".join(WORDS) + "\r")
            screen.wait_for("answering")
            hold.touch()
            screen.send("\x1b")
            screen.wait_for("stopped by you")
        chats = HostChats(client)
        (row,) = await chats.list(limit=9, archived=False)
        assert not await chats.running_turn(row.session.id)
        _, reply = await chats.messages(row.session.id)
    assert reply.state == "cancelled"
    spoken = reply.text.split()
    assert 0 < len(spoken) < len(WORDS)
    assert spoken == WORDS[: len(spoken)]
