"""A host as it is that writes down each word of an answer before anyone else learns of it.

    python -m tests.support.kill_host

What is in `told.jsonl` of its home folder is in the kernel, so kill -9 cannot take it back. With
`--engine echo` an echo answers, which takes its time over each word; else real workers do. `beat`
tells when the event loop was last alive.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import mmap
import os
import struct
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from luci_tui import paths
from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.engine.echo import EchoEngine
from luci_tui.engine.process import WorkerEngine
from luci_tui.host.process import Options, main
from luci_tui.host.run_files import RunFiles
from luci_tui.host.state import HostState
from luci_tui.host.wiring import build_host

TOLD_FILE: Final = "told.jsonl"
BEAT_FILE: Final = "beat"
BEAT: Final = struct.Struct("d")
BEAT_S: Final = 0.01
LAG_S: Final = 0.03
"""A loop that comes so much too late to its beat is worth a line."""
WORD_S: Final = 0.01


class Teller:
    """Writes lines that outlive the process."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(self, kind: str, **fields: object) -> None:
        """Write one line with the time; it is in the kernel when this returns."""
        line = {"kind": kind, "at": time.monotonic(), **fields}
        os.write(self._fd, json.dumps(line).encode() + b"\n")

    async def listen(
        self, request: frames.Generate, events: AsyncGenerator[frames.GenerateEvent]
    ) -> AsyncGenerator[frames.GenerateEvent]:
        """Pass an answer on and write down its text beside the prompt that it answers."""
        key = last_user_text(request)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, frames.Delta):
                    self.tell("delta", key=key, text=event.text)
                yield event


def last_user_text(request: frames.Generate) -> str:
    """Return what the person said last."""
    messages = cast("list[dict[str, Any]]", json.loads(request.messages_json or "[]"))
    return next(str(one["content"]) for one in reversed(messages) if one["role"] == "user")


class TellingEcho(EchoEngine):
    """See the module."""

    def __init__(self, teller: Teller) -> None:
        super().__init__(partial(asyncio.sleep, WORD_S))
        self._teller = teller

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        """Say the text back."""
        async with aclosing(self._teller.listen(request, super().generate(request))) as events:
            async for event in events:
                yield event


class TellingWorker(WorkerEngine):
    """See the module."""

    def __init__(self, log_path: Path, teller: Teller) -> None:
        super().__init__(log_path)
        self._teller = teller

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        """Let the worker answer."""
        async with aclosing(self._teller.listen(request, super().generate(request))) as events:
            async for event in events:
                yield event


async def beat(path: Path, teller: Teller) -> None:
    """Keep the time of the last beat in a file that both sides have mapped."""
    with _shared(path) as shared:
        while True:
            before_s = time.monotonic()
            shared[: BEAT.size] = BEAT.pack(before_s)
            await asyncio.sleep(BEAT_S)
            lag_s = time.monotonic() - before_s - BEAT_S
            if lag_s > LAG_S:
                teller.tell("lag", lag_ms=round(lag_s * 1000, 1))


def _shared(path: Path) -> mmap.mmap:
    path.write_bytes(BEAT.pack(time.monotonic()))
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), BEAT.size)


_beating: list[asyncio.Task[None]] = []
"""Ends with the event loop."""


async def build(files: RunFiles, options: Options) -> HostState:
    """Make the parts of such a host."""
    teller = Teller(files.home / TOLD_FILE)
    _beating.append(asyncio.create_task(beat(files.home / BEAT_FILE, teller), name="beat"))
    numbers = itertools.count(1)

    def new_engine() -> EngineClient:
        if options.engine == "echo":
            return TellingEcho(teller)
        return TellingWorker(paths.logs_folder() / f"worker-{next(numbers)}.log", teller)

    return await build_host(files, options, new_engine=new_engine)


if __name__ == "__main__":
    sys.exit(main(build=build))
