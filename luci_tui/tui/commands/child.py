"""A command of luci in a process of its own, without a terminal: bounded output, ended at will."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from luci_tui import paths
from luci_tui.chat.sanitize import sanitize

MAX_LINES = 400
"""Lines that are kept; the rest is counted."""
MAX_LINE = 500
"""Characters of one line that are kept."""
END_S = 3.0
"""What a command gets to end itself in order before it is killed."""
_READ_BYTES = 65_536


@dataclass
class Output:
    """What a command has said so far: the first lines of it, and how many there are."""

    lines: list[str] = field(default_factory=list[str])
    n_lines: int = 0
    _open: str = ""
    """The line that is not complete yet."""
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    @property
    def n_left_out(self) -> int:
        """Lines that are not kept."""
        return self.n_lines - len(self.lines)

    def feed(self, data: bytes, *, is_end: bool = False) -> None:
        """Take what was read."""
        text = self._open + self._decoder.decode(data, is_end)
        *complete, self._open = text.split("\n")
        # A line without an end must not be collected for ever.
        self._open = self._open[: MAX_LINE + 1]
        if is_end and self._open:
            complete.append(self._open)
            self._open = ""
        for line in complete:
            self.n_lines += 1
            if len(self.lines) < MAX_LINES:
                self.lines.append(_cut(line))


def _cut(line: str) -> str:
    # What a progress line has written over is gone on a terminal, too.
    safe = sanitize(line.rstrip("\r").rpartition("\r")[2])
    return safe if len(safe) <= MAX_LINE else f"{safe[:MAX_LINE]}…"


async def run_command(
    words: tuple[str, ...], n_columns: int, output: Output, tell: Callable[[], None]
) -> int:
    """Run a command to its end and return its exit code; cancelling it ends the command.

    There is no limit of time: an installation may take hours, and a person can end it.

    Args:
        words: Without "luci" before them.
        n_columns: How wide tables may be.
        output: Filled with what the command says, stdout and stderr as they come.
        tell: Called after each piece of it.
    """
    environment = {
        **paths.environment_for(paths.luci_home()),
        "COLUMNS": str(n_columns),
        "NO_COLOR": "1",
        "TERM": "dumb",
        "PYTHONUNBUFFERED": "1",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "luci_tui", *words),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        while data := await process.stdout.read(_READ_BYTES):
            output.feed(data)
            tell()
        output.feed(b"", is_end=True)
        return await process.wait()
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    """End a command and what it has started, as Ctrl-C in a shell does."""
    if process.returncode is not None:
        return
    _signal(process, signal.SIGINT)
    waiting = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait([waiting], timeout=END_S)
    finally:
        if not waiting.done():
            _signal(process, signal.SIGKILL)
            await asyncio.wait([waiting], timeout=END_S)


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
