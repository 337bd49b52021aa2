"""A text in the person's own editor, while the screen makes room for it."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from luci_tui.config import editor_command
from luci_tui.errors import ConfigError

if TYPE_CHECKING:
    from textual.app import App

MAX_BYTES = 16 * 1024 * 1024
"""A longer text is no prompt."""


def edit_in_editor(app: App[int], text: str) -> str:
    """Let the person change a text; blocks the screen until the editor is closed.

    Raises:
        ConfigError: there is no editor, it failed, or what it wrote is no text.
    """
    command = editor_command()
    if not command:
        msg = "There is no editor here. Set EDITOR, e.g. to nano."
        raise ConfigError(msg)
    file = _file_with(text)
    try:
        try:
            with app.suspend(), _interrupts_for_the_editor():
                # No limit of time: a person writes as long as it takes.
                code = subprocess.run([*command, str(file)], check=False).returncode
        except SuspendNotSupported as error:
            msg = "No editor can be opened in a browser. Write the prompt here."
            raise ConfigError(msg) from error
        except OSError as error:
            msg = f"The editor {command[0]!r} cannot be started ({error.strerror}). Set EDITOR."
            raise ConfigError(msg) from error
        if code != 0:
            msg = f"The editor {command[0]!r} ended with exit code {code}. The prompt is as it was."
            raise ConfigError(msg)
        return _read(file)
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def _interrupts_for_the_editor() -> Generator[None]:
    """Let Ctrl-C reach the editor alone; a handler, unlike SIG_IGN, is not handed on to it."""
    old = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, old)


def _file_with(text: str) -> Path:
    try:
        descriptor, name = tempfile.mkstemp(prefix="luci-prompt-", suffix=".md")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as error:
        msg = f"No file for the editor can be made ({error.strerror}). Check the disk."
        raise ConfigError(msg) from error
    return Path(name)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        msg = f"What the editor wrote cannot be read ({error.strerror}). The prompt is as it was."
        raise ConfigError(msg) from error
    if len(data) > MAX_BYTES:
        msg = f"What the editor wrote is longer than {MAX_BYTES} bytes. The prompt is as it was."
        raise ConfigError(msg)
    return data.decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n")
