"""Between the rows of the chats' file and its records."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from pydantic import TypeAdapter
from pydantic_core import from_json

from luci_tui.chat.cost import Spent
from luci_tui.chat.records import ChatSession, Message, MessageState, Parameters, Role, ToolCall
from luci_tui.engine import frames

CHAT_COLUMNS = (
    *("id", "title", "is_title_set", "model", "system", "parameters", "active_leaf_id"),
    *("is_archived", "created_ms", "updated_ms"),
)
_PLAIN = (
    *("id", "parent_id", "role", "kind", "state", "text", "reasoning", "is_pinned"),
    *("rating", "rating_note", "created_ms"),
)
MESSAGE_COLUMNS = (*_PLAIN, "details")
"""`details` is a JSON object of the fields that have no column of their own."""
DETAILS = frozenset(Message.model_fields) - set(_PLAIN)

INSERT_CHAT = (
    f"INSERT INTO chats ({', '.join(CHAT_COLUMNS)}) VALUES ({', '.join('?' * len(CHAT_COLUMNS))})"
)
INSERT_MESSAGE = (
    f"INSERT INTO messages (chat_id, {', '.join(MESSAGE_COLUMNS)})"
    f" VALUES (?, {', '.join('?' * len(MESSAGE_COLUMNS))})"
)

INSERT_MEDIUM = (
    "INSERT OR REPLACE INTO media (message_n, place, content)"
    " SELECT n, ?, ? FROM messages WHERE chat_id = ? AND id = ?"
)

SPENT = """
    SELECT chat_id, model, count(usage), count(timings),
        total(json_extract(usage, '$.prompt_tokens')),
        total(json_extract(usage, '$.cached_tokens')),
        total(json_extract(usage, '$.completion_tokens')),
        total(json_extract(timings, '$.prefill_ms')) + total(json_extract(timings, '$.decode_ms'))
    FROM (
        SELECT chat_id, coalesce(json_extract(details, '$.model'), '') AS model,
            json_extract(details, '$.usage') AS usage,
            json_extract(details, '$.timings') AS timings
        FROM messages
        WHERE chat_id IN (SELECT value FROM json_each(?)) AND json_valid(details)
    )
    WHERE usage IS NOT NULL OR timings IS NOT NULL
    GROUP BY chat_id, model ORDER BY chat_id, model
"""
"""Sums over the answers of some chats (a JSON array of their ids), as `spent_of` reads them."""

_messages: TypeAdapter[tuple[Message, ...]] = TypeAdapter(tuple[Message, ...])
_tool_call_deltas: TypeAdapter[tuple[frames.ToolCallDelta, ...]] = TypeAdapter(
    tuple[frames.ToolCallDelta, ...]
)

Row = Sequence[object]


def session_of(row: Row) -> ChatSession:
    """Make the session from a row of CHAT_COLUMNS."""
    fields = dict(zip(CHAT_COLUMNS, row, strict=True))
    try:
        fields["parameters"] = Parameters.model_validate_json(str(fields["parameters"]))
    except ValueError:
        # Damage that SQLite cannot see; the chat is worth more than its parameters.
        fields["parameters"] = Parameters()
    try:
        return ChatSession.model_validate(fields)
    except ValueError:
        return ChatSession.model_construct(
            id=str(fields["id"]), title=str(fields["title"]), created_ms=0, updated_ms=0
        )


def row_of_session(session: ChatSession) -> list[object]:
    """Make the values of CHAT_COLUMNS."""
    fields = {name: getattr(session, name) for name in CHAT_COLUMNS}
    fields["parameters"] = session.parameters.model_dump_json(exclude_defaults=True)
    return list(fields.values())


def messages_of(rows: Iterable[Row]) -> tuple[Message, ...]:
    """Make messages from rows of MESSAGE_COLUMNS."""
    found = list(rows)
    try:
        return _messages.validate_python([_fields(row) for row in found])
    except ValueError:
        return tuple(_message_in_doubt(row) for row in found)


def spent_of(row: Row) -> Spent:
    """Make the sum of one chat and model from a row of SPENT."""
    return Spent.model_validate(dict(zip(Spent.model_fields, row, strict=True)))


def message_of(row: Row) -> Message:
    """Make the message from a row of MESSAGE_COLUMNS."""
    return Message.model_validate(_fields(row))


def row_of_message(message: Message) -> list[object]:
    """Make the values of MESSAGE_COLUMNS."""
    return [*(getattr(message, name) for name in _PLAIN), details_of(message)]


def details_of(message: Message) -> str:
    """Make the value of the column `details`."""
    return message.model_dump_json(include=set(DETAILS), exclude_defaults=True)


def _fields(row: Row) -> dict[str, object]:
    fields = dict(zip(MESSAGE_COLUMNS, row, strict=True))
    details = str(fields.pop("details"))
    if details != "{}":
        fields.update(from_json(details))
    return fields


def _message_in_doubt(row: Row) -> Message:
    """Make the message of a row with damage that SQLite cannot see; one keeps no chat closed."""
    for details in (row[-1], "{}"):
        try:
            return message_of([*row[:-1], details])
        except ValueError:
            continue
    fields = dict(zip(MESSAGE_COLUMNS, row, strict=True))
    return Message.model_construct(
        id=str(fields["id"]),
        parent_id=fields["parent_id"],
        role=Role.ASSISTANT,
        state=MessageState.FAILED,
        text=str(fields["text"]),
        created_ms=0,
        failure_code="damaged",
        failure="This message is damaged on the disk; its text may be wrong.",
    )


class Pieces:
    """Joins what a message gained while it streamed."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, ToolCall] = {}

    def add(
        self, text: str, reasoning: str = "", tool_calls: Iterable[frames.ToolCallDelta] = ()
    ) -> None:
        """Append one piece."""
        self._text.append(text)
        self._reasoning.append(reasoning)
        for delta in tool_calls:
            call = self._calls.get(delta.index, ToolCall(name=""))
            self._calls[delta.index] = ToolCall(
                id=call.id or delta.id,
                name=call.name or delta.name,
                arguments=call.arguments + delta.arguments,
            )

    def add_row(self, row: Row) -> None:
        """Append a row (text, reasoning, tool_calls) of the table `pieces`."""
        text, reasoning, tool_calls = (str(value) for value in row)
        self.add(text, reasoning, _tool_call_deltas.validate_json(tool_calls) if tool_calls else ())

    @property
    def text(self) -> str:
        """All text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """All thinking so far."""
        return "".join(self._reasoning)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """All calls so far, in the order of their numbers."""
        return tuple(self._calls[index] for index in sorted(self._calls))

    def onto(self, message: Message) -> Message:
        """Give `message` with the pieces behind what it has."""
        return message.model_copy(
            update={
                "text": message.text + self.text,
                "reasoning": message.reasoning + self.reasoning,
                "tool_calls": message.tool_calls + self.tool_calls,
            }
        )


def dump_tool_calls(tool_calls: tuple[frames.ToolCallDelta, ...]) -> str:
    """Write the column `tool_calls` of a piece; empty = there are none."""
    return _tool_call_deltas.dump_json(tool_calls).decode() if tool_calls else ""


def pieces_of(connection: sqlite3.Connection, message_n: int) -> Pieces:
    """Read what a message gained while it streamed."""
    pieces = Pieces()
    for row in connection.execute(
        "SELECT text, reasoning, tool_calls FROM pieces WHERE message_n = ? ORDER BY place",
        (message_n,),
    ):
        pieces.add_row(row)
    return pieces
