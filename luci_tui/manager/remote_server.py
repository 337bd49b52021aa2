"""RemoteServer: HTTP with one OpenAI-compatible server, its failures as errors of luci.

The key goes to the configured address and nowhere else: redirects are not followed, and neither
proxies nor .netrc of the environment are looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from luci_tui.errors import ModelLoadError, RequestError, WorkerLostError
from luci_tui.manager import remote_errors as errors
from luci_tui.manager import remote_replies as replies
from luci_tui.manager.entries import Dialect, Endpoint
from luci_tui.manager.remote_key import read_key
from luci_tui.manager.remote_requests import Body, RemoteRequest
from luci_tui.manager.sse import BrokenStreamError, EventReader

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""Of an answer that is not a stream: a batch of vectors may be large."""
MAX_ERROR_BYTES = 64 * 1024

Reply = TypeVar("Reply", bound=BaseModel)


class RemoteServer:
    """One server; belongs to one event loop. Every method raises EngineError, and nothing else.

    Args:
        endpoint: Where it is.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._client: httpx.AsyncClient | None = None

    async def connect(self) -> None:
        """Read the key and get ready; no connection is made before the first request.

        Raises:
            ModelLoadError: the key is not where it should be.
        """
        key = await asyncio.to_thread(read_key, self.endpoint)
        await self.close()
        self._client = _make_client(self.endpoint, key)

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def find_model(self) -> replies.ListedModel | None:
        """Find the model in the server's list; None = it has no list, or answers to any name.

        Raises:
            EngineError: the server is not there, or does not have the model.
        """
        try:
            async with self._reply("GET", "/models", None, is_known_path=False) as response:
                body = await self._read_body(response, MAX_REPLY_BYTES)
        except RequestError as error:
            if error.code == "unsupported_by_endpoint":
                return None
            raise
        listed = self._parsed(body, replies.ModelList).data
        name = self.endpoint.model
        found = next((one for one in listed if one.id == name), None)
        # llama-server answers to any name with the one model that it has.
        if found is None and self.endpoint.dialect is Dialect.LLAMA_SERVER and listed:
            return listed[0]
        if found is None:
            known = ", ".join(errors.clean(one.id) for one in listed[:5]) or "none"
            raise RequestError(
                f'{self.endpoint.base_url} has no model "{name}". It has {known}. '
                "Correct the endpoint's model.",
                code="unknown_model",
            )
        return found

    async def stream(self, wanted: RemoteRequest) -> AsyncGenerator[replies.Chunk]:
        """Send a request and give the events of its answer until the server says that it ended."""
        async with (
            self._reply("POST", wanted.path, wanted.body) as response,
            aclosing(self._events(response)) as events,
        ):
            async for event in events:
                if event.strip() == "[DONE]":
                    return
                yield self._chunk(event)

    async def fetch(
        self, wanted: RemoteRequest, shape: type[Reply], *, is_at_root: bool = False
    ) -> Reply:
        """Send a request that has a single answer.

        Args:
            wanted: The request.
            shape: What the answer is read as.
            is_at_root: The path is below the server's root, not the base URL.
        """
        path = _root(self.endpoint) + wanted.path if is_at_root else wanted.path
        async with self._reply("POST", path, wanted.body, is_known_path=False) as response:
            return self._parsed(await self._read_body(response, MAX_REPLY_BYTES), shape)

    def lost(self, what: str, code: str = "lost") -> WorkerLostError:
        """Make the error for a server that is not there, or not any more."""
        return WorkerLostError(
            f"{self.endpoint.base_url} {what}. Check that the server runs, then try again.",
            code=f"endpoint_{code}",
        )

    @asynccontextmanager
    async def _reply(
        self, method: str, path: str, body: Body | None, *, is_known_path: bool = True
    ) -> AsyncGenerator[httpx.Response]:
        """Send a request and give the answer, a successful one; errors become those of luci."""
        client = self._client
        if client is None:
            raise ModelLoadError(
                f"{self.endpoint.base_url} is not connected. Load it first.", code="not_loaded"
            )
        url = path if "://" in path else self.endpoint.base_url + path
        try:
            async with client.stream(method, url, json=body) as response:
                if response.status_code != 200:
                    said = await self._read_body(response, MAX_ERROR_BYTES, is_cut=True)
                    raise errors.refusal(
                        self.endpoint,
                        response.status_code,
                        said,
                        response.headers.get("retry-after", ""),
                        is_known_path=is_known_path,
                    )
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            words = f"cannot be reached ({errors.clean(str(error)) or 'no answer'})"
            raise self.lost(words, "unreachable") from error
        except httpx.TimeoutException as error:
            words = f"said nothing for {self.endpoint.idle_s:.0f} s"
            raise self.lost(words, "timeout") from error
        except httpx.HTTPError as error:
            words = f"broke off ({errors.clean(str(error)) or type(error).__name__})"
            raise self.lost(words) from error

    async def _events(self, response: httpx.Response) -> AsyncGenerator[str]:
        kind = response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            raise errors.broken(
                self.endpoint, f"it answers with {errors.clean(kind) or 'no type'}, not a stream"
            )
        reader = EventReader()
        async for data in response.aiter_bytes():
            try:
                events = reader.feed(data)
            except BrokenStreamError as error:
                raise errors.broken(self.endpoint, f"the stream has {error}") from error
            for event in events:
                yield event

    def _chunk(self, event: str) -> replies.Chunk:
        try:
            chunk = replies.Chunk.model_validate_json(event)
        except ValidationError as error:
            words = f"{_first_fault(error)} in an event of the stream"
            raise errors.broken(self.endpoint, words) from error
        if chunk.error:
            raise errors.stream_error(self.endpoint, chunk.error)
        return chunk

    async def _read_body(
        self, response: httpx.Response, max_bytes: int, *, is_cut: bool = False
    ) -> bytes:
        data = bytearray()
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > max_bytes:
                if is_cut:
                    break
                raise errors.broken(self.endpoint, f"an answer of more than {max_bytes} bytes")
        return bytes(data[:max_bytes])

    def _parsed(self, body: bytes, shape: type[Reply]) -> Reply:
        try:
            return shape.model_validate_json(body)
        except ValidationError as error:
            raise errors.broken(self.endpoint, f"{_first_fault(error)} in its answer") from error


def _make_client(endpoint: Endpoint, key: str) -> httpx.AsyncClient:
    idle_s = endpoint.idle_s
    return httpx.AsyncClient(
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(idle_s, connect=endpoint.connect_s),
        limits=httpx.Limits(max_connections=256, max_keepalive_connections=16),
        follow_redirects=False,
        trust_env=False,
    )


def _root(endpoint: Endpoint) -> str:
    """Give the address above the version, where llama-server and vLLM have their own services."""
    return endpoint.base_url.removesuffix("/v1")


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg'].lower()}" if place else first["msg"].lower()
