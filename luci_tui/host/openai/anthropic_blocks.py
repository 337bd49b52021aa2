"""Anthropic's messages and their blocks, and the chat messages that they stand for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Literal, cast

from pydantic import Field, JsonValue

from luci_tui.host.openai.errors import invalid_request
from luci_tui.host.openai.media import check_image
from luci_tui.host.openai.strict import (
    JsonObject,
    Strict,
    check,
    check_kind,
    check_list,
    shown,
)

MAX_MESSAGES = 4096
MAX_BLOCKS = 1024

BlockId = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9_-]+$")]

ERROR_MARK = "Error: "
"""Begins the result of a tool that failed: chat templates have no field for that."""


class CacheControl(Strict):
    """`cache_control`; luci reuses every prompt's beginning without being asked."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class TextBlock(Strict):
    """Text."""

    type: Literal["text"]
    text: str
    cache_control: CacheControl | None = None
    citations: list[JsonValue] | None = None
    parsed_output: JsonValue = None
    """The client's own reading of the text; it is sent back by some versions of it."""


class Base64Source(Strict):
    """An image itself."""

    type: Literal["base64"]
    media_type: str
    data: str


class ImageBlock(Strict):
    """A picture."""

    type: Literal["image"]
    source: JsonValue
    cache_control: CacheControl | None = None


class ThinkingBlock(Strict):
    """What the model thought before it answered."""

    type: Literal["thinking"]
    thinking: str
    signature: str | None = None


class RedactedThinkingBlock(Strict):
    """Thinking that only its own server can read."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUseBlock(Strict):
    """A call that the model made."""

    type: Literal["tool_use"]
    id: BlockId
    name: Annotated[str, Field(min_length=1, max_length=256)]
    input: dict[str, JsonValue]
    cache_control: CacheControl | None = None
    caller: JsonValue = None
    toolset_name: None = None


class ToolResultBlock(Strict):
    """What came of a call."""

    type: Literal["tool_result"]
    tool_use_id: BlockId
    content: JsonValue = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None
    toolset_name: None = None


class MessageParam(Strict):
    """One message of `messages`."""

    role: Literal["user", "assistant", "system"]
    content: JsonValue


_TEXT: dict[str, type[Strict]] = {"text": TextBlock}
_RESULT: dict[str, type[Strict]] = {**_TEXT, "image": ImageBlock}
_USER: dict[str, type[Strict]] = {**_RESULT, "tool_result": ToolResultBlock}
_ASSISTANT: dict[str, type[Strict]] = {
    **_TEXT,
    "thinking": ThinkingBlock,
    "redacted_thinking": RedactedThinkingBlock,
    "tool_use": ToolUseBlock,
}


_BLOCKS = {"user": _USER, "assistant": _ASSISTANT, "system": _TEXT}


@dataclass(frozen=True)
class Turn:
    """What one side says until the other side does."""

    role: Literal["user", "assistant", "system"]
    blocks: list[tuple[str, Strict]]
    """(path in the request, block)."""


@dataclass
class Conversation:
    """Chat messages as they are built up, message by message."""

    messages: list[JsonObject] = field(default_factory=list[JsonObject])
    unread: list[str] = field(default_factory=list[str])
    """Blocks that could not be shown to the model."""
    _open_calls: dict[str, str] = field(default_factory=dict[str, str])
    """id -> path of the calls that the next message has to answer."""
    _seen_calls: set[str] = field(default_factory=set[str])

    def add(self, turn: Turn) -> None:
        """Take what one side says until the other side does.

        Raises:
            ApiError: 400 that names the field.
        """
        match turn.role:
            case "system":
                texts = [cast("TextBlock", block).text for _, block in turn.blocks]
                self.messages.append({"role": "system", "content": "\n".join(texts)})
            case "assistant":
                self._require_results()
                self._add_assistant(turn)
            case "user":
                self._add_user(turn)

    def finish(self) -> None:
        """Require that the last word is the user's, and that every call has its result.

        Raises:
            ApiError: 400.
        """
        self._require_results()
        if self.messages[-1]["role"] == "assistant":
            msg = (
                "'messages' ends with the assistant's message. luci cannot go on from the middle "
                "of an answer: end with a user's message."
            )
            raise invalid_request(msg, param="messages")

    def _add_user(self, turn: Turn) -> None:
        parts: list[JsonObject] = []
        for at, block in turn.blocks:
            if not isinstance(block, ToolResultBlock):
                parts.append(_part(block, at))
            elif parts:
                msg = f"'{at}' stands behind other content. Put tool_result blocks first."
                raise invalid_request(msg, param=at)
            else:
                self._add_result(block, at)
        self._require_results()
        if parts:
            self.messages.append({"role": "user", "content": _content(parts)})

    def _add_result(self, result: ToolResultBlock, at: str) -> None:
        if self._open_calls.pop(result.tool_use_id, None) is None:
            msg = (
                f"'{at}.tool_use_id' is {shown(result.tool_use_id)}, which is no tool_use of the "
                "message before that waits for its result. Correct it."
            )
            raise invalid_request(msg, param=f"{at}.tool_use_id")
        content = result.content if result.content is not None else ""
        parts = [_part(block, where) for where, block in _blocks(content, f"{at}.content", _RESULT)]
        if result.is_error:
            first = parts[0]["text"] if parts and parts[0]["type"] == "text" else None
            marked: JsonObject = {"type": "text", "text": f"{ERROR_MARK}{first or ''}"}
            parts = [marked, *(parts if first is None else parts[1:])]
        self.messages.append(
            {"role": "tool", "tool_call_id": result.tool_use_id, "content": _content(parts)}
        )

    def _add_assistant(self, turn: Turn) -> None:
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[JsonValue] = []
        for at, block in turn.blocks:
            match block:
                case TextBlock():
                    texts.append(block.text)
                case ThinkingBlock():
                    thoughts.append(block.thinking)
                case ToolUseBlock():
                    calls.append(self._call(block, at))
                case _:
                    self.unread.append(f"{at} (redacted_thinking)")
        message: JsonObject = {"role": "assistant", "content": "\n".join(texts)}
        if any(thoughts):
            message["reasoning_content"] = "\n".join(thoughts)
        if calls:
            message["tool_calls"] = calls
        self.messages.append(message)

    def _call(self, block: ToolUseBlock, at: str) -> JsonObject:
        if block.id in self._seen_calls:
            msg = f"'{at}.id' is {shown(block.id)}, as is an earlier tool_use's. Send another."
            raise invalid_request(msg, param=f"{at}.id")
        self._seen_calls.add(block.id)
        self._open_calls[block.id] = at
        arguments = json.dumps(block.input, ensure_ascii=False)
        function: JsonObject = {"name": block.name, "arguments": arguments}
        return {"id": block.id, "type": "function", "function": function}

    def _require_results(self) -> None:
        for call_id, at in self._open_calls.items():
            msg = (
                f"'{at}' is the tool_use {shown(call_id)}, and the next message has no tool_result "
                "for it. Send what came of it."
            )
            raise invalid_request(msg, param=at)


def to_messages(value: JsonValue) -> Conversation:
    """Turn Anthropic's messages into chat messages.

    Raises:
        ApiError: 400 that names the field.
    """
    turns = _turns(check_list(value, "messages", MAX_MESSAGES))
    spoken = [turn for turn in turns if turn.role != "system"]
    if not spoken:
        msg = "'messages' has no user's message. Send one."
        raise invalid_request(msg, param="messages")
    if spoken[0].role == "assistant":
        msg = f"'{spoken[0].blocks[0][0]}' is the assistant's. Begin with a user's message."
        raise invalid_request(msg, param="messages")
    conversation = Conversation()
    for turn in turns:
        conversation.add(turn)
    conversation.finish()
    return conversation


def _turns(values: list[JsonValue]) -> list[Turn]:
    """Check each message, and join neighbours of one role, as Anthropic does."""
    turns: list[Turn] = []
    for index, value in enumerate(values):
        at = f"messages[{index}]"
        message = check(MessageParam, value, at)
        blocks = _blocks(message.content, f"{at}.content", _BLOCKS[message.role])
        if not blocks:
            msg = f"'{at}.content' is empty. Send a text or a block."
            raise invalid_request(msg, param=f"{at}.content")
        if turns and turns[-1].role == message.role:
            turns[-1].blocks.extend(blocks)
        else:
            turns.append(Turn(message.role, blocks))
    return turns


def system_text(value: JsonValue, at: str) -> str:
    """Return a system prompt that is a string or text blocks; empty = none.

    Raises:
        ApiError: 400.
    """
    if value is None or isinstance(value, str):
        return value or ""
    texts = [cast("TextBlock", block).text for _, block in _blocks(value, at, _TEXT)]
    return "\n".join(texts)


def _blocks(value: JsonValue, at: str, models: dict[str, type[Strict]]) -> list[tuple[str, Strict]]:
    """Return (path, block) of a content, which may be a string."""
    if isinstance(value, str):
        return [(at, TextBlock(type="text", text=value))]
    paths = [
        (f"{at}[{index}]", block) for index, block in enumerate(check_list(value, at, MAX_BLOCKS))
    ]
    return [(path, check_kind(block, path, models)) for path, block in paths]


def _part(block: Strict, at: str) -> JsonObject:
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    image = cast("ImageBlock", block)
    source = check_kind(image.source, f"{at}.source", {"base64": Base64Source})
    assert isinstance(source, Base64Source)
    url = f"data:{source.media_type};base64,{source.data}"
    check_image(url, f"{at}.source")
    return {"type": "image_url", "image_url": {"url": url}}


def _content(parts: list[JsonObject]) -> JsonValue:
    """Return parts as a chat message has them: one string where there is only text."""
    if any(part["type"] != "text" for part in parts):
        return list(parts)
    return "\n".join(str(part["text"]) for part in parts)
