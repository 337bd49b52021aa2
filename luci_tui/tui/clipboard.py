"""Copy a text: to the terminal by OSC 52, and always to a file, for no terminal says what it took.

Source: https://invisible-island.net/xterm/ctlseqs/ctlseqs.html, "Operating System Commands".
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from luci_tui.config import TerminalFacts
from luci_tui.whole_file import write_whole

MAX_BYTES = 74_994
"""Longest text for a terminal: 100,000 bytes with the sequence around it.

Source: https://chromium.googlesource.com/apps/libapps/+/HEAD/hterm/etc/osc52.sh
"""
SCREEN_CHUNK = 250
"""GNU screen passes on at most 256 bytes of a sequence in older versions; so many go at once."""
_END = "\x1b\\"


@dataclass(frozen=True)
class Copied:
    """What became of a text that was copied."""

    sequence: str
    """For the terminal; empty = the text is too long for one."""
    sentence: str
    """What the person is told."""
    is_lost: bool = False
    """It went nowhere."""


def sequence_of(text: str, multiplexer: str) -> str:
    """Return what makes a terminal take the text; empty = it is too long.

    Args:
        text: What is copied.
        multiplexer: "tmux", "screen" or empty, as in `TerminalFacts`.
    """
    data = _encode(text)
    if len(data) > MAX_BYTES:
        return ""
    plain = f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\a"
    match multiplexer:
        case "tmux":
            # Which of the two arrives is up to `allow-passthrough` and `set-clipboard`.
            doubled = plain.replace("\x1b", "\x1b\x1b")
            return f"\x1bPtmux;{doubled}{_END}{plain}"
        case "screen":
            pieces = (plain[at : at + SCREEN_CHUNK] for at in range(0, len(plain), SCREEN_CHUNK))
            return "".join(f"\x1bP{piece}{_END}" for piece in pieces)
        case _:
            return plain


def copy(text: str, terminal: TerminalFacts | None, path: Path | None) -> Copied:
    """Write the text to the file, and say what goes to the terminal; it waits for the disk.

    Args:
        text: What is copied.
        terminal: What is known of it; None = nothing.
        path: The file, which nobody else may read; None = there is none.
    """
    multiplexer = terminal.multiplexer if terminal is not None else ""
    sequence = sequence_of(text, multiplexer)
    targets: list[str] = []
    notes: list[str] = []
    if sequence:
        through = f", through {multiplexer}" if multiplexer else ""
        targets.append(f"to the terminal (OSC 52{through})")
    else:
        notes.append("That is too long for the terminal.")
    if path is not None and (problem := _write(text, path)):
        notes.append(f"{_short(path)} cannot be written ({problem}).")
    elif path is not None:
        targets.append(f"to {_short(path)}")
    count = f"{len(text):,} character{'' if len(text) == 1 else 's'}"
    told = f"Copied {count}: {', and '.join(targets)}." if targets else f"{count} were not copied."
    return Copied(sequence, " ".join([told, *notes]), is_lost=not targets)


def _write(text: str, path: Path) -> str:
    """Write the file; "" = it is there, else why not."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists():
            path.chmod(0o600)
        write_whole(path, _encode(text).decode("utf-8"))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _encode(text: str) -> bytes:
    # Half a surrogate pair, as a broken paste may leave it, has no bytes.
    return text.encode("utf-8", "replace")


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
