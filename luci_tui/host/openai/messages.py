"""The messages of a chat request: who may say what, and what of it the engine gets."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from luci_tui.host.openai.errors import ApiError, invalid_request
from luci_tui.host.openai.media import check_audio, check_image
from luci_tui.host.openai.parameters import RequestModel

MAX_MESSAGES = 4096
FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class ImageUrl(RequestModel):
    """What an image_url part holds."""

    url: str
    detail: str | None = None


class InputAudio(RequestModel):
    """What an input_audio part holds."""

    data: str
    format: str


class Part(RequestModel):
    """One part of a message's content."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | None = None
    input_audio: InputAudio | None = None
    cache_control: JsonValue = None
    """Ignored: the KV cache needs no hints."""


class CalledFunction(RequestModel):
    """The function of a tool call."""

    name: str = Field(min_length=1, max_length=64)
    arguments: str


class ToolCall(RequestModel):
    """A tool call that an assistant made."""

    id: str = Field(min_length=1, max_length=256)
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None


class Message(RequestModel):
    """One message, of any role."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: Annotated[str, Field(max_length=256)] | None = None
    tool_calls: list[ToolCall] | None = Field(default=None, max_length=128)
    tool_call_id: Annotated[str, Field(max_length=256)] | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    annotations: JsonValue = None
    """Comes back when a client sends an answer of ours again; ignored."""
    type: Literal["text", "message"] | None = None
    """Some clients write it; ignored."""
    audio: None = None
    function_call: None = None


def engine_messages(messages: list[Message]) -> tuple[dict[str, JsonValue], ...]:
    """Return the messages for the engine.

    Raises:
        ApiError: 400; a message has what its role may not have, or lacks what it needs.
    """
    open_calls: set[str] = set()
    made: list[dict[str, JsonValue]] = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        _check_role(message, where, open_calls)
        made.append(_engine_message(message, where))
    return tuple(made)


def _check_role(message: Message, where: str, open_calls: set[str]) -> None:
    """Check what belongs to a role; `open_calls` collects the ids that tools may answer."""
    role = message.role
    if message.tool_calls and role != "assistant":
        raise _not_for(f"{where}.tool_calls", role, "assistant")
    if message.tool_call_id is not None and role != "tool":
        raise _not_for(f"{where}.tool_call_id", role, "tool")
    if role == "tool":
        if message.tool_call_id is None:
            raise _missing(f"{where}.tool_call_id")
        if message.tool_call_id not in open_calls:
            raise invalid_request(
                f"{where} answers the tool call {message.tool_call_id[:60]!r}, which no assistant "
                "message before it made. Send that message too.",
                param=f"{where}.tool_call_id",
            )
    for call in message.tool_calls or ():
        open_calls.add(call.id)
    has_other = role == "assistant" and (message.tool_calls or message.refusal)
    if message.content is None and not has_other:
        raise _missing(f"{where}.content")


def _engine_message(message: Message, where: str) -> dict[str, JsonValue]:
    content = _content(message, where)
    made: dict[str, JsonValue] = {"role": message.role, "content": content}
    if message.name:
        made["name"] = message.name
    if message.reasoning_content:
        made["reasoning_content"] = message.reasoning_content
    if message.tool_call_id is not None:
        made["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ]
    return made


def _content(message: Message, where: str) -> JsonValue:
    """Return the content: one text, or its parts where there are images or sounds among them.

    Text parts are joined by a line break, here or by the engine.
    """
    if isinstance(message.content, str):
        return message.content
    if message.content is None:
        return message.refusal or ""
    if not message.content:
        raise invalid_request(f"{where}.content has no part. Add one.", param=f"{where}.content")
    parts = [
        _part(part, message.role, f"{where}.content[{number}]")
        for number, part in enumerate(message.content)
    ]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return "\n".join(map(str, texts)) if len(texts) == len(parts) else list[JsonValue](parts)


def _part(part: Part, role: str, where: str) -> dict[str, JsonValue]:
    match part.type:
        case "text":
            if part.text is None:
                raise _missing(f"{where}.text")
            return {"type": "text", "text": part.text}
        case "refusal" if role == "assistant":
            return {"type": "text", "text": part.refusal or ""}
        case "image_url" if role == "user":
            if part.image_url is None:
                raise _missing(f"{where}.image_url")
            check_image(part.image_url.url, f"{where}.image_url.url")
            return {"type": "image_url", "image_url": {"url": part.image_url.url}}
        case "input_audio" if role == "user":
            sound = part.input_audio
            if sound is None:
                raise _missing(f"{where}.input_audio")
            check_audio(sound.data, sound.format, f"{where}.input_audio")
            return {
                "type": "input_audio",
                "input_audio": {"data": sound.data, "format": sound.format},
            }
        case _:
            pass
    raise invalid_request(
        f"{where}.type {part.type[:40]!r} is not taken from the role {role}. Send text.",
        param=f"{where}.type",
    )


def _missing(param: str) -> ApiError:
    return invalid_request(
        f"{param} is missing. Add it.", param=param, code="missing_required_parameter"
    )


def _not_for(param: str, role: str, wanted: str) -> ApiError:
    return invalid_request(
        f"{param} belongs to a message of the role {wanted}, not {role}. Leave it out.",
        param=param,
    )
