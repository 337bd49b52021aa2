"""Chats as JSON: export without loss, import of that and of OpenAI's arrays of messages.

An import is untrusted: it is read whole or refused in one sentence, and nothing of it is stored
before all of it was checked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic import Field, ValidationError
from pydantic_core import from_json

from luci_tui.chat.media import StoredMedium
from luci_tui.chat.naming import automatic_title, clean, new_id, now_ms
from luci_tui.chat.records import (
    ChatSession,
    Identifier,
    Message,
    MessageKind,
    MessageState,
    Record,
    Role,
    ToolCall,
)
from luci_tui.errors import ChatError
from luci_tui.units import format_bytes, format_count

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 32
"""Nested brackets; our own exports have 6."""
MAX_MESSAGES = 200_000
MAX_INTEGER = 2**53
"""Greater ones are not the same in every reader of JSON."""
FORMAT = "luci-chat"
VERSION = 1

_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}


class MediumContent(Record):
    """What a picture or a sound of a message holds."""

    message_id: Identifier
    place: int = Field(ge=0, le=1000)
    """In the message's `media`."""
    content: str
    """Base64."""


class ChatFile(Record):
    """A chat with all its branches, as it is exported."""

    format: Literal["luci-chat"] = FORMAT
    version: Literal[1] = VERSION
    chat: ChatSession
    messages: tuple[Message, ...] = Field(default=(), max_length=MAX_MESSAGES)
    """Each stands behind its parent."""
    media: tuple[MediumContent, ...] = ()


@dataclass(frozen=True)
class Imported:
    """A chat that was read and checked, and is not stored yet."""

    session: ChatSession
    messages: tuple[Message, ...]
    media: tuple[StoredMedium, ...] = ()
    note: str = ""
    """What could not be taken over, in one sentence; empty = nothing."""


def export_json(
    session: ChatSession, messages: tuple[Message, ...], media: Sequence[StoredMedium] = ()
) -> bytes:
    """Return a chat as JSON; after an import and another export the bytes are the same.

    Fields with their default value are left away.
    """
    contents = tuple(
        MediumContent(
            message_id=one.message_id,
            place=one.place,
            content=base64.b64encode(one.content).decode(),
        )
        for one in media
    )
    file = ChatFile(chat=session, messages=messages, media=contents)
    data = file.model_dump(mode="json", exclude_defaults=True)
    whole = {"format": FORMAT, "version": VERSION, **data}
    return json.dumps(whole, ensure_ascii=False, indent=1).encode() + b"\n"


def read_import(data: bytes) -> Imported:
    """Read an export of ours, or an array of OpenAI's messages, bare or in an object.

    Raises:
        ChatError: it is none of them, or hostile; codes "import_…".
    """
    value = _parse(data)
    if isinstance(value, list):
        return _from_openai({"messages": value})
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if fields.get("format") == FORMAT:
            return _from_ours(fields)
        if isinstance(fields.get("messages"), list):
            return _from_openai(fields)
    msg = (
        "The import is no chat: neither an export of luci nor an array of messages with role and"
        " content. Choose another file."
    )
    raise ChatError(msg, code="import_unknown")


def _parse(data: bytes) -> object:
    if len(data) > MAX_BYTES:
        raise ChatError(
            f"The import has {format_bytes(len(data))} and {format_bytes(MAX_BYTES)} are the most."
            " Split it.",
            code="import_too_large",
        )
    try:
        value: object = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise ChatError(
            f"The import is not valid JSON ({error}). Choose another file.",
            code="import_no_json",
        ) from error
    _check_values(value)
    return value


def _check_values(root: object) -> None:
    """Refuse what is nested too deeply, and numbers that are not the same everywhere."""
    waiting: list[tuple[object, int]] = [(root, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ChatError(
                f"The import is nested more than {MAX_DEPTH} levels deep, which no chat is."
                " Choose another file.",
                code="import_too_deep",
            )
        if isinstance(value, dict):
            waiting += [(one, depth + 1) for one in cast("dict[str, object]", value).values()]
        elif isinstance(value, list):
            waiting += [(one, depth + 1) for one in cast("list[object]", value)]
        elif isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise ChatError(
                f"The import holds the number {str(value)[:40]}, which is beyond 2^53. Correct it.",
                code="import_bad_value",
            )


def _from_ours(fields: Mapping[str, object]) -> Imported:
    version = fields.get("version")
    if version != VERSION:
        raise ChatError(
            f"The import has version {str(version)[:20]} and this luci reads {VERSION}. Install a"
            " newer luci.",
            code="import_version",
        )
    try:
        file = ChatFile.model_validate_json(json.dumps(fields), strict=True)
    except ValidationError as error:
        raise _bad_value(error) from error
    _check_tree(file)
    messages = tuple(_settled(message) for message in file.messages)
    return Imported(file.chat, messages, _checked_media(file))


def _checked_media(file: ChatFile) -> tuple[StoredMedium, ...]:
    """Take only contents that a message names, each once, and of the size that it says."""
    named = {
        (message.id, place): medium
        for message in file.messages
        for place, medium in enumerate(message.media)
    }
    found: list[StoredMedium] = []
    for one in file.media:
        medium = named.pop((one.message_id, one.place), None)
        try:
            content = base64.b64decode(one.content, validate=True)
        except ValueError:
            content = b""
        if medium is None or len(content) != medium.size_bytes:
            raise ChatError(
                f"The import holds a picture or sound of the message {one.message_id} that this"
                " message does not name so. Correct it.",
                code="import_bad_value",
            )
        found.append(StoredMedium(one.message_id, one.place, content))
    return tuple(found)


def _settled(message: Message) -> Message:
    """Give a message that does not stream, because nothing streams out of a file."""
    if message.state is not MessageState.STREAMING:
        return message
    return message.model_copy(update={"state": MessageState.INTERRUPTED})


def _bad_value(error: ValidationError) -> ChatError:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])[:200]
    return ChatError(
        f"The import holds something wrong at {place}: {first['msg'].lower()}. Correct it.",
        code="import_bad_value",
    )


def _check_tree(file: ChatFile) -> None:
    """Every parent stands before its children, so there are no cycles and no gaps."""
    kinds: dict[str, MessageKind] = {}
    for message in file.messages:
        if message.id in kinds:
            raise _bad_tree(f"holds the message {message.id} twice")
        if message.parent_id is not None and message.parent_id not in kinds:
            raise _bad_tree(
                f"has a message {message.id} whose parent {message.parent_id} does not stand"
                " before it"
            )
        if message.parent_id is not None and kinds[message.parent_id] is MessageKind.SUMMARY:
            raise _bad_tree(f"has a message {message.id} that goes on from a summary")
        kinds[message.id] = message.kind
    leaf = file.chat.active_leaf_id
    if (leaf is None and kinds) or (leaf is not None and kinds.get(leaf) is not MessageKind.TEXT):
        raise _bad_tree(f"names {leaf} as its last message, which it does not hold")


def _bad_tree(what: str) -> ChatError:
    return ChatError(f"The import {what}. Correct it.", code="import_bad_tree")


def _from_openai(fields: Mapping[str, Any]) -> Imported:
    items = cast("list[object]", fields["messages"])
    if len(items) > MAX_MESSAGES:
        raise ChatError(
            f"The import has {len(items)} messages and {MAX_MESSAGES} are the most. Split it.",
            code="import_too_large",
        )
    now = now_ms()
    n_left_out = 0
    messages: list[Message] = []
    system = ""
    for place, item in enumerate(items):
        message, n_parts = _openai_message(item, place, messages[-1].id if messages else None, now)
        n_left_out += n_parts
        if place == 0 and message.role is Role.SYSTEM:
            system = message.text
        else:
            messages.append(message)
    title, model = (_short_text(fields.get(name)) for name in ("title", "model"))
    first = next((message.text for message in messages if message.role is Role.USER), "")
    session = ChatSession(
        id=new_id(10),
        title=title or automatic_title(first),
        is_title_set=bool(title),
        model=model,
        system=system,
        active_leaf_id=messages[-1].id if messages else None,
        created_ms=now,
        updated_ms=now,
    )
    parts = format_count(n_left_out, "part")
    note = f"{parts} of messages that are no text could not be taken over." if n_left_out else ""
    return Imported(session, tuple(messages), note=note)


def _openai_message(
    item: object, place: int, parent_id: Identifier | None, now: int
) -> tuple[Message, int]:
    """Make a message; gives also how many parts of it are no text."""
    if not isinstance(item, dict):
        raise _bad_item(place, "is no object")
    fields = cast("dict[str, object]", item)
    role = _ROLES.get(str(fields.get("role")))
    if role is None:
        raise _bad_item(place, f'has the unknown role "{str(fields.get("role"))[:40]}"')
    text, n_left_out = _content(fields.get("content"), place)
    call_id = fields.get("tool_call_id", "")
    message = Message(
        id=new_id(),
        parent_id=parent_id,
        role=role,
        text=text,
        tool_calls=_tool_calls(fields.get("tool_calls"), place),
        tool_call_id=clean(call_id) if isinstance(call_id, str) else "",
        created_ms=now,
    )
    return message, n_left_out


def _content(content: object, place: int) -> tuple[str, int]:
    if content is None:
        return "", 0
    if isinstance(content, str):
        return clean(content), 0
    if not isinstance(content, list):
        raise _bad_item(place, "has a content that is neither text nor a list of parts")
    texts: list[str] = []
    parts = cast("list[object]", content)
    for part in parts:
        text = cast("dict[str, object]", part).get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            texts.append(clean(text))
    return "\n\n".join(texts), len(parts) - len(texts)


def _tool_calls(value: object, place: int) -> tuple[ToolCall, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _bad_item(place, "has tool_calls that are no list")
    calls: list[ToolCall] = []
    for one in cast("list[object]", value):
        fields = cast("dict[str, object]", one) if isinstance(one, dict) else {}
        function = fields.get("function")
        named = cast("dict[str, object]", function) if isinstance(function, dict) else {}
        name, arguments = named.get("name"), named.get("arguments", "")
        if not isinstance(name, str) or not isinstance(arguments, str):
            raise _bad_item(place, "has a tool call without a name and text as arguments")
        call_id = fields.get("id", "")
        calls.append(
            ToolCall(
                id=clean(call_id) if isinstance(call_id, str) else "",
                name=clean(name),
                arguments=clean(arguments),
            )
        )
    return tuple(calls)


def _bad_item(place: int, what: str) -> ChatError:
    return ChatError(
        f"Message {place + 1} of the import {what}. Correct it.", code="import_bad_value"
    )


def _short_text(value: object) -> str:
    return " ".join(clean(value).split())[:200] if isinstance(value, str) else ""
