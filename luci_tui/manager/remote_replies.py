"""Read what an OpenAI-compatible server answers into frames; none of it is trusted."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field

from luci_tui.engine import frames
from luci_tui.errors import RequestError
from luci_tui.manager.entries import Endpoint
from luci_tui.manager.remote_errors import clean

UNKNOWN_TOKEN = -1
"""Id of a token whose id the server does not tell."""
_FINISH_REASONS = {
    "stop": frames.FinishReason.STOP,
    "eos": frames.FinishReason.STOP,
    "length": frames.FinishReason.LENGTH,
    "tool_calls": frames.FinishReason.TOOL_CALLS,
    "function_call": frames.FinishReason.TOOL_CALLS,
}


class Reply(BaseModel):
    """Base of what is read: fields that luci has no use for are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Function(Reply):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(Reply):
    index: int = 0
    id: str | None = None
    function: _Function = _Function()


class _Message(Reply):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[_ToolCall, ...] | None = None


class _Rival(Reply):
    id: int = UNKNOWN_TOKEN
    token: str
    logprob: float


class _Token(_Rival):
    top_logprobs: tuple[_Rival, ...] = ()


class _Logprobs(Reply):
    content: tuple[_Token, ...] | None = None
    """As chat answers have them."""
    tokens: tuple[str, ...] = ()
    """This and the next two: as raw completions have them."""
    token_logprobs: tuple[float | None, ...] = ()
    top_logprobs: tuple[dict[str, float] | None, ...] | None = None


class _Choice(Reply):
    index: int = 0
    delta: _Message = _Message()
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    """vLLM: the stop string or token that was met."""
    logprobs: _Logprobs | None = None


class _PromptDetails(Reply):
    cached_tokens: int | None = None


class _Usage(Reply):
    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(default=0, ge=0)
    total_tokens: int = Field(default=0, ge=0)
    prompt_tokens_details: _PromptDetails | None = None


class _Timings(Reply):
    """llama-server's own."""

    prompt_ms: float = 0.0
    predicted_ms: float = 0.0


class Chunk(Reply):
    """One event of a stream."""

    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    timings: _Timings | None = None
    error: object = None


class _ModelMeta(Reply):
    n_vocab: int = 0
    n_ctx: int = 0
    n_ctx_train: int = 0
    n_embd: int = 0
    n_params: int = 0
    size: int = 0


class ListedModel(Reply):
    """One model of a server's list."""

    id: str
    max_model_len: int | None = None
    """vLLM: tokens of context."""
    meta: _ModelMeta | None = None
    """llama-server's own."""


class ModelList(Reply):
    """What a server has."""

    data: tuple[ListedModel, ...]


class _Vector(Reply):
    index: int
    embedding: tuple[float, ...]


class Vectors(Reply):
    """Answer to a request for vectors."""

    data: tuple[_Vector, ...]
    usage: _Usage = _Usage()

    def embedded(self, n_texts: int, *, normalize: bool) -> frames.Embedded:
        """Put the vectors into the order of the texts; ValueError = there is not one for each."""
        by_index = {one.index: one.embedding for one in self.data}
        if sorted(by_index) != list(range(n_texts)):
            msg = f"it has {len(by_index)} vectors for {n_texts} texts"
            raise ValueError(msg)
        vectors = [by_index[index] for index in range(n_texts)]
        return frames.Embedded(
            request_id=0,
            vectors=tuple(_unit(one) for one in vectors) if normalize else tuple(vectors),
            prompt_tokens=self.usage.prompt_tokens or self.usage.total_tokens,
        )


class _Rank(Reply):
    index: int
    relevance_score: float


class Ranks(Reply):
    """Answer to a request for scores."""

    results: tuple[_Rank, ...]
    usage: _Usage = _Usage()

    def reranked(self, n_documents: int) -> frames.Reranked:
        """Put the scores into the order of the documents; ValueError = some have none."""
        by_index = {one.index: one.relevance_score for one in self.results}
        if sorted(by_index) != list(range(n_documents)):
            msg = f"it has {len(by_index)} scores for {n_documents} documents"
            raise ValueError(msg)
        return frames.Reranked(
            request_id=0,
            scores=tuple(by_index[index] for index in range(n_documents)),
            prompt_tokens=self.usage.prompt_tokens or self.usage.total_tokens,
        )


class Tokens(Reply):
    """Answer to a request for token ids."""

    tokens: tuple[int, ...]
    max_model_len: int = 0
    """luci: tokens of context per slot."""


class Answer:
    """Collects the chunks of one answer: gives deltas as they come, and Done at the end."""

    def __init__(
        self, endpoint: Endpoint, request: frames.Generate, request_id: int, n_ctx: int
    ) -> None:
        self._endpoint = endpoint
        self._request = request
        self._request_id = request_id
        self._n_ctx = n_ctx
        self._usage = _Usage()
        self._timings: _Timings | None = None
        self.finish_reason: str | None = None
        """As the server named it; None = it has not ended the answer."""
        self._stop_text = ""

    def take(self, chunk: Chunk) -> frames.Delta | None:
        """Read one chunk; None = it has nothing to show."""
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.timings is not None:
            self._timings = chunk.timings
        for choice in chunk.choices:
            if choice.index == 0:
                return self._delta(choice)
        return None

    def done(self, ttft_s: float, total_s: float) -> frames.Done:
        """Say how the answer ended.

        Args:
            ttft_s: From sending the request to its first token.
            total_s: From sending the request to its end.

        Raises:
            RequestError: the server ended it for a reason that leaves it incomplete.
        """
        reason = _FINISH_REASONS.get(self.finish_reason or "")
        if reason is None:
            why = clean(self.finish_reason or "")
            raise RequestError(
                f"{self._endpoint.base_url} ended the answer early ({why}). "
                "What came stays; ask in other words, or ask another model.",
                code="content_filter" if self.finish_reason == "content_filter" else "incomplete",
            )
        timings = self._timings
        return self.end(
            reason,
            frames.Timings(
                prefill_ms=timings.prompt_ms if timings else ttft_s * 1000,
                decode_ms=timings.predicted_ms if timings else (total_s - ttft_s) * 1000,
                ttft_ms=ttft_s * 1000,
            ),
        )

    def end(self, reason: frames.FinishReason, timings: frames.Timings) -> frames.Done:
        """Make the last event; counts that the server did not tell are 0."""
        details = self._usage.prompt_tokens_details
        return frames.Done(
            request_id=self._request_id,
            finish_reason=reason,
            stop_text=self._stop_text,
            usage=frames.Usage(
                prompt_tokens=self._usage.prompt_tokens,
                cached_tokens=(details.cached_tokens or 0) if details else 0,
                completion_tokens=self._usage.completion_tokens,
                n_ctx=self._n_ctx,
            ),
            timings=timings,
            seed=self._request.sampling.seed or 0,
        )

    def _delta(self, choice: _Choice) -> frames.Delta | None:
        if choice.finish_reason is not None:
            self.finish_reason = choice.finish_reason
            if isinstance(choice.stop_reason, str):
                self._stop_text = choice.stop_reason
        message = choice.delta
        delta = frames.Delta(
            request_id=self._request_id,
            text=choice.text or message.content or "",
            reasoning=message.reasoning_content or message.reasoning or "",
            tool_calls=tuple(_tool_call(call) for call in message.tool_calls or ()),
            logprobs=() if choice.logprobs is None else _logprobs(choice.logprobs),
        )
        has_news = delta.text or delta.reasoning or delta.tool_calls or delta.logprobs
        return delta if has_news else None


def _tool_call(call: _ToolCall) -> frames.ToolCallDelta:
    return frames.ToolCallDelta(
        index=call.index,
        id=call.id or "",
        name=call.function.name or "",
        arguments=call.function.arguments or "",
    )


def _logprobs(logprobs: _Logprobs) -> tuple[frames.TokenLogprob, ...]:
    if logprobs.content is not None:
        return tuple(
            frames.TokenLogprob(
                token=one.id,
                text=one.token,
                logprob=one.logprob,
                top=tuple((rival.id, rival.token, rival.logprob) for rival in one.top_logprobs),
            )
            for one in logprobs.content
        )
    rivals = logprobs.top_logprobs or ()
    found: list[frames.TokenLogprob] = []
    for index, (text, logprob) in enumerate(
        zip(logprobs.tokens, logprobs.token_logprobs, strict=False)
    ):
        others = (rivals[index] if index < len(rivals) else None) or {}
        top = sorted(others.items(), key=lambda one: -one[1])
        found.append(
            frames.TokenLogprob(
                token=UNKNOWN_TOKEN,
                text=text,
                logprob=0.0 if logprob is None else logprob,
                top=tuple((UNKNOWN_TOKEN, word, value) for word, value in top),
            )
        )
    return tuple(found)


def _unit(vector: tuple[float, ...]) -> tuple[float, ...]:
    length = math.sqrt(sum(value * value for value in vector))
    return vector if length == 0 else tuple(value / length for value in vector)
