"""RemoteEngine: an EngineClient whose engine is an OpenAI-compatible server.

The key goes to the configured address and nowhere else: redirects are not followed, and neither
proxies nor .netrc of the environment are looked at.
"""

from __future__ import annotations

import asyncio
import itertools
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from luci_tui import config
from luci_tui.engine import frames
from luci_tui.engine.mailbox import Mailbox
from luci_tui.errors import EngineError, ModelLoadError, RequestError, WorkerLostError
from luci_tui.manager import remote_replies as replies
from luci_tui.manager import remote_requests as requests
from luci_tui.manager.entries import Dialect, Endpoint
from luci_tui.manager.sse import BrokenStreamError, EventReader

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""Of an answer that is not a stream: a batch of vectors may be large."""
MAX_ERROR_BYTES = 64 * 1024
MAX_KEY_BYTES = 4096
CHECK_S = 10.0
"""Longest health check."""

Reply = TypeVar("Reply", bound=BaseModel)


class RemoteEngine:
    """See `EngineClient` for the contract.

    A token id that a server does not tell is missing from `Delta.tokens`, and -1 in logprobs; a
    count that it does not tell is 0. `delivery_ms` is the server's own pace.
    """

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float] = time.perf_counter) -> None:
        """Make an engine that has not spoken to its server yet.

        Args:
            endpoint: Where the server is.
            clock: Seconds, for the timings.
        """
        self.endpoint = endpoint
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._info: frames.ModelInfo | None = None
        self._request_ids = itertools.count(1)
        self._running: dict[int, tuple[Mailbox, replies.Answer]] = {}
        self._n_answers = 0
        self._prompt_tokens_total = 0
        self._cached_tokens_total = 0
        self._completion_tokens_total = 0

    async def load(
        self, spec: frames.LoadSpec
    ) -> AsyncGenerator[frames.LoadProgress | frames.Loaded]:
        """Read the key, and ask the server for its models; see `EngineClient.load`."""
        await self.close()
        key = await asyncio.to_thread(read_key, self.endpoint)
        self._client = _make_client(self.endpoint, key)
        request_id = next(self._request_ids)
        yield frames.LoadProgress(request_id=request_id, fraction=0.0)
        try:
            listed = await self._find_model()
        except (RequestError, WorkerLostError) as error:
            await self.close()
            raise ModelLoadError(error.message, code=error.code) from error
        except BaseException:
            await self.close()
            raise
        self._info = _info(spec, self.endpoint, listed)
        yield frames.Loaded(request_id=request_id, info=self._info)

    async def check(self) -> None:
        """Ask the server whether it is there.

        Raises:
            EngineError: it is not, or it does not have the model.
        """
        try:
            async with asyncio.timeout(CHECK_S):
                await self._find_model()
        except TimeoutError as error:
            raise self._lost(f"said nothing for {CHECK_S:.0f} s", "timeout") from error

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        """Stream one answer; see `EngineClient.generate`."""
        client, info = self._loaded()
        wanted = requests.generate_request(request, self.endpoint)
        request_id = next(self._request_ids)
        mailbox, answer = Mailbox(), replies.Answer(self.endpoint, request, request_id, info.n_ctx)
        pump = asyncio.ensure_future(self._pump(client, wanted, mailbox, answer))
        self._running[request_id] = (mailbox, answer)
        try:
            while not isinstance(event := await mailbox.take(), frames.Done):
                if isinstance(event, frames.Delta | frames.PromptProgress):
                    yield event
        finally:
            del self._running[request_id]
            pump.cancel()
            await asyncio.wait([pump])
        self._count(event)
        yield event

    async def ask(self, command: frames.Command) -> frames.Event:
        """Send a command with a single answer; see `EngineClient.ask`."""
        client, _ = self._loaded()
        request_id = next(self._request_ids)
        match command:
            case frames.Cancel():
                self._cancel(command.request_id)
                return frames.Acknowledged(request_id=command.request_id)
            case frames.Embed():
                wanted = requests.embed_request(command, self.endpoint)
                vectors = await self._fetch(client, wanted, replies.Vectors)
                return self._read(
                    request_id,
                    lambda: vectors.embedded(len(command.texts), normalize=command.normalize),
                )
            case frames.Rerank():
                wanted = requests.rerank_request(command, self.endpoint)
                ranks = await self._fetch(client, wanted, replies.Ranks)
                return self._read(request_id, lambda: ranks.reranked(len(command.documents)))
            case frames.Tokenize():
                wanted = requests.tokenize_request(command, self.endpoint)
                found = await self._fetch(client, wanted, replies.Tokens, is_at_root=True)
                return frames.Tokenized(request_id=request_id, tokens=found.tokens)
            case frames.Status():
                return self._status(request_id)
            case frames.StateFile() | frames.Bench() | frames.Detokenize():
                raise requests.unsupported_error(self.endpoint, f"the command {command.kind}")
            case _:
                msg = f"{command.kind} has a method of its own"
                raise ValueError(msg)

    async def close(self) -> None:
        """Cancel what runs and close the connections; see `EngineClient.close`."""
        for request_id in list(self._running):
            self._cancel(request_id)
        client, self._client, self._info = self._client, None, None
        if client is not None:
            await client.aclose()

    def _loaded(self) -> tuple[httpx.AsyncClient, frames.ModelInfo]:
        if self._client is None or self._info is None:
            raise ModelLoadError(
                f"No model is loaded in this engine ({self.endpoint.base_url}). Load one first.",
                code="not_loaded",
            )
        return self._client, self._info

    def _cancel(self, request_id: int) -> None:
        running = self._running.get(request_id)
        if running is not None and not running[0].has_ended:
            mailbox, answer = running
            mailbox.put(answer.end(frames.FinishReason.CANCELLED, frames.Timings()))

    async def _pump(
        self,
        client: httpx.AsyncClient,
        wanted: requests.RemoteRequest,
        mailbox: Mailbox,
        answer: replies.Answer,
    ) -> None:
        """Put what the server says into the mailbox, and always an end."""
        started_s = self._clock()
        first_s = 0.0
        try:
            async with self._reply(client, "POST", wanted.path, wanted.body) as response:
                async for chunk in self._chunks(response):
                    delta = answer.take(chunk)
                    if delta is not None and not mailbox.has_ended:
                        first_s = first_s or self._clock()
                        mailbox.put(delta)
            if answer.finish_reason is None:
                words = "closed the connection in the middle of the answer"
                raise self._lost(words)
            if not mailbox.has_ended:
                ended_s = self._clock()
                ttft_s = (first_s or ended_s) - started_s
                mailbox.put(answer.done(ttft_s, ended_s - started_s))
        except EngineError as error:
            mailbox.fail(error)
        finally:
            # Does nothing after any other end; without one, somebody would wait forever.
            mailbox.fail(self._lost("was left in the middle of the answer"))

    async def _chunks(self, response: httpx.Response) -> AsyncIterator[replies.Chunk]:
        kind = response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            raise replies.broken(
                self.endpoint, f"it answers with {replies.clean(kind) or 'no type'}, not a stream"
            )
        reader = EventReader()
        async for data in response.aiter_bytes():
            try:
                events = reader.feed(data)
            except BrokenStreamError as error:
                raise replies.broken(self.endpoint, f"the stream has {error}") from error
            for event in events:
                if event.strip() == "[DONE]":
                    return
                yield self._chunk(event)

    def _chunk(self, event: str) -> replies.Chunk:
        try:
            chunk = replies.Chunk.model_validate_json(event)
        except ValidationError as error:
            words = f"{_first_fault(error)} in an event of the stream"
            raise replies.broken(self.endpoint, words) from error
        if chunk.error:
            raise replies.stream_error(self.endpoint, chunk.error)
        return chunk

    async def _fetch(
        self,
        client: httpx.AsyncClient,
        wanted: requests.RemoteRequest,
        shape: type[Reply],
        *,
        is_at_root: bool = False,
    ) -> Reply:
        path = _root(self.endpoint) + wanted.path if is_at_root else wanted.path
        async with self._reply(client, "POST", path, wanted.body, is_known_path=False) as response:
            return self._parsed(await self._read_body(response, MAX_REPLY_BYTES), shape)

    async def _find_model(self) -> replies.ListedModel | None:
        """Find the model in the server's list; None = the server has no list, or no such name."""
        if self._client is None:
            raise ModelLoadError(
                f"{self.endpoint.base_url} is not connected. Load it first.", code="not_loaded"
            )
        try:
            async with self._reply(
                self._client, "GET", "/models", None, is_known_path=False
            ) as response:
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
            known = ", ".join(replies.clean(one.id) for one in listed[:5]) or "none"
            raise RequestError(
                f'{self.endpoint.base_url} has no model "{name}". It has {known}. '
                "Correct the endpoint's model.",
                code="unknown_model",
            )
        return found

    @asynccontextmanager
    async def _reply(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        body: requests.Body | None,
        *,
        is_known_path: bool = True,
    ) -> AsyncGenerator[httpx.Response]:
        """Send a request and give the answer, a successful one; errors become those of luci."""
        url = path if "://" in path else self.endpoint.base_url + path
        try:
            async with client.stream(method, url, json=body) as response:
                if response.status_code != 200:
                    said = await self._read_body(response, MAX_ERROR_BYTES, is_cut=True)
                    raise replies.refusal(
                        self.endpoint,
                        response.status_code,
                        said,
                        response.headers.get("retry-after", ""),
                        is_known_path=is_known_path,
                    )
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            words = f"cannot be reached ({replies.clean(str(error)) or 'no answer'})"
            raise self._lost(words, "unreachable") from error
        except httpx.TimeoutException as error:
            words = f"said nothing for {self.endpoint.idle_s:.0f} s"
            raise self._lost(words, "timeout") from error
        except httpx.HTTPError as error:
            words = f"broke off ({replies.clean(str(error)) or type(error).__name__})"
            raise self._lost(words) from error

    async def _read_body(
        self, response: httpx.Response, max_bytes: int, *, is_cut: bool = False
    ) -> bytes:
        data = bytearray()
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > max_bytes:
                if is_cut:
                    break
                raise replies.broken(self.endpoint, f"an answer of more than {max_bytes} bytes")
        return bytes(data[:max_bytes])

    def _parsed(self, body: bytes, shape: type[Reply]) -> Reply:
        try:
            return shape.model_validate_json(body)
        except ValidationError as error:
            raise replies.broken(self.endpoint, f"{_first_fault(error)} in its answer") from error

    def _read(
        self, request_id: int, make: Callable[[], frames.Embedded | frames.Reranked]
    ) -> frames.Event:
        try:
            return make().model_copy(update={"request_id": request_id})
        except ValueError as error:
            raise replies.broken(self.endpoint, str(error)) from error

    def _lost(self, what: str, code: str = "lost") -> WorkerLostError:
        return WorkerLostError(
            f"{self.endpoint.base_url} {what}. Check that the server runs, then try again.",
            code=f"endpoint_{code}",
        )

    def _count(self, done: frames.Done) -> None:
        self._n_answers += 1
        self._prompt_tokens_total += done.usage.prompt_tokens - done.usage.cached_tokens
        self._cached_tokens_total += done.usage.cached_tokens
        self._completion_tokens_total += done.usage.completion_tokens

    def _status(self, request_id: int) -> frames.StatusReport:
        """Count what this client asked for; of the server's slots and memory nothing is known."""
        return frames.StatusReport(
            request_id=request_id,
            slots=(),
            n_queued=0,
            n_steps=self._n_answers,
            prompt_tokens_total=self._prompt_tokens_total,
            cached_tokens_total=self._cached_tokens_total,
            completion_tokens_total=self._completion_tokens_total,
            rss_bytes=0,
        )


def read_key(endpoint: Endpoint) -> str:
    """Read the key of an endpoint; "" = it needs none. Blocks.

    Raises:
        ModelLoadError: it is not where it should be, or others can read it; code "api_key".
    """
    if endpoint.api_key_env:
        key = config.environment_secret(endpoint.api_key_env)
        what = f"The environment variable {endpoint.api_key_env}"
    elif endpoint.api_key_file:
        key = _key_file(Path(endpoint.api_key_file))
        what = f"The key file {endpoint.api_key_file}"
    else:
        return ""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ModelLoadError(
            f"{what} for {endpoint.base_url} has no key in it, or more than one. "
            "It must hold the key and nothing else.",
            code="api_key",
        )
    return key


def _key_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            text = file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise ModelLoadError(
            f"The key file {path} cannot be read ({error.strerror}). Check its path and its owner.",
            code="api_key",
        ) from error
    if mode & 0o077:
        raise ModelLoadError(
            f"The key file {path} can be read by others (mode {mode:04o}). Run `chmod 600 {path}`.",
            code="api_key",
        )
    return text.decode("utf-8", errors="replace").strip()


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


def _info(
    spec: frames.LoadSpec, endpoint: Endpoint, listed: replies.ListedModel | None
) -> frames.ModelInfo:
    """Describe the model; 0 = the server does not tell."""
    meta = listed.meta if listed else None
    n_ctx = (listed.max_model_len if listed else None) or (meta.n_ctx if meta else 0)
    return frames.ModelInfo(
        model_path=endpoint.base_url,
        name=endpoint.model,
        architecture="remote",
        description=f"{endpoint.model} at {endpoint.base_url}",
        size_bytes=meta.size if meta else 0,
        n_params=meta.n_params if meta else 0,
        n_vocab=meta.n_vocab if meta else 0,
        n_ctx=spec.n_ctx or n_ctx,
        n_ctx_train=meta.n_ctx_train if meta else 0,
        n_embd=meta.n_embd if meta else 0,
        n_slots=spec.n_slots,
        n_threads=0,
        has_chat_template=True,
        can_rewind=True,
        load_s=0.0,
    )


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg'].lower()}" if place else first["msg"].lower()
