"""The screen on terminals that are small, odd, or of few words."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from luci_tui.host.lifecycle import Launcher
from luci_tui.tui.attention import LONG_S
from tests.support.hosts import running_host
from tests.support.losing_screen import Harm
from tests.support.paced_host import HOLD, WORD_FILE
from tests.support.terminal import TerminalProgram

pytestmark = pytest.mark.terminal

SCREEN = ("-m", "luci_tui", "--engine", "echo", "--model", "any.gguf")
PACED = Launcher(
    command=(sys.executable, "-m", "tests.support.paced_host"), arguments=("--idle-exit-s", "60")
)
QUIT = "\x11"
COPY = "\x0f"
FOCUS_OUT, FOCUS_IN = "\x1b[O", "\x1b[I"
TRUE_COLOUR = re.compile(rb"[34]8;2;\d+;\d+;\d+")
ANY_COLOUR = re.compile(rb"\x1b\[(?:[\d;]*;)?(?:[34][0-7]|9[0-7]|10[0-7]|[34]8;[25];[\d;]+)[;m]")
KIB = 1024


def answer_and_quit(screen: TerminalProgram, text: str = "say this back") -> None:
    """See one answer, and the terminal as it was afterwards."""
    screen.wait_for("ready")
    screen.send(f"{text}\r")
    screen.wait_for("TTFT")
    screen.send(QUIT)
    assert screen.wait().exit_code == 0
    assert b"\x1b[?1049l" in screen.output
    assert b"Traceback" not in screen.output


@pytest.mark.parametrize("term", ["no-such-terminal", "dumb", ""])
def test_terminal_that_nobody_knows_gets_a_screen_and_only_a_known_one_a_title(
    luci_env: dict[str, str], term: str
) -> None:
    with TerminalProgram(*SCREEN, env=luci_env, term=term) as screen:
        answer_and_quit(screen)
    assert (b"\x1b]2;" in screen.output) == (term == "no-such-terminal")


def test_terminal_of_20_by_5_answers_and_is_left(luci_env: dict[str, str]) -> None:
    with TerminalProgram(*SCREEN, env=luci_env, size=(20, 5)) as screen:
        screen.wait_for("ready")
        screen.send("abc\r")
        screen.wait_for("TTFT")
        n_before = len(screen.output)
        screen.resize(80, 24)
        # Which message is drawn first is not said.
        for text in ("> abc", "TTFT"):
            screen.wait_until(lambda text=text: text in screen.text_since(n_before))
        screen.send(QUIT)
        assert screen.wait().exit_code == 0
    assert b"Traceback" not in screen.output


def n_runs(words: list[str], text: str) -> int:
    """Count how often the words stand in a text, one after the other."""
    found = re.findall(r"\bw\d+\b", text)
    return sum(found[place : place + len(words)] == words for place in range(len(found)))


def test_storm_of_sizes_in_an_answer_ends_with_the_whole_answer(luci_env: dict[str, str]) -> None:
    sizes = random.Random(7)
    words = [f"w{number}" for number in range(60)]
    with TerminalProgram(*SCREEN, env=luci_env) as screen:
        screen.wait_for("ready")
        screen.send(" ".join(words) + "\r")
        for _ in range(150):
            screen.resize(sizes.randint(1, 200), sizes.randint(1, 60))
            screen.read_for(0.01)
        screen.wait_until(lambda: b"TTFT" in screen.output)
        n_before = len(screen.output)
        screen.resize(90, 30)
        # Prompt and answer, both whole.
        screen.wait_until(lambda: n_runs(words, screen.text_since(n_before)) >= 2)
        screen.send(QUIT)
        assert screen.wait().exit_code == 0
    assert b"Traceback" not in screen.output


def test_storm_of_sizes_over_the_models_then_the_screen_comes_to_rest(
    luci_env: dict[str, str],
) -> None:
    sizes = random.Random(7)
    with TerminalProgram(*SCREEN, env=luci_env) as screen:
        screen.wait_for("ready")
        screen.send("\x1b2")
        screen.wait_for("of memory free")
        for _ in range(40):
            screen.resize(sizes.randint(20, 200), sizes.randint(20, 60))
            screen.read_for(0.01)
        screen.wait_until(lambda: screen.read_for(0.5) == 0)
        screen.send(QUIT)
        assert screen.wait().exit_code == 0


def test_locale_without_letters_and_bytes_that_are_no_utf8_end_nothing(
    luci_env: dict[str, str],
) -> None:
    names = {name for name in luci_env if name.startswith("LC_") or name == "LANG"}
    plain = {name: value for name, value in luci_env.items() if name not in names}
    odd = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    with TerminalProgram(*SCREEN, env={**plain, **odd}) as screen:
        screen.wait_for("ready")
        screen.send(b"caf\xe9 ")
        screen.wait_for("caf�")
        answer_and_quit(screen, "für €")
        assert "für €" in screen.text_since(0)


def test_copy_goes_to_the_terminal_and_to_the_file(luci_env: dict[str, str]) -> None:
    home = Path(luci_env["LUCI_HOME"])
    with TerminalProgram(*SCREEN, env={**luci_env, "TMUX": "/tmp/x,1,0"}) as screen:
        screen.wait_for("ready")
        screen.send("hello\r")
        screen.wait_for("TTFT")
        screen.send(COPY)
        screen.wait_for("\x1bPtmux;\x1b\x1b]52;c;aGVsbG8=\a\x1b\\\x1b]52;c;aGVsbG8=\a")
        screen.wait_for("Copied 5 characters")
        screen.send(QUIT)
        assert screen.wait().exit_code == 0
    assert (home / "clipboard.txt").read_text() == "hello"


def test_title_says_what_is_done_and_is_given_back(luci_env: dict[str, str]) -> None:
    with TerminalProgram(*SCREEN, env=luci_env) as screen:
        answer_and_quit(screen)
    titles = re.findall(rb"\x1b\]2;([^\a]*)\a", screen.output)
    assert [one.decode() for one in titles] == ["luci", "luci · at work", "luci"]
    assert screen.output.index(b"\x1b[22;0t") < screen.output.index(b"\x1b[23;0t")


@pytest.mark.slow
async def test_long_answer_without_the_focus_rings_and_is_counted_until_somebody_looks(
    luci_env: dict[str, str],
) -> None:
    home = Path(luci_env["LUCI_HOME"])
    async with running_host(home, PACED):
        with TerminalProgram("-m", "luci_tui", "--model", "any.gguf", env=luci_env) as screen:
            screen.wait_for("ready")
            screen.send("word " * 50 + "\r")
            screen.wait_for("answering")
            (home / HOLD).touch()
            screen.send(FOCUS_OUT)
            screen.read_for(LONG_S)
            (home / HOLD).unlink()
            screen.wait_for("\x1b]2;(1 ended) luci\a\a")
            screen.send(FOCUS_IN)
            screen.wait_until(lambda: screen.output.rpartition(b"\x1b]2;")[2].startswith(b"luci\a"))
            screen.send(QUIT)
            assert screen.wait().exit_code == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[screen]\ntheme = 'nord'\nlow_bandwidth = maybe\n", "line 3"),
        (b"\xff\xfe\x00", "cannot be read as text"),
        (None, "cannot be read"),
    ],
)
def test_settings_that_cannot_be_read_then_the_screen_starts_and_says_where(
    luci_env: dict[str, str], content: bytes | None, said: str
) -> None:
    path = Path(luci_env["LUCI_HOME"]) / "config.toml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with TerminalProgram(*SCREEN, env=luci_env) as screen:
        screen.wait_for("ready")
        screen.wait_until(lambda: said in screen.text_since(0))
        screen.send(QUIT)
        assert screen.wait().exit_code == 0


def test_no_color_then_nothing_has_a_colour(luci_env: dict[str, str]) -> None:
    env = {**luci_env, "NO_COLOR": "1", "COLORTERM": "truecolor"}
    with TerminalProgram(*SCREEN, env=env) as screen:
        answer_and_quit(screen)
    assert ANY_COLOUR.findall(screen.output) == []


def test_theme_of_the_terminals_own_colours_names_no_others(luci_env: dict[str, str]) -> None:
    env = {**luci_env, "LUCI_SCREEN_THEME": "ansi-dark", "COLORTERM": "truecolor"}
    with TerminalProgram(*SCREEN, env=env) as screen:
        answer_and_quit(screen)
    assert TRUE_COLOUR.findall(screen.output) == []
    assert ANY_COLOUR.search(screen.output)


async def test_few_bytes_over_ssh_while_an_answer_streams_and_next_to_none_when_idle(
    luci_env: dict[str, str],
) -> None:
    home = Path(luci_env["LUCI_HOME"])
    (home / WORD_FILE).write_text("0.02")
    words = " ".join(f"word{number}" for number in range(150))
    env = {**luci_env, "SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22", "COLORTERM": "truecolor"}
    async with running_host(home, PACED):
        with TerminalProgram("-m", "luci_tui", "--model", "any.gguf", env=env) as screen:
            screen.wait_for("ready")
            screen.send(words + "\r")
            screen.wait_for("answering")
            n_before, began_s = len(screen.output), time.monotonic()
            screen.wait_for("TTFT")
            n_bytes, took_s = len(screen.output) - n_before, time.monotonic() - began_s
            screen.read_for(1.0)
            n_idle = screen.read_for(2.0)
            screen.send(QUIT)
            assert screen.wait().exit_code == 0
    print(f"{n_bytes / took_s / KIB:.1f} KiB/s streaming for {took_s:.1f} s, {n_idle} bytes idle")
    assert took_s > 2.5
    assert n_bytes / took_s <= 65 * KIB
    assert n_idle <= 0.1 * KIB * 2.0


def test_inline_chat_draws_no_full_screen(luci_env: dict[str, str]) -> None:
    arguments = ("-m", "luci_tui", "--engine", "echo", "chat", "--inline", "--model", "any.gguf")
    with TerminalProgram(*arguments, env=luci_env) as chat:
        chat.wait_until(lambda: "> " in chat.text_since(0))
        chat.send("say this back\r")
        chat.wait_for("TTFT")
        chat.send("\x04")
        assert chat.wait().exit_code == 0
    assert b"\x1b[?1049h" not in chat.output


def test_hangup_before_the_screen_stands_ends_it(luci_env: dict[str, str]) -> None:
    with TerminalProgram(*SCREEN, env=luci_env) as screen:
        screen.wait_for("\x1b[?1049h")
        screen.hang_up()
        ended = screen.wait()
    assert ended.exit_code == 128 + signal.SIGHUP
    assert ended.waited_s < 5


def test_end_before_the_screen_stands_is_in_order(luci_env: dict[str, str]) -> None:
    with TerminalProgram(*SCREEN, env=luci_env) as screen:
        screen.wait_for("\x1b[?1049h")
        os.kill(screen.pid, signal.SIGTERM)
        assert screen.wait().exit_code == 128 + signal.SIGTERM
    assert b"\x1b[?1049l" in screen.output
    assert b"Traceback" not in screen.output


@pytest.mark.parametrize("harm", Harm)
def test_hangup_wins_over_what_breaks_because_of_it(luci_env: dict[str, str], harm: Harm) -> None:
    arguments = ("-m", "tests.support.losing_screen", harm, "any.gguf")
    with TerminalProgram(*arguments, env=luci_env) as screen:
        screen.wait_for("\x1b[?1049h")
        screen.hang_up()
        ended = screen.wait()
    assert ended.exit_code == 128 + signal.SIGHUP
    assert ended.waited_s < 5
