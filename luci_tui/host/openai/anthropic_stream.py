"""One message of /v1/messages as it grows: events, and the message object at the end.

A message that is not streamed goes through the same steps, so that both are always the same.
Source of names and order: https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import hashlib
import secrets
from typing import cast

from pydantic import JsonValue
from pydantic_core import from_json

from luci_tui.engine import frames
from luci_tui.host.openai.anthropic_request import Parsed
from luci_tui.host.openai.deltas import reasoning_tokens, require_next_call
from luci_tui.host.openai.strict import JsonObject

Event = JsonObject

PING: Event = {"type": "ping"}
BROKEN_JSON = "INVALID_JSON"
"""Key of the arguments of a call that are no JSON object, as Anthropic's own guide has it.

Source: https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/fine-grained-tool-streaming
"""


class MessageStream:
    """Turns an engine's events into those of one message."""

    def __init__(self, parsed: Parsed) -> None:
        self.id = f"msg_{secrets.token_hex(16)}"
        self.model = parsed.prompt.model
        """The model that answers; a fallback has another name than was asked for."""
        self._parsed = parsed
        self._blocks: list[JsonObject] = []
        self._is_open = False
        self._arguments = ""
        """JSON of the tool_use block that grows."""
        self._n_calls = 0
        self._n_thinking_tokens = 0
        self._n_prompt_tokens = 0
        self._stop_reason: str | None = None
        self._stop_sequence: str | None = None
        self._usage: JsonObject = {"input_tokens": 0, "output_tokens": 0}

    def begin(self) -> list[Event]:
        """Return the events that come before any content."""
        return [{"type": "message_start", "message": self.message()}, dict(PING)]

    def know_prompt(self, progress: frames.PromptProgress) -> None:
        """Take in how long the prompt is; before `begin` it is told there."""
        self._usage["input_tokens"] = progress.n_total

    def take(self, delta: frames.Delta) -> list[Event]:
        """Return the events of some more content."""
        events: list[Event] = []
        self._n_thinking_tokens += reasoning_tokens(delta)
        if delta.reasoning:
            events += self._think(delta.reasoning)
        if delta.text:
            events += self._say(delta.text)
        for piece in delta.tool_calls:
            events += self._call(piece)
        return events

    def finish(self, done: frames.Done) -> list[Event]:
        """Return the events that end a message; after them `message` is final."""
        events = self._close()
        self._stop_reason, self._stop_sequence = _stop(done, self._parsed)
        self._usage = _usage(done.usage, self._n_thinking_tokens)
        delta: JsonObject = {
            "stop_reason": self._stop_reason,
            "stop_sequence": self._stop_sequence,
        }
        events.append({"type": "message_delta", "delta": delta, "usage": dict(self._usage)})
        events.append({"type": "message_stop"})
        return events

    def message(self) -> JsonObject:
        """Return the message object as it is now."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [dict(block) for block in self._blocks],
            "stop_reason": self._stop_reason,
            "stop_sequence": self._stop_sequence,
            "usage": dict(self._usage),
        }

    def _think(self, text: str) -> list[Event]:
        events: list[Event] = []
        if self._kind() != "thinking":
            events = self._open({"type": "thinking", "thinking": "", "signature": ""})
        if self._parsed.hides_thinking:
            return events
        block = self._blocks[-1]
        block["thinking"] = cast("str", block["thinking"]) + text
        return [*events, self._delta({"type": "thinking_delta", "thinking": text})]

    def _say(self, text: str) -> list[Event]:
        events: list[Event] = []
        if self._kind() != "text":
            events = self._open({"type": "text", "text": ""})
        block = self._blocks[-1]
        block["text"] = cast("str", block["text"]) + text
        return [*events, self._delta({"type": "text_delta", "text": text})]

    def _call(self, piece: frames.ToolCallDelta) -> list[Event]:
        events: list[Event] = []
        if require_next_call(piece, self._n_calls):
            self._n_calls += 1
            call_id = piece.id or f"toolu_{secrets.token_hex(12)}"
            events = self._open(
                {"type": "tool_use", "id": call_id, "name": piece.name, "input": {}}
            )
        if piece.arguments:
            if self._kind() != "tool_use":
                msg = f"a piece of tool call {piece.index} came after other content"
                raise RuntimeError(msg)
            self._arguments += piece.arguments
            delta: JsonObject = {"type": "input_json_delta", "partial_json": piece.arguments}
            events.append(self._delta(delta))
        return events

    def _kind(self) -> JsonValue:
        return self._blocks[-1]["type"] if self._is_open else None

    def _open(self, block: JsonObject) -> list[Event]:
        events = self._close()
        self._blocks.append(block)
        self._is_open = True
        index = len(self._blocks) - 1
        start: Event = {"type": "content_block_start", "index": index, "content_block": dict(block)}
        return [*events, start]

    def _close(self) -> list[Event]:
        if not self._is_open:
            return []
        events: list[Event] = []
        block = self._blocks[-1]
        if block["type"] == "thinking":
            block["signature"] = _checksum(cast("str", block["thinking"]))
            events.append(self._delta({"type": "signature_delta", "signature": block["signature"]}))
        elif block["type"] == "tool_use":
            block["input"] = _arguments(self._arguments)
            self._arguments = ""
        self._is_open = False
        return [*events, {"type": "content_block_stop", "index": len(self._blocks) - 1}]

    def _delta(self, delta: JsonObject) -> Event:
        return {"type": "content_block_delta", "index": len(self._blocks) - 1, "delta": delta}


def _stop(done: frames.Done, parsed: Parsed) -> tuple[str, str | None]:
    """Return (stop_reason, stop_sequence)."""
    match done.finish_reason:
        case frames.FinishReason.TOOL_CALLS:
            return "tool_use", None
        case frames.FinishReason.LENGTH:
            is_own = done.usage.completion_tokens >= parsed.max_tokens
            return ("max_tokens" if is_own else "model_context_window_exceeded"), None
        case _:
            # The template has stop strings of its own, which are the model's way to end.
            if done.stop_text and done.stop_text in parsed.stops:
                return "stop_sequence", done.stop_text
            return "end_turn", None


def _usage(usage: frames.Usage, n_thinking_tokens: int) -> JsonObject:
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {
            "thinking_tokens": min(n_thinking_tokens, usage.completion_tokens)
        },
    }


def _arguments(text: str) -> JsonObject:
    """Return a call's arguments; of a call that was cut off, the part that is there."""
    if not text:
        return {}
    try:
        value = cast("JsonValue", from_json(text, allow_partial="trailing-strings"))
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {BROKEN_JSON: text}


def _checksum(thinking: str) -> str:
    """Make the signature of a thinking block. Nobody checks it, but clients expect one."""
    return hashlib.sha256(thinking.encode()).hexdigest()
