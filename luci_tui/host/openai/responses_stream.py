"""One response of /v1/responses as it grows: typed events, and the response object at the end.

A response that is not streamed goes through the same steps, so that both are always the same.
Source of names and order: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from luci_tui.engine import frames
from luci_tui.host.openai.deltas import reasoning_tokens, require_next_call
from luci_tui.host.openai.errors import ApiError
from luci_tui.host.openai.responses_items import new_id
from luci_tui.host.openai.responses_request import Options
from luci_tui.host.openai.strict import JsonObject, Strict

Event = JsonObject


@dataclass
class _Growing:
    """An output item that is not complete yet."""

    item: JsonObject
    index: int = 0
    """Its place in `output`; known once it is opened."""

    def event(self, kind: str, **fields: JsonValue) -> Event:
        """Make an event about this item."""
        place: Event = {"item_id": self.item["id"], "output_index": self.index}
        return {"type": f"response.{kind}", **place, **fields}

    def added(self) -> Event:
        """Say that the item is there."""
        return {
            "type": "response.output_item.added",
            "output_index": self.index,
            "item": dict(self.item),
        }

    def done(self, status: str) -> Event:
        """Say that the item is complete."""
        self.item["status"] = status
        return {
            "type": "response.output_item.done",
            "output_index": self.index,
            "item": dict(self.item),
        }

    def open(self) -> list[Event]:
        """Begin."""
        return [self.added()]

    def close(self, status: str) -> list[Event]:
        """End; `status` is completed or incomplete."""
        return [self.done(status)]


@dataclass
class _Text(_Growing):
    text: str = ""
    logprobs: list[JsonValue] = field(default_factory=list[JsonValue])

    def part(self) -> JsonObject:
        logprobs: list[JsonValue] = list(self.logprobs)
        text: JsonObject = {"type": "output_text", "text": self.text, "annotations": []}
        return {**text, "logprobs": logprobs}

    def open(self) -> list[Event]:
        part = self.event("content_part.added", content_index=0, part=self.part())
        return [self.added(), part]

    def more(self, text: str, logprobs: list[JsonValue]) -> Event:
        self.text += text
        self.logprobs += logprobs
        return self.event("output_text.delta", content_index=0, delta=text, logprobs=logprobs)

    def close(self, status: str) -> list[Event]:
        self.item["content"] = [self.part()]
        logprobs: list[JsonValue] = list(self.logprobs)
        return [
            self.event("output_text.done", content_index=0, text=self.text, logprobs=logprobs),
            self.event("content_part.done", content_index=0, part=self.part()),
            self.done(status),
        ]


@dataclass
class _Thoughts(_Growing):
    """Thinking, as the content of a reasoning item or, when asked for, as its summary."""

    as_summary: bool = False
    text: str = ""

    def part(self) -> JsonObject:
        kind = "summary_text" if self.as_summary else "reasoning_text"
        return {"type": kind, "text": self.text}

    def about(self, content: str, summary: str, **fields: JsonValue) -> Event:
        if self.as_summary:
            return self.event(summary, summary_index=0, **fields)
        return self.event(content, content_index=0, **fields)

    def open(self) -> list[Event]:
        part = self.about("content_part.added", "reasoning_summary_part.added", part=self.part())
        return [self.added(), part]

    def more(self, text: str) -> Event:
        self.text += text
        return self.about("reasoning_text.delta", "reasoning_summary_text.delta", delta=text)

    def close(self, status: str) -> list[Event]:
        self.item["summary" if self.as_summary else "content"] = [self.part()]
        return [
            self.about("reasoning_text.done", "reasoning_summary_text.done", text=self.text),
            self.about("content_part.done", "reasoning_summary_part.done", part=self.part()),
            self.done(status),
        ]


@dataclass
class _Call(_Growing):
    arguments: str = ""

    def more(self, arguments: str) -> Event:
        self.arguments += arguments
        return self.event("function_call_arguments.delta", delta=arguments)

    def close(self, status: str) -> list[Event]:
        # A call without arguments is a call with none of them.
        events = [] if self.arguments or status != "completed" else [self.more("{}")]
        self.item["arguments"] = self.arguments
        done = self.event("function_call_arguments.done", arguments=self.arguments)
        return [*events, {**done, "name": self.item["name"]}, self.done(status)]


class ResponseStream:
    """Turns an engine's events into those of one response.

    Args:
        options: What was asked for.
        created_at: Unix time in seconds.
    """

    def __init__(self, options: Options, created_at: int) -> None:
        self.id = new_id("resp")
        self.asked_model = options.body.model
        self.model = options.body.model
        """The model that answers; a fallback has another name than was asked for."""
        self.notes: dict[str, str] = dict(options.notes)
        """What luci has to say; part of `metadata`."""
        self.is_stored = options.body.store is not False
        self._options = options
        self.created_at = created_at
        self._completed_at: int | None = None
        self._status: str = "in_progress"
        self._error: JsonValue = None
        self._incomplete: JsonValue = None
        self._usage: JsonValue = None
        self._items: list[JsonObject] = []
        self._growing: _Growing | None = None
        self._n_calls = 0
        self._n_reasoning_tokens = 0
        self._sequence = 0

    @property
    def output(self) -> list[JsonObject]:
        """The output items so far."""
        return self._items

    def begin(self) -> list[Event]:
        """Return the events that come before any output."""
        return self._number([self._about("response.created"), self._about("response.in_progress")])

    def take(self, delta: frames.Delta) -> list[Event]:
        """Return the events of some more output."""
        events: list[Event] = []
        self._n_reasoning_tokens += reasoning_tokens(delta)
        if delta.reasoning:
            events += self._think(delta.reasoning)
        if delta.text:
            events += self._say(delta)
        for piece in delta.tool_calls:
            events += self._call(piece)
        return self._number(events)

    def finish(self, done: frames.Done, now: int) -> list[Event]:
        """Return the events that complete the output; `end` has the one that follows them."""
        is_cut = done.finish_reason is frames.FinishReason.LENGTH
        events = self._close("incomplete" if is_cut else "completed")
        if not self._items and not is_cut:
            events += [*self._open(self._message()), *self._close("completed")]
        self._usage = _usage(done.usage, self._n_reasoning_tokens)
        if is_cut:
            self._status = "incomplete"
            self._incomplete = {"reason": "max_output_tokens"}
            most = self._options.body.max_output_tokens
            if most is None or done.usage.completion_tokens < most:
                self.notes["luci_stopped_by"] = f"the context of {done.usage.n_ctx} tokens is full"
        else:
            self._status = "completed"
            self._completed_at = now
        return self._number(events)

    def fail(self, error: ApiError) -> list[Event]:
        """Return the events that complete the output of a response which went wrong."""
        events = self._close("incomplete")
        self._status = "failed"
        self._error = {"code": error.code, "message": error.message}
        return self._number(events)

    def end(self) -> list[Event]:
        """Return the last event, after `finish` or `fail`."""
        return self._number([self._about(f"response.{self._status}")])

    def response(self) -> JsonObject:
        """Return the response object as it is now."""
        body = self._options.body
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "completed_at": self._completed_at,
            "status": self._status,
            "error": self._error,
            "incomplete_details": self._incomplete,
            "model": self.model,
            "output": [dict(item) for item in self._items],
            "usage": self._usage,
            "metadata": {**(body.metadata or {}), **self.notes},
            "instructions": body.instructions,
            "previous_response_id": body.previous_response_id,
            "store": self.is_stored,
            "background": False,
            "max_output_tokens": body.max_output_tokens,
            "max_tool_calls": body.max_tool_calls,
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "tool_choice": "auto" if body.tool_choice is None else body.tool_choice,
            "tools": list(body.tools or []),
            "temperature": body.temperature,
            "top_p": body.top_p,
            "top_logprobs": body.top_logprobs or 0,
            "truncation": body.truncation or "disabled",
            "reasoning": _dump(body.reasoning, {"effort": None, "summary": None}),
            "text": _dump(body.text, {"format": {"type": "text"}}),
            "service_tier": "default",
            "user": body.user,
            "safety_identifier": body.safety_identifier,
            "prompt_cache_key": body.prompt_cache_key,
        }

    def _think(self, text: str) -> list[Event]:
        events: list[Event] = []
        if not isinstance(self._growing, _Thoughts):
            item: JsonObject = {
                "id": new_id("rs"),
                "type": "reasoning",
                "status": "in_progress",
                "summary": [],
                "content": [],
            }
            new = _Thoughts(item, as_summary=self._options.wants_summary)
            events = self._open(new)
        else:
            new = self._growing
        return [*events, new.more(text)]

    def _say(self, delta: frames.Delta) -> list[Event]:
        events: list[Event] = []
        if isinstance(self._growing, _Text):
            message = self._growing
        else:
            message = self._message()
            events = self._open(message)
        return [*events, message.more(delta.text, self._logprobs(delta))]

    def _message(self) -> _Text:
        item: JsonObject = {"id": new_id("msg"), "type": "message", "status": "in_progress"}
        return _Text({**item, "role": "assistant", "content": []})

    def _call(self, piece: frames.ToolCallDelta) -> list[Event]:
        events: list[Event] = []
        if require_next_call(piece, self._n_calls):
            self._n_calls += 1
            item: JsonObject = {
                "id": new_id("fc"),
                "type": "function_call",
                "status": "in_progress",
                "call_id": piece.id or new_id("call"),
                "name": piece.name,
                "arguments": "",
            }
            events = self._open(_Call(item))
        if piece.arguments:
            call = self._growing
            if not isinstance(call, _Call):
                msg = f"a piece of tool call {piece.index} came after other output"
                raise RuntimeError(msg)
            events.append(call.more(piece.arguments))
        return events

    def _open(self, new: _Growing) -> list[Event]:
        events = self._close("completed")
        new.index = len(self._items)
        self._items.append(new.item)
        self._growing = new
        return [*events, *new.open()]

    def _close(self, status: str) -> list[Event]:
        growing, self._growing = self._growing, None
        return growing.close(status) if growing is not None else []

    def _about(self, kind: str) -> Event:
        return {"type": kind, "response": self.response()}

    def _number(self, events: list[Event]) -> list[Event]:
        for event in events:
            event["sequence_number"] = self._sequence
            self._sequence += 1
        return events

    def _logprobs(self, delta: frames.Delta) -> list[JsonValue]:
        """Give the logprobs of a delta; those of thinking and of tool calls are not text's."""
        if not self._options.wants_logprobs or delta.reasoning or delta.tool_calls:
            return []
        n_top = self._options.body.top_logprobs or 0
        return [
            {
                **_logprob(one.text, one.logprob),
                "top_logprobs": [_logprob(text, value) for _, text, value in one.top[:n_top]],
            }
            for one in delta.logprobs
        ]


def _logprob(text: str, logprob: float) -> JsonObject:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _usage(usage: frames.Usage, n_reasoning_tokens: int) -> JsonObject:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {
            "reasoning_tokens": min(n_reasoning_tokens, usage.completion_tokens)
        },
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _dump(options: Strict | None, default: Mapping[str, JsonValue]) -> JsonObject:
    given: JsonObject = options.model_dump(mode="json", exclude_none=True) if options else {}
    return {**default, **given}
