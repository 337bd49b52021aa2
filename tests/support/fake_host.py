"""A host that says what a test wrote down, behind the real client."""

from __future__ import annotations

import asyncio
from collections import Counter
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
        self._has_more = asyncio.Event()
        self._n_asked: Counter[str] = Counter()

    def n_asked(self, path: str) -> int:
        """Return how often something was asked for."""
        return self._n_asked[path]

    def tell(self, path: str, event: BaseModel) -> None:
        """Let a stream that is followed bring something more."""
        self.streams.setdefault(path, []).append(event)
        self._has_more.set()

    async def request(
        self,
        method: str,
        path: str,
        body: BaseModel | bytes | None = None,
        answer_s: float = ANSWER_S,
    ) -> Answer:
        del answer_s
        self._n_asked[path] += 1
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
        n_given = 0
        while True:
            self._has_more.clear()
            for event in self.streams[path][n_given:]:
                n_given += 1
                kind = str(getattr(event, "kind", ""))
                yield ServerEvent(kind, event.model_dump_json().encode(), after + n_given)
            await self._has_more.wait()


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
    n_looks: int = 0
    """How often one was looked for that was not to be started."""
    _started: asyncio.Event = field(default_factory=asyncio.Event)

    async def client(self, *, start: bool) -> HostClient | None:
        if self.error is not None:
            raise self.error
        if start:
            self.n_started += 1
            self.host = self.starts or self.host
            self._started.set()
            self._started = asyncio.Event()
        else:
            self.n_looks += 1
        return self.host

    async def drop(self) -> None:
        self.n_dropped += 1

    async def started(self) -> None:
        await self._started.wait()
