"""The items of a conversation in /v1/responses, and the chat messages that they stand for.

An item is kept as JSON, as it was sent and with an id, so that it can be stored and listed; what
it says is checked when it comes in. Items of a stored conversation are checked again: the file
on disk is not trusted more than a client.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, cast

from pydantic import AliasChoices, Field, JsonValue

from luci_tui.host.openai.errors import invalid_request
from luci_tui.host.openai.media import check_image
from luci_tui.host.openai.responses_request import MAX_ITEMS
from luci_tui.host.openai.strict import (
    JsonObject,
    Strict,
    check_kind,
    check_list,
    json_kind,
    json_object,
    kind_of,
    shown,
)

MAX_PARTS = 1024

ItemId = Annotated[str, Field(min_length=1, max_length=256)]
Status = Literal["in_progress", "completed", "incomplete"]


class _Item(Strict):
    id: ItemId | None = None
    status: Status | None = None


class MessageItem(_Item):
    """Something that was said."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: JsonValue
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCallItem(_Item):
    """A call that the model made."""

    type: Literal["function_call"]
    call_id: ItemId
    name: Annotated[str, Field(min_length=1, max_length=256)]
    arguments: str
    namespace: None = None
    caller: JsonValue = None
    is_async: bool | None = Field(default=None, validation_alias=AliasChoices("async", "async_"))
    """The openai client writes `async_` where a program sends its objects back as dicts."""


class FunctionOutputItem(_Item):
    """What came of a call."""

    type: Literal["function_call_output"]
    call_id: ItemId
    output: JsonValue
    name: str | None = None
    namespace: None = None
    caller: JsonValue = None


class ReasoningItem(_Item):
    """What the model thought before it answered."""

    type: Literal["reasoning"]
    summary: JsonValue = None
    content: JsonValue = None
    encrypted_content: str | None = None


ITEMS: dict[str, type[Strict]] = {
    "message": MessageItem,
    "function_call": FunctionCallItem,
    "function_call_output": FunctionOutputItem,
    "reasoning": ReasoningItem,
}
_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
}


class InputText(Strict):
    """Text that a person or a program wrote."""

    type: Literal["input_text"]
    text: str
    prompt_cache_breakpoint: JsonValue = None


class OutputText(Strict):
    """Text that the model wrote."""

    type: Literal["output_text"]
    text: str
    annotations: list[JsonValue] | None = None
    logprobs: list[JsonValue] | None = None
    parsed: JsonValue = None
    """The client's own reading of the text; it is sent back by some versions of it."""


class Refusal(Strict):
    """What the model said instead of an answer."""

    type: Literal["refusal"]
    refusal: str


class InputImage(Strict):
    """A picture."""

    type: Literal["input_image"]
    image_url: str | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None
    file_id: None = None
    prompt_cache_breakpoint: JsonValue = None


class SummaryText(Strict):
    """Part of a reasoning item's summary."""

    type: Literal["summary_text"]
    text: str


class ReasoningText(Strict):
    """Part of a reasoning item's content."""

    type: Literal["reasoning_text"]
    text: str


_SAID: dict[str, type[Strict]] = {"input_text": InputText, "input_image": InputImage}
_PARTS: dict[str, dict[str, type[Strict]]] = {
    "user": _SAID,
    "system": {"input_text": InputText},
    "developer": {"input_text": InputText},
    "assistant": {"output_text": OutputText, "refusal": Refusal, "input_text": InputText},
    "tool": _SAID,
}


def new_id(prefix: str) -> str:
    """Return an id that nobody can guess."""
    return f"{prefix}_{secrets.token_hex(16)}"


def parse_input(value: JsonValue, at: str = "input") -> list[JsonObject]:
    """Return the items of `input`, each with an id.

    Raises:
        ApiError: 400; no input, or no list of items.
    """
    if value is None:
        msg = f"'{at}' is missing. Send a text or a list of items."
        raise invalid_request(msg, param=at, code="missing_required_parameter")
    if isinstance(value, str):
        value = [{"type": "message", "role": "user", "content": value}]
    if not isinstance(value, list):
        msg = f"'{at}' has to be a text or a list of items and is {json_kind(value)}."
        raise invalid_request(msg, param=at, code="invalid_type")
    items: list[JsonObject] = []
    for index, item in enumerate(check_list(value, at, MAX_ITEMS)):
        kind = kind_of(item, f"{at}[{index}]", "message")
        prefix = _PREFIXES.get(kind, "item")
        named = {"type": kind, **cast("JsonObject", item)}
        if named.get("id") is None:
            named["id"] = new_id(prefix)
        items.append(named)
    return items


@dataclass
class Transcript:
    """Chat messages as they are built up, item by item."""

    messages: list[JsonObject] = field(default_factory=list[JsonObject])
    notes: list[str] = field(default_factory=list[str])
    """What could not be shown to the model."""
    open_calls: dict[str, str] = field(default_factory=dict[str, str])
    """call_id -> path of each call that has no output yet."""
    seen_calls: set[str] = field(default_factory=set[str])
    _turn: JsonObject | None = None
    """The assistant's message that later items may add to."""

    def add(self, item: JsonValue, at: str) -> None:
        """Take one more item.

        Raises:
            ApiError: 400 that names the item's field.
        """
        match check_kind(item, at, ITEMS):
            case MessageItem() as message:
                self._add_message(message, at)
            case FunctionCallItem() as call:
                self._add_call(call, at)
            case FunctionOutputItem() as output:
                self._add_output(output, at)
            case ReasoningItem() as reasoning:
                self._add_reasoning(reasoning, at)
            case _:
                msg = f"{at} has no translation"
                raise ValueError(msg)

    def finish(self) -> None:
        """Require that every call has its output.

        Raises:
            ApiError: 400.
        """
        for call_id, at in self.open_calls.items():
            msg = (
                f"'{at}' is the call {shown(call_id)}, and no function_call_output answers it. "
                "Send what came of it."
            )
            raise invalid_request(msg, param=at, code="missing_tool_output")

    def _add_message(self, message: MessageItem, at: str) -> None:
        content = _content(message.content, message.role, f"{at}.content")
        if message.role != "assistant":
            self._turn = None
            self.messages.append({"role": message.role, "content": content})
            return
        turn = self._turn
        if turn is None or turn["content"] or "tool_calls" in turn:
            turn = self._new_turn()
        turn["content"] = content

    def _add_call(self, call: FunctionCallItem, at: str) -> None:
        if call.call_id in self.seen_calls:
            msg = f"'{at}.call_id' is {shown(call.call_id)}, as is an earlier call's. Send another."
            raise invalid_request(msg, param=f"{at}.call_id")
        json_object(call.arguments, f"{at}.arguments")
        self.seen_calls.add(call.call_id)
        self.open_calls[call.call_id] = at
        turn = self._turn or self._new_turn()
        calls = cast("list[JsonValue]", turn.setdefault("tool_calls", []))
        calls.append(
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
        )

    def _add_output(self, output: FunctionOutputItem, at: str) -> None:
        if output.call_id not in self.open_calls:
            state = (
                "already has its output" if output.call_id in self.seen_calls else "was never made"
            )
            msg = f"'{at}.call_id' is {shown(output.call_id)}, a call that {state}. Correct it."
            raise invalid_request(msg, param=f"{at}.call_id")
        del self.open_calls[output.call_id]
        self._turn = None
        self.messages.append(
            {
                "role": "tool",
                "tool_call_id": output.call_id,
                "content": _content(output.output, "tool", f"{at}.output"),
            }
        )

    def _add_reasoning(self, reasoning: ReasoningItem, at: str) -> None:
        texts = _texts(reasoning.content, f"{at}.content", {"reasoning_text": ReasoningText})
        texts = texts or _texts(reasoning.summary, f"{at}.summary", {"summary_text": SummaryText})
        if not texts:
            if reasoning.encrypted_content:
                self.notes.append(f"{at} (encrypted reasoning)")
            return
        turn = self._turn
        if turn is None or turn["content"] or "tool_calls" in turn:
            turn = self._new_turn()
        said = turn.get("reasoning_content")
        turn["reasoning_content"] = "\n".join([said, *texts] if isinstance(said, str) else texts)

    def _new_turn(self) -> JsonObject:
        self._turn = {"role": "assistant", "content": ""}
        self.messages.append(self._turn)
        return self._turn


def to_messages(items: Iterable[tuple[str, JsonValue]]) -> Transcript:
    """Turn (path, item) pairs into chat messages.

    Raises:
        ApiError: 400 that names the item's field.
    """
    transcript = Transcript()
    for at, item in items:
        transcript.add(item, at)
    transcript.finish()
    return transcript


def cut_points(items: Sequence[JsonObject]) -> list[int]:
    """Return how many of the oldest items may be left out, fewest first.

    The last item always stays, and a call never loses its output or the other way round; before
    those, a point where a user's message begins is as good as any. System and developer messages
    are not counted out: `leave_out` keeps them.
    """
    points: list[int] = []
    open_calls: set[str] = set()
    for index, item in enumerate(items[:-1], start=1):
        call_id = item.get("call_id")
        if item.get("type") == "function_call" and isinstance(call_id, str):
            open_calls.add(call_id)
        elif item.get("type") == "function_call_output" and isinstance(call_id, str):
            open_calls.discard(call_id)
        if not open_calls and not _is_rule(item):
            points.append(index)
    return points


def leave_out(items: Sequence[JsonObject], n_oldest: int) -> tuple[list[JsonObject], int]:
    """Return (the items that stay, the number that went) when the oldest `n_oldest` go."""
    rules = [item for item in items[:n_oldest] if _is_rule(item)]
    return rules + list(items[n_oldest:]), n_oldest - len(rules)


def _is_rule(item: JsonObject) -> bool:
    return item.get("type") == "message" and item.get("role") in ("system", "developer")


def _content(value: JsonValue, role: str, at: str) -> JsonValue:
    """Return the content of a chat message: a string, or parts when there is more than text."""
    if isinstance(value, str):
        return value
    parts: list[JsonValue] = []
    for index, part in enumerate(check_list(value, at, MAX_PARTS)):
        part_at = f"{at}[{index}]"
        match check_kind(part, part_at, _PARTS[role]):
            case InputText(text=text) | OutputText(text=text) | Refusal(refusal=text):
                parts.append({"type": "text", "text": text})
            case InputImage() as image:
                if image.image_url is None:
                    msg = f"'{part_at}.image_url' is missing. Send the image as a data: URI."
                    raise invalid_request(
                        msg, param=f"{part_at}.image_url", code="missing_required_parameter"
                    )
                check_image(image.image_url, f"{part_at}.image_url")
                parts.append({"type": "image_url", "image_url": {"url": image.image_url}})
            case _:
                msg = f"{part_at} has no translation"
                raise ValueError(msg)
    if len(parts) == 1:
        only = cast("JsonObject", parts[0])
        return only["text"] if only["type"] == "text" else parts
    return parts or ""


def _texts(value: JsonValue, at: str, models: dict[str, type[Strict]]) -> list[str]:
    if value is None:
        return []
    parts = [
        check_kind(part, f"{at}[{index}]", models)
        for index, part in enumerate(check_list(value, at, MAX_PARTS))
    ]
    texts = [cast("SummaryText | ReasoningText", part).text for part in parts]
    return [text for text in texts if text]
