"""State machines that read a whole stream of an API and refuse every wrong step.

They know the order in which events may come, that every piece which begins also ends, and that
the deltas add up to what is said at the end. A test feeds them every event of a stream and then
calls `finish`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


class WrongOrderError(AssertionError):
    """An event came that may not come here."""


def _require(is_right: object, words: str) -> None:
    if not is_right:
        raise WrongOrderError(words)


def read_sse(body: bytes) -> list[Json]:
    """Read a whole body of server-sent events; each name has to be the event's own type."""
    events: list[Json] = []
    for block in body.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        _require(len(lines) == 2, f"an event has {len(lines)} lines: {lines}")
        name, data = lines
        _require(name.startswith("event: ") and data.startswith("data: "), f"odd lines {lines}")
        event = json.loads(data.removeprefix("data: "))
        _require(event["type"] == name.removeprefix("event: "), f"{name} names {event['type']}")
        events.append(event)
    return events


@dataclass
class _Item:
    """An output item while it grows."""

    item: Json
    part: str = ""
    """Type of the part that is open; empty = none."""
    text: str = ""
    is_text_done: bool = False
    n_parts: int = 0
    arguments: str = ""
    are_arguments_done: bool = False


@dataclass
class ResponsesOrder:
    """Follows the events of one response."""

    n_events: int = 0
    last: str = ""
    open: dict[int, _Item] = field(default_factory=dict[int, _Item])
    done: list[Json] = field(default_factory=list[Json])
    response: Json = field(default_factory=dict[str, Any])
    """The response object of the last event."""

    def feed(self, event: Json) -> None:
        """Take one event."""
        kind = event["type"]
        _require(event["sequence_number"] == self.n_events, f"{kind} is not {self.n_events}")
        self.n_events += 1
        _require(self.last not in _ENDS, f"{kind} came after {self.last}")
        if self.n_events <= 2:
            first = ("response.created", "response.in_progress")[self.n_events - 1]
            _require(kind == first, f"{kind} came in place of {first}")
            _require(event["response"]["status"] == "in_progress", "a new response is in progress")
            _require(event["response"]["output"] == [], "a new response has no output")
        elif kind in _ENDS:
            self._end(kind, event["response"])
        else:
            self._step(kind, event)
        self.last = kind

    def finish(self) -> Json:
        """Return the final response."""
        _require(self.last in _ENDS, f"the stream ended with {self.last or 'nothing'}")
        return self.response

    def _step(self, kind: str, event: Json) -> None:
        index = event["output_index"]
        if kind == "response.output_item.added":
            _require(index == len(self.done) and not self.open, f"item {index} came too early")
            _require(event["item"]["status"] == "in_progress", "a new item is in progress")
            self.open[index] = _Item(event["item"])
            return
        _require(index in self.open, f"{kind} is about item {index}, which is not open")
        item = self.open[index]
        if kind == "response.output_item.done":
            self._item_done(item, event["item"])
            del self.open[index]
            return
        _require(event["item_id"] == item.item["id"], f"{kind} has another item's id")
        _STEPS[kind](item, event)

    def _item_done(self, item: _Item, final: Json) -> None:
        _require(not item.part, "an item ended with an open part")
        for name in ("id", "type", "call_id", "name", "role"):
            _require(final.get(name) == item.item.get(name), f"{name} of an item changed")
        _require(final["status"] in ("completed", "incomplete"), "an item's last status")
        if final["type"] == "function_call":
            _require(item.are_arguments_done, "a call ended without its arguments")
            _require(final["arguments"] == item.arguments, "a call's arguments changed")
        else:
            parts = [*final.get("content", ()), *final.get("summary", ())]
            _require([part["text"] for part in parts] == [item.text], "an item's text changed")
        self.done.append(final)

    def _end(self, kind: str, response: Json) -> None:
        _require(not self.open, "the response ended with an open item")
        _require(response["status"] == kind.removeprefix("response."), "status and event differ")
        _require(response["output"] == self.done, "the output is not what was streamed")
        _require((response["error"] is not None) == (kind == "response.failed"), "error and status")
        is_cut = kind == "response.incomplete"
        _require((response["incomplete_details"] is not None) == is_cut, "details and status")
        _require((response["usage"] is not None) == (kind != "response.failed"), "usage and status")
        self.response = response


_ENDS = ("response.completed", "response.incomplete", "response.failed")


def _part_added(item: _Item, event: Json) -> None:
    _require(not item.part and item.n_parts == 0, "a second part")
    index = event["summary_index"] if "summary_index" in event else event["content_index"]
    _require(index == 0 and event["part"]["text"] == "", "a part begins empty at 0")
    wanted = {"message": ("output_text",), "reasoning": ("reasoning_text", "summary_text")}
    _require(event["part"]["type"] in wanted[item.item["type"]], "the part's type")
    item.part, item.n_parts = event["part"]["type"], 1


def _text_delta(item: _Item, event: Json) -> None:
    _require(item.part and not item.is_text_done, "text outside of a part")
    _require(event["type"].removesuffix(".delta") == _TEXTS[item.part], "text of another part")
    _require(event["delta"], "an empty delta")
    item.text += event["delta"]


def _text_done(item: _Item, event: Json) -> None:
    _require(item.part and not item.is_text_done, "the text ended twice")
    _require(event["text"] == item.text, "the deltas are not the text")
    item.is_text_done = True


def _part_done(item: _Item, event: Json) -> None:
    _require(item.part == event["part"]["type"] and item.is_text_done, "the part ended early")
    _require(event["part"]["text"] == item.text, "the part is not the text")
    item.part = ""


def _arguments_delta(item: _Item, event: Json) -> None:
    _require(item.item["type"] == "function_call", "arguments of no call")
    _require(not item.are_arguments_done and event["delta"], "arguments after their end, or none")
    item.arguments += event["delta"]


def _arguments_done(item: _Item, event: Json) -> None:
    _require(not item.are_arguments_done, "the arguments ended twice")
    _require(event["arguments"] == item.arguments, "the deltas are not the arguments")
    item.are_arguments_done = True


_TEXTS = {
    "output_text": "response.output_text",
    "reasoning_text": "response.reasoning_text",
    "summary_text": "response.reasoning_summary_text",
}
_STEPS = {
    "response.content_part.added": _part_added,
    "response.content_part.done": _part_done,
    "response.reasoning_summary_part.added": _part_added,
    "response.reasoning_summary_part.done": _part_done,
    **{f"{name}.delta": _text_delta for name in _TEXTS.values()},
    **{f"{name}.done": _text_done for name in _TEXTS.values()},
    "response.function_call_arguments.delta": _arguments_delta,
    "response.function_call_arguments.done": _arguments_done,
}


@dataclass
class MessagesOrder:
    """Follows the events of one message of Anthropic's API."""

    message: Json = field(default_factory=dict[str, Any])
    blocks: list[Json] = field(default_factory=list[Json])
    is_block_open: bool = False
    last: str = ""
    error: Json = field(default_factory=dict[str, Any])
    _json: str = ""

    def feed(self, event: Json) -> None:
        """Take one event."""
        kind = event["type"]
        _require(self.last not in ("message_stop", "error"), f"{kind} came after {self.last}")
        if kind == "ping":
            _require(self.message, "ping came first")
            return
        _MESSAGE_STEPS[kind](self, event)
        self.last = kind

    def finish(self) -> Json:
        """Return the final message."""
        _require(self.last == "message_stop", f"the stream ended with {self.last or 'nothing'}")
        return {**self.message, "content": self.blocks}

    def start(self, event: Json) -> None:
        """message_start."""
        _require(not self.message, "a second message_start")
        self.message = event["message"]
        _require(self.message["content"] == [], "a new message has no content")
        _require(self.message["stop_reason"] is None, "a new message has no reason to stop")

    def block_start(self, event: Json) -> None:
        """content_block_start."""
        _require(self.message and not self.is_block_open, "a block inside of a block")
        _require(self.last != "message_delta", "a block after message_delta")
        _require(event["index"] == len(self.blocks), f"block {event['index']} is out of turn")
        block = dict(event["content_block"])
        empty: dict[str, tuple[str, Any]] = {
            "text": ("text", ""),
            "thinking": ("thinking", ""),
            "tool_use": ("input", {}),
        }
        name, nothing = empty[block["type"]]
        _require(block[name] == nothing, "a block begins empty")
        self.blocks.append(block)
        self.is_block_open, self._json = True, ""

    def block_delta(self, event: Json) -> None:
        """content_block_delta."""
        _require(self.is_block_open and event["index"] == len(self.blocks) - 1, "no such block")
        block, delta = self.blocks[-1], event["delta"]
        match (block["type"], delta["type"]):
            case ("text", "text_delta"):
                _require(delta["text"], "an empty delta")
                block["text"] += delta["text"]
            case ("thinking", "thinking_delta"):
                _require(not block["signature"], "thinking after its signature")
                block["thinking"] += delta["thinking"]
            case ("thinking", "signature_delta"):
                block["signature"] = delta["signature"]
            case ("tool_use", "input_json_delta"):
                self._json += delta["partial_json"]
            case pair:
                raise WrongOrderError(f"{pair[1]} in a block of {pair[0]}")

    def block_stop(self, event: Json) -> None:
        """content_block_stop."""
        _require(self.is_block_open and event["index"] == len(self.blocks) - 1, "no such block")
        block = self.blocks[-1]
        if block["type"] == "thinking":
            _require(block["signature"], "thinking without a signature")
        if block["type"] == "tool_use":
            block["raw_input"] = self._json
        self.is_block_open = False

    def delta(self, event: Json) -> None:
        """message_delta."""
        _require(self.message and not self.is_block_open, "message_delta inside of a block")
        _require(self.last != "message_delta", "a second message_delta")
        _require(event["delta"]["stop_reason"], "no reason to stop")
        _require(event["usage"]["output_tokens"] >= 0, "no usage")
        self.message = {**self.message, **event["delta"], "usage": event["usage"]}
        for block in self.blocks:
            raw = block.pop("raw_input", None)
            if raw is not None and event["delta"]["stop_reason"] == "tool_use":
                block["input"] = json.loads(raw or "{}")

    def stop(self, _event: Json) -> None:
        """message_stop."""
        _require(self.last == "message_delta", "message_stop without message_delta")

    def fail(self, event: Json) -> None:
        """Take an error, the last event of a stream that broke."""
        _require(self.message, "an error before the message is no event but a response")
        _require(event["error"]["type"] and event["error"]["message"], "an empty error")
        self.error = event["error"]


_MESSAGE_STEPS = {
    "message_start": MessagesOrder.start,
    "content_block_start": MessagesOrder.block_start,
    "content_block_delta": MessagesOrder.block_delta,
    "content_block_stop": MessagesOrder.block_stop,
    "message_delta": MessagesOrder.delta,
    "message_stop": MessagesOrder.stop,
    "error": MessagesOrder.fail,
}


def response_of(events: Iterable[Json]) -> Json:
    """Check a whole stream of /v1/responses and return its response."""
    order = ResponsesOrder()
    for event in events:
        order.feed(event)
    return order.finish()


def message_of(events: Iterable[Json]) -> Json:
    """Check a whole stream of /v1/messages and return its message."""
    order = MessagesOrder()
    for event in events:
        order.feed(event)
    return order.finish()
