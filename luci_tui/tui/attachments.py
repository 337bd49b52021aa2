"""Files that go with a prompt: what may, and what of it is shown. Everything here blocks."""

from __future__ import annotations

import base64
import re
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from luci_tui.errors import ChatError, LuciError
from luci_tui.tui.draft import Attachment
from luci_tui.tui.widgets.text import one_line
from luci_tui.units import format_bytes

if TYPE_CHECKING:
    from luci_tui.host.api.messages import SentMedium

MAX_ATTACHMENTS = 8
"""In one prompt."""
MAX_TEXT_BYTES = 4 * 1024 * 1024
"""Of a text file; no context holds more."""
MAX_MEDIUM_BYTES = 16 * 1024 * 1024
"""Of a picture or a sound."""
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
"""Bytes that no text has."""


def read_attachment(file: str | Path, n_before: int = 0) -> Attachment:
    """Read a file that a person wants to send.

    Args:
        file: The file; "~" is the person's home.
        n_before: How many are attached already.

    Raises:
        LuciError: it cannot be taken; the sentence says why.
    """
    path = _expanded(file)
    name = one_line(path.name) or "file"
    if n_before >= MAX_ATTACHMENTS:
        msg = f"{MAX_ATTACHMENTS} files are attached already. Send them first."
        raise ChatError(msg, code="attachment")
    content = _content(path)
    if (medium := _medium(name, content)) is not None:
        return medium
    if len(content) > MAX_TEXT_BYTES:
        raise ChatError(
            f"{name} has {format_bytes(len(content))} and {format_bytes(MAX_TEXT_BYTES)} of text "
            "are the most. Send a part of it.",
            code="attachment",
        )
    text = _text(name, content)
    return Attachment(name, f"{name} {format_bytes(len(content))}", text=text)


def sent_media(attachments: Sequence[Attachment]) -> tuple[SentMedium, ...]:
    """Make what a host is sent of pictures and sounds."""
    # The host's messages are imported with the first of them.
    from luci_tui.host.api.messages import SentMedium

    return tuple(
        SentMedium(name=one.name[:255], content=base64.b64encode(one.content).decode())
        for one in attachments
    )


def pasted_paths(text: str) -> list[Path]:
    """Give the files that a paste names; empty = it is something else.

    Terminals paste what is dropped on them as one or more paths in quotes, with backslashes, or as
    file:// addresses. Every word has to be the absolute path of a file that is there.
    """
    try:
        words = shlex.split(text.strip())
    except ValueError:
        return []
    if not 0 < len(words) <= MAX_ATTACHMENTS:
        return []
    paths = [_path(word) for word in words]
    found = [path for path in paths if path is not None]
    return found if len(found) == len(words) else []


def _path(word: str) -> Path | None:
    if word.startswith("file://"):
        word = unquote(urlsplit(word).path)
    try:
        path = Path(word).expanduser()
        return path if path.is_absolute() and path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


def _expanded(file: str | Path) -> Path:
    try:
        return Path(file).expanduser()
    except RuntimeError as error:  # "~nobody"
        msg = f"{one_line(str(file))} is in no home folder that is known. Check the name."
        raise ChatError(msg, code="attachment") from error


def _content(path: Path) -> bytes:
    try:
        # What is no file, such as a pipe, might never come to its end.
        if not stat.S_ISREG(path.stat().st_mode):
            msg = f"{one_line(str(path))} is no file. Attach a text file, a picture or a sound."
            raise ChatError(msg, code="attachment")
        with path.open("rb") as file:
            content = file.read(MAX_MEDIUM_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or str(error)
        msg = f"{one_line(str(path))} cannot be read ({reason}). Check the name."
        raise ChatError(msg, code="attachment") from error
    if len(content) > MAX_MEDIUM_BYTES:
        raise ChatError(
            f"{one_line(path.name)} is larger than {format_bytes(MAX_MEDIUM_BYTES)}. Send a "
            "smaller one.",
            code="attachment",
        )
    return content


def _text(name: str, content: bytes) -> str:
    try:
        if _CONTROL.search(content):
            raise ValueError
        return content.decode("utf-8").replace("\r\n", "\n")
    except ValueError as error:
        msg = f"{name} is no text in UTF-8, no picture and no sound that luci knows. Convert it."
        raise ChatError(msg, code="attachment") from error


def _medium(name: str, content: bytes) -> Attachment | None:
    """Make the attachment of a picture or a sound; None = it is neither."""
    # It imports the engine's messages, which the first frame does not wait for.
    from luci_tui.chat.media import medium_of

    try:
        medium = medium_of(name, content)
    except LuciError as error:
        msg = f"{name} cannot be sent: {error.message}"
        raise ChatError(msg, code="attachment") from error
    if medium is None:
        return None
    return Attachment(name, medium.words, content=content, width=medium.width, height=medium.height)
