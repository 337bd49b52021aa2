"""A real server of the API over an echo and a script, with a plain HTTP client and an SDK's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from luci_tui.engine import frames
from luci_tui.engine.echo import EchoEngine
from luci_tui.engine.load_spec import LoadSpec
from tests.support.api_server import KEY, Shelf, serving
from tests.support.event_order import Json, read_sse
from tests.support.scripted_engine import ScriptedEngine, Step

N_CTX = 600
"""Of the echo, whose tokens are bytes."""
TIMEOUT_S = 30.0

Client = TypeVar("Client", bound=AbstractAsyncContextManager[Any])


@dataclass
class Scripted(Generic[Client]):
    """The server, the models `echo` and `script` on it, and who talks to it."""

    shelf: Shelf
    script: ScriptedEngine
    url: str
    """With /v1."""
    path: str
    """The endpoint that `post` and `stream` ask, below the server's root."""
    http: httpx.AsyncClient
    client: Client
    usual: dict[str, object]
    """Fields of each body that `post` and `stream` send."""

    def plays(self, *steps: Step) -> None:
        """Write down what the script says to the next request."""
        self.script.scripts.append(list(steps))

    async def post(self, **body: object) -> httpx.Response:
        """Ask the endpoint."""
        return await self.http.post(self.path, json={**self.usual, **body})

    async def stream(self, **body: object) -> list[Json]:
        """Ask the endpoint for a stream and give its events."""
        answer = await self.post(stream=True, **body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        return read_sse(answer.content)


@asynccontextmanager
async def scripted_server(
    path: str,
    make_client: Callable[[str], Client],
    *,
    headers: dict[str, str] | None = None,
    usual: dict[str, object] | None = None,
) -> AsyncGenerator[Scripted[Client]]:
    """Serve inside the `async with`; every lease has to be given back by its end.

    Args:
        path: See `Scripted.path`.
        make_client: URL with /v1 -> the SDK's client.
        headers: Of the plain client; None = the key as OpenAI's clients show it.
        usual: See `Scripted.usual`.
    """
    shelf, script = Shelf(), ScriptedEngine()
    await shelf.add("echo", EchoEngine(), spec=LoadSpec(model_path="echo", n_ctx=N_CTX))
    await shelf.add("script", script, spec=LoadSpec(model_path="script.gguf"))
    async with serving(shelf) as server:
        http = httpx.AsyncClient(
            base_url=server.url.removesuffix("/v1"),
            headers=headers or {"authorization": f"Bearer {KEY}"},
            timeout=TIMEOUT_S,
        )
        client = make_client(server.url)
        async with http, client:
            yield Scripted(shelf, script, server.url, path, http, client, usual or {})
    assert shelf.n_held == 0


def call(index: int, arguments: str = "", name: str = "", call_id: str = "") -> frames.Delta:
    """Make a piece of a tool call, as a script plays it."""
    piece = frames.ToolCallDelta(index=index, id=call_id, name=name, arguments=arguments)
    return frames.Delta(request_id=1, tool_calls=(piece,), tokens=(1,))
