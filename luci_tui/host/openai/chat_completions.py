"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from luci_tui.engine import frames
from luci_tui.host.openai import choices, sse
from luci_tui.host.openai.answers import Prompt, chat_command, open_session
from luci_tui.host.openai.chat_request import ChatRequest, numbered, prompt_of, read_chat
from luci_tui.host.openai.replies import head, logprob_item, usage
from luci_tui.host.openai.services import EntryView, Services

_PREFIX = "chatcmpl"


def router(services: Services) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        asked = read_chat(request, services.settings.max_choices)
        prompt = prompt_of(request, asked)
        if asked.stream:
            return await sse.EventStream.opened(_stream(services, asked, prompt))
        return JSONResponse(await _complete(services, asked, prompt))

    return routes


@dataclass
class Reply:
    """One answer as far as it has come."""

    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    tool_calls: dict[int, frames.ToolCallDelta] = field(
        default_factory=dict[int, frames.ToolCallDelta]
    )
    logprobs: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    done: frames.Done | None = None

    def add(self, event: frames.GenerateEvent, n_top: int) -> None:
        """Take in one event."""
        match event:
            case frames.PromptProgress():
                pass
            case frames.Done():
                self.done = event
            case frames.Delta():
                self.text.append(event.text)
                self.reasoning.append(event.reasoning)
                self.logprobs += [logprob_item(one, n_top) for one in event.logprobs]
                for call in event.tool_calls:
                    self._add_call(call)

    def _add_call(self, call: frames.ToolCallDelta) -> None:
        so_far = self.tool_calls.get(call.index) or frames.ToolCallDelta(index=call.index)
        self.tool_calls[call.index] = frames.ToolCallDelta(
            index=call.index,
            id=so_far.id + call.id,
            name=so_far.name + call.name,
            arguments=so_far.arguments + call.arguments,
        )

    def choice(self, index: int, *, has_logprobs: bool) -> dict[str, object]:
        """Return it as an element of `choices`."""
        message: dict[str, object] = {
            "role": "assistant",
            "content": "".join(self.text),
            "refusal": None,
        }
        reasoning = "".join(self.reasoning)
        if reasoning:
            message["reasoning_content"] = reasoning
        if self.tool_calls:
            message["content"] = message["content"] or None
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for _, call in sorted(self.tool_calls.items())
            ]
        return {
            "index": index,
            "message": message,
            "logprobs": {"content": self.logprobs, "refusal": None} if has_logprobs else None,
            "finish_reason": self.done.finish_reason.value if self.done else None,
        }


async def _complete(services: Services, asked: ChatRequest, prompt: Prompt) -> dict[str, object]:
    replies = [Reply() for _ in range(asked.n)]
    async with open_session(services, prompt.model, prompt.client, asked.n) as session:
        commands = _commands(prompt, asked.n, session.lease.entry)
        async with aclosing(choices.stream(session, commands)) as events:
            async for index, event in events:
                replies[index].add(event, asked.top_logprobs or 0)
    return {
        **head("chat.completion", _PREFIX, session.answering.name),
        "choices": [
            reply.choice(index, has_logprobs=asked.logprobs) for index, reply in enumerate(replies)
        ],
        "usage": usage([reply.done for reply in replies if reply.done], asked.n),
    }


def _commands(prompt: Prompt, n: int, entry: EntryView) -> list[frames.Generate]:
    command = chat_command(prompt, entry)
    return [numbered(command, index) for index in range(n)]


async def _stream(services: Services, asked: ChatRequest, prompt: Prompt) -> AsyncGenerator[bytes]:
    has_usage = asked.stream_options is not None and asked.stream_options.include_usage
    ended: list[frames.Done] = []
    started: set[int] = set()
    async with open_session(services, prompt.model, prompt.client, asked.n) as session:
        commands = _commands(prompt, asked.n, session.lease.entry)
        top = head("chat.completion.chunk", _PREFIX, session.answering.name)
        if has_usage:
            top["usage"] = None
        chunks = [_Chunks(top, index, asked) for index in range(asked.n)]
        async with aclosing(choices.stream(session, commands)) as events:
            async for index, event in events:
                if isinstance(event, frames.PromptProgress):
                    yield sse.progress(event)
                    continue
                if index not in started:
                    started.add(index)
                    yield chunks[index].start()
                if isinstance(event, frames.Done):
                    ended.append(event)
                    yield chunks[index].end(event)
                else:
                    yield chunks[index].delta(event)
    if has_usage:
        yield sse.data({**top, "choices": [], "usage": usage(ended, asked.n)})
    yield sse.DONE


class _Chunks:
    """The chunks of one answer.

    Args:
        top: What each of them begins with.
        index: The answer's number.
        asked: The request.
    """

    def __init__(self, top: dict[str, object], index: int, asked: ChatRequest) -> None:
        self._top = top
        self._index = index
        self._asked = asked
        self._content = sse.TextEvents(lambda text: self._choice({"content": text}))
        self._reasoning = sse.TextEvents(lambda text: self._choice({"reasoning_content": text}))

    def start(self) -> bytes:
        """Return the chunk that comes first."""
        return sse.data(self._choice({"role": "assistant", "content": "", "refusal": None}))

    def end(self, event: frames.Done) -> bytes:
        """Return the chunk that comes last."""
        return sse.data(self._choice({}, finish_reason=event.finish_reason.value))

    def delta(self, event: frames.Delta) -> bytes:
        """Return what one event adds."""
        if event.tool_calls or self._asked.logprobs or (event.text and event.reasoning):
            return self._mixed(event)
        if event.reasoning:
            return self._reasoning.event(event.reasoning)
        return self._content.event(event.text)

    def _mixed(self, event: frames.Delta) -> bytes:
        delta: dict[str, object] = {}
        if event.text or not (event.reasoning or event.tool_calls):
            delta["content"] = event.text
        if event.reasoning:
            delta["reasoning_content"] = event.reasoning
        if event.tool_calls:
            delta["tool_calls"] = [_call_delta(call) for call in event.tool_calls]
        logprobs: dict[str, object] | None = None
        if self._asked.logprobs:
            items = [logprob_item(one, self._asked.top_logprobs or 0) for one in event.logprobs]
            logprobs = {"content": items, "refusal": None}
        return sse.data(self._choice(delta, logprobs=logprobs))

    def _choice(
        self,
        delta: dict[str, object],
        *,
        finish_reason: str | None = None,
        logprobs: dict[str, object] | None = None,
    ) -> dict[str, object]:
        choice = {
            "index": self._index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        return {**self._top, "choices": [choice]}


def _call_delta(call: frames.ToolCallDelta) -> dict[str, object]:
    function: dict[str, object] = {"arguments": call.arguments}
    if call.name:
        function["name"] = call.name
    made: dict[str, object] = {"index": call.index, "function": function}
    if call.id:
        made |= {"id": call.id, "type": "function"}
    return made
