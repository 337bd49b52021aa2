"""Which commands to a worker leave together, and that they keep their order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from luci_tui.engine import frames, wire
from luci_tui.engine.child import GATHER_TURNS, Child, WorkerOptions


class RecordedPipe(asyncio.WriteTransport):
    """Keeps the ids of the commands in each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[tuple[str, int]]] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        commands = [
            frames.command_adapter.validate_json(payload)
            for payload in wire.FrameDecoder().feed(bytes(data))
        ]
        self.writes.append([(one.kind, one.request_id) for one in commands])

    def is_closing(self) -> bool:
        return self.is_closed


class RecordedProcess(asyncio.SubprocessTransport):
    """A process of which only the pipe to its stdin is used."""

    def __init__(self) -> None:
        super().__init__()
        self.stdin = RecordedPipe()

    def get_pipe_transport(self, fd: int) -> asyncio.BaseTransport | None:
        return self.stdin if fd == 0 else None

    def get_pid(self) -> int:
        return 0


def connected(folder: Path) -> tuple[Child, RecordedPipe]:
    process = RecordedProcess()
    child = Child("m", folder / "worker.log", WorkerOptions())
    child.connection_made(process)
    return child, process.stdin


async def turns(n: int) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


async def test_requests_that_are_asked_in_turns_close_together_leave_in_one_write(
    tmp_path: Path,
) -> None:
    child, pipe = connected(tmp_path)
    for number in range(GATHER_TURNS):
        await child.send(frames.Generate(request_id=number, prompt="a"))
        await turns(1)
    await turns(GATHER_TURNS)
    assert pipe.writes == [[("generate", number) for number in range(GATHER_TURNS)]]


async def test_request_alone_leaves_after_a_few_turns_and_the_next_one_gets_a_write_of_its_own(
    tmp_path: Path,
) -> None:
    child, pipe = connected(tmp_path)
    for number in (1, 2):
        child.post(frames.Generate(request_id=number, prompt="a"))
        await turns(GATHER_TURNS + 1)
        assert pipe.writes[number - 1] == [("generate", number)]
    assert len(pipe.writes) == 2


async def test_other_commands_wait_for_nothing_and_overtake_nothing(tmp_path: Path) -> None:
    child, pipe = connected(tmp_path)
    child.post(frames.Generate(request_id=1, prompt="a"))
    child.post(frames.Cancel(request_id=1))
    assert pipe.writes == [[("generate", 1), ("cancel", 1)]]
    child.post(frames.Generate(request_id=2, prompt="a"))
    await turns(GATHER_TURNS + 1)
    assert pipe.writes[1:] == [[("generate", 2)]]


async def test_request_to_a_worker_that_goes_meanwhile_is_not_written(tmp_path: Path) -> None:
    child, pipe = connected(tmp_path)
    child.post(frames.Generate(request_id=1, prompt="a"))
    pipe.is_closed = True
    await turns(GATHER_TURNS + 1)
    assert pipe.writes == []
