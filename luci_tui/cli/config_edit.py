"""`luci config edit`: an editor on a copy of the settings, taken over if it is in order."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from enum import Enum
from pathlib import Path

from luci_tui.cli.output import narrate
from luci_tui.config import editor_command
from luci_tui.errors import ConfigError
from luci_tui.setting_sources import read_text
from luci_tui.settings import SETTINGS_FILE
from luci_tui.settings_file import check, replace_text
from luci_tui.settings_schema import beginning


class _Choice(Enum):
    AGAIN = "e"
    KEEP = "k"
    DROP = "d"


def edit_settings(home: Path) -> bool:
    """Let the person edit the file; False = what was written was not taken over.

    Raises:
        ConfigError: there is no editor, it failed, or the file cannot be read or written.
    """
    path = home / SETTINGS_FILE
    old = read_text(path)
    shown = old or beginning()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy = _copy(home, shown)
    is_kept = False
    try:
        while True:
            _run_editor(copy)
            new = read_text(copy)
            if new == shown:
                narrate("Nothing was changed.")
                return True
            if _is_in_order(home, new):
                if replace_text(home, old, new):
                    narrate(f"{path} is written.")
                    return True
                narrate(f"{path} was changed by somebody else meanwhile.")
                choice = _Choice.KEEP
            else:
                choice = _ask()
            if choice is not _Choice.AGAIN:
                is_kept = choice is _Choice.KEEP
                return False
    finally:
        # Also where the editor or the terminal is gone: nobody's work is thrown away by that.
        _put_away(copy, shown, is_kept=is_kept or sys.exc_info()[0] is not None)


def _copy(home: Path, text: str) -> Path:
    try:
        descriptor, name = tempfile.mkstemp(prefix="config-edit-", suffix=".toml", dir=home)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        msg = f"{home} cannot be written ({error.strerror}). Check its permissions and the disk."
        raise ConfigError(msg, code="settings") from error
    return Path(name)


def _run_editor(copy: Path) -> None:
    command = editor_command()
    if not command:
        msg = "There is no editor here. Set EDITOR, or use `luci config set`."
        raise ConfigError(msg, code="settings")
    try:
        # No limit of time: a person writes as long as it takes.
        code = subprocess.run([*command, str(copy)], check=False).returncode
    except OSError as error:
        msg = f"The editor {command[0]!r} cannot be started ({error.strerror}). Set EDITOR."
        raise ConfigError(msg, code="settings") from error
    if code != 0:
        msg = f"The editor {command[0]!r} ended with exit code {code}. Nothing was taken over."
        raise ConfigError(msg, code="settings")


def _is_in_order(home: Path, text: str) -> bool:
    mistakes = check(home, text).mistakes
    for mistake in mistakes:
        narrate(mistake.sentence.replace(str(home / SETTINGS_FILE), "What you wrote", 1))
    return not mistakes


def _ask() -> _Choice:
    """Ask what to do with a text that has mistakes; without a terminal it is kept."""
    if not sys.stdin.isatty():
        return _Choice.KEEP
    while True:
        narrate("(e)dit again, (k)eep it beside the file, (d)rop it?")
        answer = sys.stdin.readline()
        if not answer:
            return _Choice.KEEP
        if answer.strip().lower() in {one.value for one in _Choice}:
            return _Choice(answer.strip().lower())


def _put_away(copy: Path, shown: str, *, is_kept: bool) -> None:
    """Remove the copy, or say where it is."""
    if is_kept and copy.exists() and copy.read_bytes() != shown.encode():
        narrate(f"What you wrote is kept in {copy}; the settings are as they were.")
    else:
        copy.unlink(missing_ok=True)
