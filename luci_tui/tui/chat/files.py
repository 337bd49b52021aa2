"""Write what is in a chat to a file that the person named, and never over another unasked."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

from luci_tui.errors import ConfigError
from luci_tui.units import format_bytes
from luci_tui.whole_file import write_whole

if TYPE_CHECKING:
    from textual.app import App


def to_path(name: str) -> Path:
    """Make a path of what a person typed.

    Raises:
        ConfigError: no file can be there.
    """
    try:
        path = Path(name).expanduser().absolute()
        if path.is_dir():
            msg = f"{path} is a folder. Add a name for the file."
            raise ConfigError(msg)
        if not path.parent.is_dir():
            msg = f"There is no folder {path.parent}. Name one that is there."
            raise ConfigError(msg)
    except (RuntimeError, ValueError, OSError) as error:
        msg = f"{name[:80]!r} cannot be a file here ({error}). Take another name."
        raise ConfigError(msg) from error
    return path


def name_of_title(title: str) -> str:
    """Make the name of a file of the title of a chat."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower()
    return words[:40].strip("-") or "chat"


async def save_as(app: App[object], question: str, start: str, text: str) -> None:
    """Ask for a name and write the text there; says what came of it."""
    from luci_tui.tui.screens.ask import AskScreen
    from luci_tui.tui.screens.confirm import ConfirmScreen

    name = await app.push_screen_wait(AskScreen(question, start, check=to_path))
    if not name:
        return
    path = to_path(name)
    if path.exists():
        size = format_bytes(path.stat().st_size)
        question = f"Replace {path}? It is there already, with {size}, which are lost."
        if not await app.push_screen_wait(ConfirmScreen(question, "Replace")):
            return
    try:
        await asyncio.to_thread(write_whole, path, text)
    except OSError as error:
        reason = error.strerror or str(error)
        app.notify(f"{path} cannot be written: {reason}.", severity="error", markup=False)
        return
    app.notify(f"Written to {path}.", markup=False)
