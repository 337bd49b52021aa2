"""RemoteEngine: an EngineClient whose engine is an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.mailbox import Mailbox
from luci_tui.errors import EngineError, ModelLoadError, RequestError, WorkerLostError
from luci_tui.manager import remote_errors
from luci_tui.manager import remote_replies as replies
from luci_tui.manager import remote_requests as requests
from luci_tui.manager.clock import Clock, SystemClock
from luci_tui.manager.entries import Dialect, Endpoint
from luci_tui.manager.places import Places
from luci_tui.manager.remote_server import RemoteServer, Reply

CHECK_S = 10.0
"""Longest health check."""


class RemoteEngine:
    """See `EngineClient` for the contract.

    A token id that a server does not tell is missing from `Delta.tokens`, and -1 in logprobs; a
    count that it does not tell is 0. `delivery_ms` is the server's own pace.
    """

    def __init__(self, endpoint: Endpoint, clock: Clock | None = None) -> None:
        """Make an engine that has not spoken to its server yet.

        Args:
            endpoint: Where the server is.
            clock: Where time comes from; None = this machine.
        """
        self.endpoint = endpoint
        self._clock = clock or SystemClock()
        self._places = Places(
            endpoint.base_url, endpoint.max_parallel, endpoint.idle_s, self._clock
        )
        self._server = RemoteServer(endpoint)
        self._info: frames.ModelInfo | None = None
        self._request_ids = itertools.count(1)
        self._running: dict[int, tuple[Mailbox, replies.Answer]] = {}
        self._n_answers = 0
        self._prompt_tokens_total = 0
        self._cached_tokens_total = 0
        self._completion_tokens_total = 0

    async def load(self, spec: LoadSpec) -> AsyncGenerator[frames.LoadProgress | frames.Loaded]:
        """Read the key, and ask the server for its models; see `EngineClient.load`."""
        await self.close()
        await self._server.connect()
        request_id = next(self._request_ids)
        yield frames.LoadProgress(request_id=request_id, fraction=0.0)
        try:
            listed = await self._server.find_model()
            n_ctx = spec.n_ctx or await self._n_ctx(listed)
        except (RequestError, WorkerLostError) as error:
            await self.close()
            raise ModelLoadError(error.message, code=error.code) from error
        except BaseException:
            await self.close()
            raise
        self._info = _info(n_ctx, self.endpoint, listed)
        yield frames.Loaded(request_id=request_id, info=self._info)

    async def _n_ctx(self, listed: replies.ListedModel | None) -> int:
        """Find out how much context the model has; 0 = the server does not tell.

        Another luci tells it of a model that is loaded, so it is asked for something small.
        """
        if self.endpoint.dialect is Dialect.LUCI:
            command = frames.Tokenize(request_id=0, text="")
            try:
                wanted = requests.tokenize_request(command, self.endpoint)
                found = await self._server.fetch(wanted, replies.Tokens, is_at_root=True)
            except RequestError:
                return 0  # an older one
            return found.max_model_len
        if listed is None:
            return 0
        return listed.max_model_len or (listed.meta.n_ctx if listed.meta else 0)

    async def check(self) -> None:
        """Ask the server whether it is there.

        Raises:
            EngineError: it is not, or it does not have the model.
        """
        try:
            async with asyncio.timeout(CHECK_S):
                await self._server.find_model()
        except TimeoutError as error:
            raise self._server.lost(f"said nothing for {CHECK_S:.0f} s", "timeout") from error

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        """Stream one answer; see `EngineClient.generate`."""
        info = self._loaded()
        wanted = requests.generate_request(request, self.endpoint)
        request_id = next(self._request_ids)
        mailbox, answer = Mailbox(), replies.Answer(self.endpoint, request, request_id, info.n_ctx)
        pump = asyncio.ensure_future(self._pump(wanted, mailbox, answer))
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
        self._loaded()
        request_id = next(self._request_ids)
        match command:
            case frames.Cancel():
                self._cancel(command.request_id)
                return frames.Acknowledged(request_id=command.request_id)
            case frames.Embed():
                wanted = requests.embed_request(command, self.endpoint)
                vectors = await self._fetch(wanted, replies.Vectors)
                n_texts = len(command.texts) + len(command.token_lists)
                return self._read(
                    request_id, lambda: vectors.embedded(n_texts, normalize=command.normalize)
                )
            case frames.Rerank():
                wanted = requests.rerank_request(command, self.endpoint)
                ranks = await self._fetch(wanted, replies.Ranks)
                return self._read(request_id, lambda: ranks.reranked(len(command.documents)))
            case frames.Tokenize():
                wanted = requests.tokenize_request(command, self.endpoint)
                found = await self._fetch(wanted, replies.Tokens, is_at_root=True)
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
        self._info = None
        await self._server.close()

    def _loaded(self) -> frames.ModelInfo:
        if self._info is None:
            raise ModelLoadError(
                f"No model is loaded in this engine ({self.endpoint.base_url}). Load one first.",
                code="not_loaded",
            )
        return self._info

    def _cancel(self, request_id: int) -> None:
        running = self._running.get(request_id)
        if running is not None and not running[0].has_ended:
            mailbox, answer = running
            mailbox.put(answer.end(frames.FinishReason.CANCELLED, frames.Timings()))

    async def _fetch(
        self, wanted: requests.RemoteRequest, shape: type[Reply], *, is_at_root: bool = False
    ) -> Reply:
        async with self._places.one():
            return await self._server.fetch(wanted, shape, is_at_root=is_at_root)

    async def _pump(
        self, wanted: requests.RemoteRequest, mailbox: Mailbox, answer: replies.Answer
    ) -> None:
        """Put what the server says into the mailbox, and always an end."""
        try:
            async with self._places.one():
                if not mailbox.has_ended:
                    await self._stream(wanted, mailbox, answer)
        except EngineError as error:
            mailbox.fail(error)
        finally:
            # Does nothing after any other end; without one, somebody would wait forever.
            mailbox.fail(self._server.lost("was left in the middle of the answer"))

    async def _stream(
        self, wanted: requests.RemoteRequest, mailbox: Mailbox, answer: replies.Answer
    ) -> None:
        started_s = self._clock.now()
        first_s = 0.0
        async with aclosing(self._server.stream(wanted)) as chunks:
            async for chunk in chunks:
                delta = answer.take(chunk)
                if delta is not None and not mailbox.has_ended:
                    first_s = first_s or self._clock.now()
                    mailbox.put(delta)
        if answer.finish_reason is None:
            words = "closed the connection in the middle of the answer"
            raise self._server.lost(words)
        if not mailbox.has_ended:
            ended_s = self._clock.now()
            ttft_s = (first_s or ended_s) - started_s
            mailbox.put(answer.done(ttft_s, ended_s - started_s))

    def _read(
        self, request_id: int, make: Callable[[], frames.Embedded | frames.Reranked]
    ) -> frames.Event:
        try:
            return make().model_copy(update={"request_id": request_id})
        except ValueError as error:
            raise remote_errors.broken(self.endpoint, str(error)) from error

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
            n_queued=self._places.n_waiting,
            n_steps=self._n_answers,
            prompt_tokens_total=self._prompt_tokens_total,
            cached_tokens_total=self._cached_tokens_total,
            completion_tokens_total=self._completion_tokens_total,
            rss_bytes=0,
        )


def _info(n_ctx: int, endpoint: Endpoint, listed: replies.ListedModel | None) -> frames.ModelInfo:
    """Describe the model; 0 = the server does not tell."""
    meta = listed.meta if listed else None
    return frames.ModelInfo(
        model_path=endpoint.base_url,
        name=endpoint.model,
        architecture="remote",
        description=f"{endpoint.model} at {endpoint.base_url}",
        size_bytes=meta.size if meta else 0,
        n_params=meta.n_params if meta else 0,
        n_vocab=meta.n_vocab if meta else 0,
        n_ctx=n_ctx,
        n_ctx_train=meta.n_ctx_train if meta else 0,
        n_embd=meta.n_embd if meta else 0,
        n_slots=endpoint.max_parallel,
        n_threads=0,
        has_chat_template=True,
        can_rewind=True,
        load_s=0.0,
    )
