"""The prompt on a real terminal: a long paste, an editor, and a history that lasts."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

from tests.support.terminal import TerminalProgram

SCREEN = ("-m", "luci_tui", "--engine", "echo", "--model", "any.gguf")
MEGABYTE = "log line 0123456789\r" * 52_428
EDITOR = """#!/bin/sh
test -t 0 || exit 3
test -t 1 || exit 4
printf "%s, from the editor\\n" "$(cat "$1")" > "$1"
"""


def paste(screen: TerminalProgram, text: str) -> threading.Thread:
    """Paste as a terminal does, piece by piece, while the screen is read."""
    data = f"\x1b[200~{text}\x1b[201~"

    def send() -> None:
        for start in range(0, len(data), 2048):
            screen.send(data[start : start + 2048])

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def test_long_paste_editor_and_history_on_a_terminal(
    luci_env: dict[str, str], tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text(EDITOR)
    editor.chmod(0o755)
    env = {**luci_env, "VISUAL": str(editor)}
    history = Path(env["LUCI_HOME"]) / "history.jsonl"
    with TerminalProgram(*SCREEN, env=env) as screen:
        screen.wait_for("ready")
        pasting = paste(screen, MEGABYTE)
        screen.wait_for(f"[pasted {len(MEGABYTE):,} characters]")
        pasting.join(timeout=10)
        screen.send("\x15hello")
        screen.wait_for("hello")
        screen.send("\x07")
        screen.wait_for("hello, from the editor")
        screen.send("\r")
        screen.wait_for("> hello, from the editor")
        screen.wait_until(history.exists)
        screen.send("\x11")
        assert screen.wait().exit_code == 0
    assert json.loads(history.read_text().splitlines()[-1]) == "hello, from the editor"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    with TerminalProgram(*SCREEN, env=env) as screen:
        screen.wait_for("ready")
        screen.send("\x1b[A")
        screen.wait_for("hello, from the editor")
        os.kill(screen.pid, 15)
