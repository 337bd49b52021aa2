import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from luci_tui.host.chat_client import HostChats
from luci_tui.host.lifecycle import Launcher
from tests.support.hosts import running_host
from tests.support.paced_host import HOLD
from tests.support.terminal import TerminalProgram
from tests.support.wide_models import write_wide_model

Luci = Callable[..., subprocess.CompletedProcess[bytes]]
PACED = Launcher(
    command=(sys.executable, "-m", "tests.support.paced_host"), arguments=("--idle-exit-s", "60")
)
SCREEN = ("-m", "luci_tui", "--model", "any.gguf")
WORDS = [f"w{number}" for number in range(1, 101)]


async def test_stream_goes_on_without_its_terminal_and_no_word_is_lost(
    luci_env: dict[str, str],
) -> None:
    hold = Path(luci_env["LUCI_HOME"]) / HOLD
    async with running_host(hold.parent, PACED) as client:
        with TerminalProgram(*SCREEN, env=luci_env) as screen:
            screen.wait_for("ready")
            screen.send(" ".join(WORDS) + "\r")
            screen.wait_for("answering")
            hold.touch()
            screen.hang_up()
            screen.wait()
        chats = HostChats(client)
        (row,) = await chats.list(limit=9, archived=False)
        assert await chats.running_turn(row.session.id)
        with TerminalProgram(*SCREEN, env=luci_env) as screen:
            screen.wait_for("answering")
            hold.unlink()
            screen.wait_for("TTFT")
            screen.send("\x11")
            assert screen.wait().exit_code == 0
        assert f"luci --resume {row.session.id}".encode() in screen.output
        _, reply = await chats.messages(row.session.id)
    assert reply.text.split() == WORDS
    assert reply.state == "complete"


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


def test_job_goes_on_without_its_terminal(
    luci: Luci, luci_env: dict[str, str], tmp_path: Path
) -> None:
    source, target = tmp_path / "wide-F16.gguf", tmp_path / "wide-Q4_K_M.gguf"
    write_wide_model(source)
    begun = luci("quantize", str(source), str(target), "--type", "Q4_K_M", "--background", "--json")
    job_id = json.loads(begun.stdout)["id"]
    with TerminalProgram("-m", "luci_tui", "jobs", "attach", job_id, env=luci_env) as watching:
        watching.hang_up()
        watching.wait()
    again = luci("jobs", "attach", job_id, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["state"] == "done"
    assert target.is_file()
