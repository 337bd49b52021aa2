"""A real HTTP server of the API on a free loopback port, over any engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import LuciError
from luci_tui.host.openai.server import ApiServer
from luci_tui.host.openai.services import EntryView, LeaseView, Services, make_services
from luci_tui.host.openai.settings import ServeSettings

KEY = "luci-test-key-0123456789"
OTHER_KEY = "luci-test-key-of-another"
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Entry:
    """A model that the server knows."""

    name: str
    aliases: tuple[str, ...] = ()
    sampling: frames.SamplingParams = field(
        default_factory=lambda: frames.SamplingParams(temperature=0.0)
    )
    system: str = ""
    max_workers: int = 1


@dataclass(frozen=True)
class Resident:
    """A model that is in memory."""

    name: str
    state: str = "ready"


@dataclass
class Lease:
    """A hold on a loaded engine."""

    entry: Entry
    info: frames.ModelInfo
    engine: EngineClient


@dataclass
class Shelf:
    """A ModelSource over engines that a test has loaded; counts the leases that are held."""

    leases: dict[str, Lease] = field(default_factory=dict[str, Lease])
    failure: LuciError | None = None
    """What a lease raises instead."""
    n_held: int = 0

    async def add(
        self, name: str, engine: EngineClient, *, spec: LoadSpec, **entry: object
    ) -> frames.ModelInfo:
        """Load a model and put it on the shelf."""
        info = None
        async for event in engine.load(spec):
            if isinstance(event, frames.Loaded):
                info = event.info
        assert info is not None
        made = Entry(name, **entry)  # pyright: ignore[reportArgumentType]
        self.leases[name] = Lease(made, info, engine)
        return info

    def names(self) -> Sequence[EntryView]:
        """Return what there is."""
        return [lease.entry for lease in self.leases.values()]

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncGenerator[LeaseView]:
        """Hold one."""
        if self.failure is not None:
            raise self.failure
        self.n_held += 1
        try:
            yield self.leases[name]
        finally:
            self.n_held -= 1

    def snapshot(self) -> Sequence[Resident]:
        """Return all: they are loaded."""
        return [Resident(name) for name in self.leases]


def services(shelf: Shelf, **settings: object) -> Services:
    """Make what the API stands on; the port is any free one."""
    made = ServeSettings.model_validate({"port": 0, "drain_s": 0.5, **settings})
    return make_services(shelf, made, (KEY, OTHER_KEY))


@asynccontextmanager
async def serving(shelf: Shelf, **settings: object) -> AsyncGenerator[ApiServer]:
    """Serve inside the `async with`."""
    async with serving_with(services(shelf, **settings)) as server:
        yield server


@asynccontextmanager
async def serving_with(made: Services) -> AsyncGenerator[ApiServer]:
    """Serve with services that the test keeps an eye on."""
    server = ApiServer(made)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@dataclass(frozen=True)
class Reply:
    """What came back on a raw connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """The body as JSON."""
        return json.loads(self.body)


def raw_post(port: int, path: str, body: bytes | str, **headers: str) -> bytes:
    """Write a whole POST; `headers` (with _ for -) replace the usual ones, "" removes one."""
    content = body.encode() if isinstance(body, str) else body
    usual = {
        "host": f"127.0.0.1:{port}",
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "content-length": str(len(content)),
        "connection": "close",
    }
    usual.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = "".join(f"{name}: {value}\r\n" for name, value in usual.items() if value)
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + content


async def exchange(port: int, *pieces: bytes | asyncio.Event) -> Reply:
    """Send pieces over one connection, waiting at events, and read until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            for piece in pieces:
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                    continue
                writer.write(piece)
            return parse(await reader.read())
    finally:
        writer.close()


def parse(data: bytes) -> Reply:
    """Read one response; its body is taken as it is."""
    head, _, body = data.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Reply(int(status_line.split(" ")[1]), headers, body)
