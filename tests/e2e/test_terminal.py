import os
import signal

import pytest

from tests.support.terminal import TerminalProgram

ECHO = ("-m", "luci_tui", "--engine", "echo")


def test_model_text_on_a_terminal_has_no_control_characters(luci_env: dict[str, str]) -> None:
    arguments = (*ECHO, "run", "any.gguf", "--raw", "a\x1b]0;title\x07b \x1b[2Jc")
    with TerminalProgram(*arguments, env=luci_env) as program:
        program.wait_for("TTFT")
        assert program.wait().exit_code == 0
    assert b"ab c\r\n" in program.output
    assert b"\x1b" not in program.output
    assert b"\x07" not in program.output


def test_ctrl_c_ends_a_running_answer_with_130(luci_env: dict[str, str]) -> None:
    program = TerminalProgram(
        *ECHO, "run", "any.gguf", "word " * 20_000, "--n-ctx", "900000", env=luci_env
    )
    with program:
        program.wait_for("word word")
        os.kill(program.pid, signal.SIGINT)
        assert program.wait().exit_code == 130
    assert b"Traceback" not in program.output


def test_screen_answers_and_leaves_the_terminal_as_it_was(luci_env: dict[str, str]) -> None:
    with TerminalProgram(*ECHO, "--model", "any.gguf", env=luci_env) as screen:
        screen.wait_for("ready")
        screen.send("say this back\r")
        screen.wait_for("TTFT")
        screen.send("\x11")
        assert screen.wait().exit_code == 0
    assert b"\x1b[?1049l" in screen.output
    assert b"\x1b[?25h" in screen.output


@pytest.mark.parametrize("is_busy", [False, True])
def test_screen_whose_terminal_goes_away_leaves_at_once(
    luci_env: dict[str, str], is_busy: bool
) -> None:
    with TerminalProgram(*ECHO, "--model", "any.gguf", env=luci_env) as screen:
        screen.wait_for("ready")
        if is_busy:
            screen.send("word " * 500 + "\r")
            screen.wait_for("TTFT")
        screen.hang_up()
        ended = screen.wait()
    assert ended.exit_code == 128 + signal.SIGHUP
    assert ended.waited_s < 5


def test_screen_that_is_terminated_gives_the_terminal_back(luci_env: dict[str, str]) -> None:
    with TerminalProgram(*ECHO, "--model", "any.gguf", env=luci_env) as screen:
        screen.wait_for("ready")
        os.kill(screen.pid, signal.SIGTERM)
        assert screen.wait().exit_code == 128 + signal.SIGTERM
    assert b"\x1b[?1049l" in screen.output
