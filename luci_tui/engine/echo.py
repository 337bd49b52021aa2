"""EchoEngine: an EngineClient without a model, which says the last user text back, word by word.

It keeps the whole contract of the worker: usage, limits, stop strings, cancel, refusals. A token
here is one byte of UTF-8 with its value as id, so counts can be foreseen.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import math
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

from pydantic import BaseModel, TypeAdapter, ValidationError

from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.media import refuse_media
from luci_tui.errors import ModelLoadError, RequestError

DEFAULT_N_CTX = 4096
"""What n_ctx 0 stands for."""
N_EMBD = 16
_N_VOCAB = 256


async def _no_pause() -> None:
    """Let other tasks run."""
    await asyncio.sleep(0)


class EchoEngine:
    """See `EngineClient` for the contract.

    With `ignore_eos` it says the text again and again, until a limit ends it.

    Args:
        pause: Awaited before each word, so that a test or a demonstration sets the pace.
        clock: Seconds, for the timings.
    """

    def __init__(
        self,
        pause: Callable[[], Awaitable[None]] = _no_pause,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._pause = pause
        self._clock = clock
        self._spec: LoadSpec | None = None
        self._request_ids = itertools.count(1)
        self._running: set[int] = set()
        self._cancelled: set[int] = set()
        self._n_steps = 0
        self._prompt_tokens_total = 0
        self._completion_tokens_total = 0

    async def load(self, spec: LoadSpec) -> AsyncGenerator[frames.LoadProgress | frames.Loaded]:
        """Pretend to load; any path will do."""
        self._spec = None
        request_id = next(self._request_ids)
        for fraction in (0.0, 0.5, 1.0):
            await self._pause()
            yield frames.LoadProgress(request_id=request_id, fraction=fraction)
        self._spec = spec
        yield frames.Loaded(request_id=request_id, info=_model_info(spec))

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        """Say the last user text back."""
        spec = self._loaded()
        _check_request(request, spec)
        text, prompt_tokens = _prompt(request)
        n_ctx = spec.n_ctx or DEFAULT_N_CTX
        prompt_tokens, dropped_tokens = _fit(request, prompt_tokens, n_ctx)
        limit = n_ctx - prompt_tokens
        if request.max_tokens >= 0:
            limit = min(limit, request.max_tokens)
        if request.sampling.ignore_eos:
            text = f"{text or 'echo'} " * (limit // (len(text) + 1) + 1)
        words, reason, stop_text = _cut(text, request.stop, limit)
        if request.max_tokens == 0:
            reason = frames.FinishReason.LENGTH
        request_id = next(self._request_ids)
        self._running.add(request_id)
        started = self._clock()
        first = started
        n_tokens = 0
        try:
            if request.prompt_logprobs:
                scores = _prompt_logprobs(request)
                yield frames.Delta(request_id=request_id, prompt_logprobs=scores)
            for word in words:
                await self._pause()
                if request_id in self._cancelled:
                    reason, stop_text = frames.FinishReason.CANCELLED, ""
                    break
                self._n_steps += 1
                first = first if n_tokens else self._clock()
                tokens = tuple(word.encode())
                n_tokens += len(tokens)
                logprobs = _logprobs(tokens) if request.sampling.n_logprobs else ()
                yield frames.Delta(
                    request_id=request_id, text=word, tokens=tokens, logprobs=logprobs
                )
        finally:
            self._running.discard(request_id)
            self._cancelled.discard(request_id)
            self._prompt_tokens_total += prompt_tokens
            self._completion_tokens_total += n_tokens
        yield frames.Done(
            request_id=request_id,
            finish_reason=reason,
            stop_text=stop_text,
            usage=frames.Usage(
                prompt_tokens=prompt_tokens,
                completion_tokens=n_tokens,
                dropped_tokens=dropped_tokens,
                n_ctx=n_ctx,
            ),
            timings=frames.Timings(
                ttft_ms=(first - started) * 1000, decode_ms=(self._clock() - first) * 1000
            ),
            seed=request.sampling.seed or 0,
        )

    async def ask(self, command: frames.Command) -> frames.Event:
        """Answer at once."""
        spec = self._loaded()
        await self._pause()
        if isinstance(command, frames.Cancel):
            if command.request_id in self._running:
                self._cancelled.add(command.request_id)
            return frames.Acknowledged(request_id=command.request_id)
        request_id = next(self._request_ids)
        match command:
            case frames.Embed():
                return _embed(command, spec, request_id)
            case frames.Rerank():
                return _rerank(command, spec, request_id)
            case frames.Tokenize():
                return _tokenized(command, request_id)
            case frames.Detokenize():
                return _detokenized(command, request_id)
            case frames.StateFile():
                raise RequestError(
                    f"The echo engine has no KV cache for {command.path}. Load a real model.",
                    code="invalid_state",
                )
            case frames.Bench():
                rates = (1000.0,) * command.repetitions
                return frames.BenchResult(
                    request_id=request_id, prefill_tokens_per_s=rates, decode_tokens_per_s=rates
                )
            case frames.Status():
                return self._status(spec, request_id)
            case _:
                msg = f"{command.kind} has a method of its own"
                raise ValueError(msg)

    async def close(self) -> None:
        """Cancel what runs and forget the model."""
        self._cancelled |= self._running
        self._spec = None

    def _loaded(self) -> LoadSpec:
        if self._spec is None:
            raise ModelLoadError(
                f"No model is loaded in this engine ({type(self).__name__}). Load one first.",
                code="not_loaded",
            )
        return self._spec

    def _status(self, spec: LoadSpec, request_id: int) -> frames.StatusReport:
        n_running = len(self._running)
        return frames.StatusReport(
            request_id=request_id,
            slots=tuple(
                frames.SlotStatus(
                    slot=slot, state="decode" if slot < n_running else "idle", n_cached=0
                )
                for slot in range(spec.n_slots)
            ),
            n_queued=max(0, n_running - spec.n_slots),
            n_steps=self._n_steps,
            prompt_tokens_total=self._prompt_tokens_total,
            cached_tokens_total=0,
            completion_tokens_total=self._completion_tokens_total,
            rss_bytes=0,
        )


def _model_info(spec: LoadSpec) -> frames.ModelInfo:
    return frames.ModelInfo(
        model_path=spec.model_path,
        name="echo",
        architecture="echo",
        description="says the last user text back",
        size_bytes=0,
        n_params=0,
        n_vocab=_N_VOCAB,
        n_ctx=spec.n_ctx or DEFAULT_N_CTX,
        n_ctx_train=DEFAULT_N_CTX,
        n_embd=N_EMBD,
        n_slots=spec.n_slots,
        n_threads=1,
        has_chat_template=True,
        can_rewind=True,
        load_s=0.0,
    )


def _check_request(request: frames.Generate, spec: LoadSpec) -> None:
    """Refuse what the native core refuses."""
    sources = (request.prompt, request.tokens, request.messages_json)
    n_sources = sum(source is not None for source in sources)
    if n_sources != 1:
        raise RequestError(
            "A request needs exactly one of prompt, tokens and messages; "
            f"{n_sources} were given. Send one.",
            code="invalid_request",
        )
    if spec.embedding:
        raise RequestError(
            f"{spec.model_path} was loaded for embeddings and generates no text. "
            "Load it without embedding.",
            code="invalid_request",
        )
    refuse_media(request.messages_json)
    if request.suffix is not None:
        raise RequestError(
            f"{spec.model_path} has no tokens to fill in text with. Leave suffix out.",
            code="no_fill_in",
        )
    _check_tokens(request.tokens or ())
    sampling = request.sampling
    if sampling.grammar and not re.search(r"^\s*root\s*::=\s*\S", sampling.grammar, re.MULTILINE):
        raise RequestError(
            f"The grammar of {len(sampling.grammar)} characters has no root rule. "
            "Add a line `root ::= …`.",
            code="invalid_grammar",
        )
    if sampling.json_schema:
        try:
            json.loads(sampling.json_schema)
        except ValueError as error:
            raise RequestError(
                f"The JSON schema cannot be used: {error}. Correct it and send it again.",
                code="invalid_schema",
            ) from error


def _check_tokens(tokens: Iterable[int]) -> None:
    unknown = [token for token in tokens if not 0 <= token < _N_VOCAB]
    if unknown:
        raise RequestError(
            f"There is no token {unknown[0]}; the vocabulary ends at {_N_VOCAB - 1}.",
            code="invalid_token",
        )


def _byte_text(token: int) -> str:
    return bytes([token]).decode("utf-8", errors="replace")


def _logprobs(tokens: Iterable[int]) -> tuple[frames.TokenLogprob, ...]:
    """Be as sure of every token as a model can be."""
    return tuple(
        frames.TokenLogprob(
            token=token, text=_byte_text(token), logprob=0.0, top=((token, _byte_text(token), 0.0),)
        )
        for token in tokens
    )


def _prompt_logprobs(request: frames.Generate) -> tuple[frames.PromptLogprob, ...]:
    if request.tokens is not None:
        data = bytes(request.tokens)
    else:
        data = (request.prompt or request.messages_json or "").encode()
    n_before = 0
    scores: list[frames.PromptLogprob] = []
    for index, one in enumerate(_logprobs(data)):
        fields = one.model_dump(include={"token", "text", *(("logprob", "top") if index else ())})
        scores.append(frames.PromptLogprob(offset=n_before, **fields))
        # A character is complete with its last byte.
        n_before = len(data[: index + 1].decode("utf-8", errors="ignore"))
    return tuple(scores)


def _tokenized(command: frames.Tokenize, request_id: int) -> frames.Tokenized:
    tokens = tuple(command.text.encode())
    pieces = (chr(token) if token < 128 else (token,) for token in tokens)
    return frames.Tokenized(
        request_id=request_id, tokens=tokens, pieces=tuple(pieces) if command.with_pieces else ()
    )


def _detokenized(command: frames.Detokenize, request_id: int) -> frames.Detokenized:
    _check_tokens(command.tokens)
    data = bytes(command.tokens)
    text = data.decode("utf-8", errors="replace")
    invalid = command.tokens if text.encode() != data else ()
    return frames.Detokenized(request_id=request_id, text=text, invalid_bytes=invalid)


def _prompt(request: frames.Generate) -> tuple[str, int]:
    """Give (the text to say back, the tokens of the prompt)."""
    if request.prompt is not None:
        return request.prompt, len(request.prompt.encode())
    if request.tokens is not None:
        return bytes(request.tokens).decode("utf-8", errors="replace"), len(request.tokens)
    data = (request.messages_json or "").encode()
    try:
        messages = _messages_adapter.validate_json(data)
    except ValidationError as error:
        raise RequestError(
            f"The {len(data)} bytes of messages are no list of chat messages. "
            "Each needs a role and a content.",
            code="invalid_request",
        ) from error
    texts = [message.text() for message in messages if message.role == "user"]
    return texts[-1] if texts else "", len(data)


class _Part(BaseModel):
    text: str = ""


class _Message(BaseModel):
    role: str
    content: str | list[_Part] = ""

    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


_messages_adapter = TypeAdapter(list[_Message])


def _fit(request: frames.Generate, prompt_tokens: int, n_ctx: int) -> tuple[int, int]:
    """Give (prompt tokens, dropped tokens) once the prompt leaves room for an answer."""
    if prompt_tokens + (request.max_tokens != 0) <= n_ctx:
        return prompt_tokens, 0
    if request.context_policy is frames.ContextPolicy.REFUSE or request.prompt_logprobs:
        raise RequestError(
            f"The prompt has {prompt_tokens} tokens and the context holds {n_ctx}. "
            "Shorten the prompt or load the model with a larger n_ctx.",
            code="context_length_exceeded",
        )
    kept = n_ctx // 2
    return kept, prompt_tokens - kept


def _cut(
    text: str, stop: tuple[str, ...], limit: int
) -> tuple[list[str], frames.FinishReason, str]:
    """Give (the words to say, why they end, the stop string that was met)."""
    reason, stop_text = frames.FinishReason.STOP, ""
    found = [(text.find(word), word) for word in stop if word and word in text]
    if found:
        end, stop_text = min(found)
        text = text[:end]
    data = text.encode()
    if len(data) > limit:
        # A character that would be cut is left out whole, as the native core does.
        text = data[:limit].decode("utf-8", errors="ignore")
        reason, stop_text = frames.FinishReason.LENGTH, ""
    return re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text), reason, stop_text


def _vector(data: bytes, *, normalize: bool) -> tuple[float, ...]:
    """Make N_EMBD numbers from a text, the same ones every time."""
    digest = hashlib.sha256(data).digest()
    values = [byte / 127.5 - 1.0 for byte in digest[:N_EMBD]]
    length = math.sqrt(sum(value * value for value in values)) if normalize else 1.0
    return tuple(value / length for value in values)


def _embed(command: frames.Embed, spec: LoadSpec, request_id: int) -> frames.Embedded:
    _need_embedding(spec)
    for tokens in command.token_lists:
        _check_tokens(tokens)
    inputs = [text.encode() for text in command.texts] or [*map(bytes, command.token_lists)]
    return frames.Embedded(
        request_id=request_id,
        vectors=tuple(_vector(data, normalize=command.normalize) for data in inputs),
        prompt_tokens=sum(map(len, inputs)),
    )


def _rerank(command: frames.Rerank, spec: LoadSpec, request_id: int) -> frames.Reranked:
    _need_embedding(spec)
    query = set(command.query.split())
    scores = tuple(float(len(query & set(text.split()))) for text in command.documents)
    texts = (command.query, *command.documents)
    return frames.Reranked(
        request_id=request_id,
        scores=scores,
        prompt_tokens=sum(len(text.encode()) for text in texts),
    )


def _need_embedding(spec: LoadSpec) -> None:
    if not spec.embedding:
        raise RequestError(
            f"{spec.model_path} was not loaded for embeddings. Load it with embedding on.",
            code="invalid_request",
        )
