"""POST /v1/completions: text goes on where the prompt ends, without a template."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from luci_tui.engine import frames
from luci_tui.host.openai import choices, sse
from luci_tui.host.openai.answers import Session, merge_sampling, open_session
from luci_tui.host.openai.chat_request import (
    Stops,
    StreamOptions,
    check_choices,
    numbered,
    stops,
    user_of,
)
from luci_tui.host.openai.errors import invalid_request
from luci_tui.host.openai.parameters import (
    HARMLESS,
    MAX_INT,
    Natural,
    Positive,
    SamplingFields,
    read_request,
)
from luci_tui.host.openai.replies import head, usage
from luci_tui.host.openai.security import client_of
from luci_tui.host.openai.services import Services

DEFAULT_MAX_TOKENS = 16
"""Source: OpenAI's API reference, "Create completion"."""
MAX_LOGPROBS = 20
_PREFIX = "cmpl"

Token = Annotated[int, Field(ge=0, le=MAX_INT)]
TokenList = Annotated[list[Token], Field(min_length=1)]
TokenLists = Annotated[list[TokenList], Field(min_length=1)]
Texts = Annotated[list[str], Field(min_length=1)]


class CompletionRequest(SamplingFields):
    """The body of POST /v1/completions."""

    model: str = Field(min_length=1, max_length=1024)
    prompt: str | TokenList | Texts | TokenLists
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Natural = DEFAULT_MAX_TOKENS
    n: Positive = 1
    stop: Stops | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    echo: bool = False
    cache_prompt: bool = True
    """False = compute the whole prompt, whatever a KV cache holds of it."""
    suffix: str | None = None
    best_of: Positive | None = None

    def prompts(self) -> list[str | list[int]]:
        """Return the prompts, each a text or a list of tokens."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        # A list of numbers is one prompt, a list of anything else is several.
        if self.prompt and isinstance(self.prompt[0], int):
            return [[token for token in self.prompt if isinstance(token, int)]]
        return [part for part in self.prompt if not isinstance(part, int)]


def router(services: Services) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.post("/v1/completions")
    async def completions(request: Request) -> Response:
        asked = read_completion(request, services.settings.max_choices)
        client = client_of(request, user_of(request))
        if asked.stream:
            return await sse.EventStream.opened(_stream(services, asked, client))
        return JSONResponse(await _complete(services, asked, client))

    return routes


def read_completion(request: Request, max_choices: int) -> CompletionRequest:
    """Return the request.

    Raises:
        ApiError: 400.
    """
    asked = read_request(request, CompletionRequest, ignored=HARMLESS)
    check_choices(asked.n * len(asked.prompts()), max_choices, "n" if asked.n > 1 else "prompt")
    if asked.stream_options is not None and not asked.stream:
        msg = 'stream_options needs a stream. Send `"stream": true` too.'
        raise invalid_request(msg, param="stream_options")
    if asked.best_of not in (None, asked.n):
        msg = "best_of other than n is not supported by luci. Ask for n answers and choose."
        raise invalid_request(msg, param="best_of", code="unsupported_parameter")
    if asked.suffix:
        _check_suffix(asked)
    return asked


def _check_suffix(asked: CompletionRequest) -> None:
    if not all(isinstance(prompt, str) for prompt in asked.prompts()):
        msg = "suffix needs a prompt that is text. Send the prompt as text."
        raise invalid_request(msg, param="suffix")
    if asked.echo and asked.logprobs is not None:
        msg = "suffix cannot be combined with echo and logprobs. Leave one of the three out."
        raise invalid_request(msg, param="suffix", code="unsupported_parameter")


@dataclass
class _Text:
    """One answer as far as it has come."""

    text: str = ""
    """At first the prompt, where it is echoed."""
    tokens: list[str] = field(default_factory=list[str])
    token_logprobs: list[float | None] = field(default_factory=list[float | None])
    top_logprobs: list[dict[str, float] | None] = field(
        default_factory=list[dict[str, float] | None]
    )
    text_offset: list[int] = field(default_factory=list[int])
    _end: int = field(init=False)
    """Where the next token of the answer begins."""

    def __post_init__(self) -> None:
        self._end = len(self.text)

    def add(self, event: frames.Delta, n_top: int) -> None:
        """Take in one event."""
        self.text += event.text
        for one in event.prompt_logprobs:
            self._add_token(one, one.offset, n_top)
        for one in event.logprobs:
            self._add_token(one, self._end, n_top)
            self._end += len(one.text)

    def _add_token(
        self, one: frames.TokenLogprob | frames.PromptLogprob, offset: int, n_top: int
    ) -> None:
        self.tokens.append(one.text)
        self.token_logprobs.append(one.logprob)
        self.top_logprobs.append(_rivals(one, n_top))
        self.text_offset.append(offset)

    def logprobs(self, first: int = 0) -> dict[str, object]:
        """Return the tokens from the `first` one on, as completions write them."""
        return {
            "tokens": self.tokens[first:],
            "token_logprobs": self.token_logprobs[first:],
            "top_logprobs": self.top_logprobs[first:],
            "text_offset": self.text_offset[first:],
        }


def _rivals(one: frames.TokenLogprob | frames.PromptLogprob, n_top: int) -> dict[str, float] | None:
    """Return the likeliest tokens and the token itself, as OpenAI does.

    Of tokens that read alike, such as parts of a character, the likeliest counts.
    """
    if one.logprob is None:
        return None
    rivals: dict[str, float] = {}
    for _, text, logprob in one.top[:n_top]:
        rivals.setdefault(text, logprob)
    rivals.setdefault(one.text, one.logprob)
    return rivals


def _choice(
    index: int,
    text: str,
    *,
    logprobs: dict[str, object] | None = None,
    finish_reason: str | None = None,
) -> dict[str, object]:
    return {
        "index": index,
        "text": text,
        "logprobs": logprobs,
        "finish_reason": finish_reason,
    }


async def _complete(services: Services, asked: CompletionRequest, client: str) -> dict[str, object]:
    ended: dict[int, frames.Done] = {}
    async with open_session(services, asked.model, client, _n_answers(asked), "prompt") as session:
        texts = await _texts(asked, session)
        async with aclosing(choices.stream(session, _commands(asked, session))) as events:
            async for index, event in events:
                if isinstance(event, frames.Delta):
                    texts[index].add(event, asked.logprobs or 0)
                elif isinstance(event, frames.Done):
                    ended[index] = event
    made = [
        _choice(
            index,
            text.text,
            logprobs=None if asked.logprobs is None else text.logprobs(),
            finish_reason=ended[index].finish_reason.value,
        )
        for index, text in enumerate(texts)
    ]
    return {
        **head("text_completion", _PREFIX, session.answering.name),
        "choices": made,
        "usage": usage([ended[index] for index in sorted(ended)], asked.n),
    }


def _piece(n_top: int, index: int, text: _Text, event: frames.Delta) -> dict[str, object]:
    """Return what one event adds to an answer that has logprobs."""
    first = len(text.tokens)
    text.add(event, n_top)
    return _choice(index, event.text, logprobs=text.logprobs(first))


def _text_events(top: dict[str, object], index: int) -> sse.TextEvents:
    """Return the events of an answer that are nothing but text."""
    return sse.TextEvents(lambda text: {**top, "choices": [_choice(index, text)]})


def _n_answers(asked: CompletionRequest) -> int:
    return asked.n * len(asked.prompts())


async def _texts(asked: CompletionRequest, session: Session) -> list[_Text]:
    """Return an empty answer for each choice, or the prompt where it is echoed."""
    echoed = [
        await _prompt_text(prompt, session) if asked.echo else "" for prompt in asked.prompts()
    ]
    return [_Text(text) for text in echoed for _ in range(asked.n)]


async def _prompt_text(prompt: str | list[int], session: Session) -> str:
    if isinstance(prompt, str):
        return prompt
    event = await session.ask(frames.Detokenize(request_id=0, tokens=tuple(prompt)))
    if not isinstance(event, frames.Detokenized):
        msg = f"the engine answered detokenize with {type(event).__name__}"
        raise RuntimeError(msg)
    return event.text


def _commands(asked: CompletionRequest, session: Session) -> list[frames.Generate]:
    n_logprobs = 0 if asked.logprobs is None else max(1, asked.logprobs)
    sampling = merge_sampling(session.lease.entry.sampling, asked.sampling(n_logprobs=n_logprobs))
    commands: list[frames.Generate] = []
    for prompt in asked.prompts():
        command = frames.Generate(
            request_id=0,
            prompt=prompt if isinstance(prompt, str) else None,
            suffix=asked.suffix or None,
            tokens=None if isinstance(prompt, str) else tuple(prompt),
            max_tokens=asked.max_tokens,
            prompt_logprobs=asked.echo and asked.logprobs is not None,
            stop=stops(asked.stop),
            sampling=sampling,
            cache_prompt=asked.cache_prompt,
        )
        commands += [numbered(command, index) for index in range(asked.n)]
    return commands


async def _stream(
    services: Services, asked: CompletionRequest, client: str
) -> AsyncGenerator[bytes]:
    has_usage = asked.stream_options is not None and asked.stream_options.include_usage
    ended: dict[int, frames.Done] = {}
    started: set[int] = set()
    async with open_session(services, asked.model, client, _n_answers(asked), "prompt") as session:
        texts = await _texts(asked, session)
        top = head("text_completion", _PREFIX, session.answering.name)
        if has_usage:
            top["usage"] = None
        plain = [_text_events(top, index) for index in range(len(texts))]
        async with aclosing(choices.stream(session, _commands(asked, session))) as events:
            async for index, event in events:
                if isinstance(event, frames.PromptProgress):
                    yield sse.progress(event)
                    continue
                if index not in started:
                    started.add(index)
                    if asked.echo:
                        yield sse.data({**top, "choices": [_choice(index, texts[index].text)]})
                if isinstance(event, frames.Done):
                    ended[index] = event
                    end = _choice(index, "", finish_reason=event.finish_reason.value)
                    yield sse.data({**top, "choices": [end]})
                elif asked.logprobs is None:
                    yield plain[index].event(event.text)
                else:
                    piece = _piece(asked.logprobs, index, texts[index], event)
                    yield sse.data({**top, "choices": [piece]})
    if has_usage:
        done = [ended[index] for index in sorted(ended)]
        yield sse.data({**top, "choices": [], "usage": usage(done, asked.n)})
    yield sse.DONE
