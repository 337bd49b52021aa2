"""A host that says what a test wrote down, behind the real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from luci_tui.errors import HostError, LuciError
from luci_tui.host.client import ANSWER_S, HostClient
from luci_tui.host.sse_reader import ServerEvent
from luci_tui.host.unix_http import Answer


@dataclass
class Asked:
    """A request that changed something."""

    method: str
    path: str
    body: BaseModel | bytes | None


class FakeHost(HostClient):
    """Answers each path with the model, or the error, that stands for it in `says`.

    A key such as "POST /luci/jobs" goes before the path alone.
    """

    def __init__(self, says: dict[str, BaseModel | LuciError]) -> None:
        super().__init__(Path("/nowhere/host.sock"))
        self.says = says
        self.asked: list[Asked] = []
        self.streams: dict[str, list[BaseModel]] = {}
        """What a stream brings before it stays quiet; one that is not here cannot be reached."""

    async def request(
        self,
        method: str,
        path: str,
        body: BaseModel | bytes | None = None,
        answer_s: float = ANSWER_S,
    ) -> Answer:
        del answer_s
        if method != "GET":
            self.asked.append(Asked(method, path, body))
        said = self.says.get(f"{method} {path}", self.says.get(path))
        if said is None:
            msg = f"The test has no answer for {path}."
            raise HostError(msg, code="unknown_path")
        if isinstance(said, LuciError):
            raise said
        return Answer(200, "application/json", said.model_dump_json().encode())

    async def follow(self, path: str, after: int = 0) -> AsyncGenerator[ServerEvent]:
        if path not in self.streams:
            msg = f"The test has no stream for {path}."
            raise HostError(msg, code="unreachable")
        for number, event in enumerate(self.streams[path], start=after + 1):
            kind = str(getattr(event, "kind", ""))
            yield ServerEvent(kind, event.model_dump_json().encode(), number)
        await asyncio.Event().wait()


@dataclass
class FakeLink:
    """A way to a host that is there, or not."""

    host: FakeHost | None
    n_started: int = 0
    starts: FakeHost | None = None
    """What comes when one is to be started; None = what was there."""
    error: LuciError | None = None
    """Why none is reached."""
    n_dropped: int = field(default=0)

    async def client(self, *, start: bool) -> HostClient | None:
        if self.error is not None:
            raise self.error
        if start:
            self.n_started += 1
            self.host = self.starts or self.host
        return self.host

    async def drop(self) -> None:
        self.n_dropped += 1
