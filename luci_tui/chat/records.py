"""What is stored of a chat: the session, its tree of messages, and how prompts were cut to fit.

All of it is frozen; a change is a call of `ChatStore`. Times are milliseconds since 1970 (UTC).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
)

from luci_tui.engine import frames
from luci_tui.units import format_bytes

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""Of a chat or of a message within its chat."""
Milliseconds = Annotated[int, Field(ge=0, le=2**53)]


class Record(BaseModel):
    """Base of everything stored: immutable, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class MessageKind(StrEnum):
    """What a message is for."""

    TEXT = "text"
    """A part of the conversation."""
    SUMMARY = "summary"
    """The model's summary of everything from the root to its parent; no part of any branch."""


class MessageState(StrEnum):
    """How far a message has come."""

    COMPLETE = "complete"
    STREAMING = "streaming"
    """Its text still grows."""
    CANCELLED = "cancelled"
    """Somebody stopped it; the text that came is kept."""
    FAILED = "failed"
    """`failure_code` and `failure` say why; the text that came is kept."""
    INTERRUPTED = "interrupted"
    """The process ended while it streamed; the text that was stored is kept."""


class ChatPolicy(StrEnum):
    """What happens when a conversation is longer than the context."""

    DROP_OLDEST = "drop_oldest"
    """The oldest turns that are not pinned are left out of the prompt, and named."""
    SUMMARISE = "summarise"
    """The model writes a summary of what is left out, and that is sent instead."""
    REFUSE = "refuse"
    """The turn fails and says how much too long it is."""


class Parameters(Record):
    """How the answers of one chat are made."""

    sampling: frames.SamplingParams | None = None
    """None = as the model's entry says."""
    sampling_changes: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Fields of SamplingParams that this chat has its own values for, above all others."""
    max_tokens: int = Field(default=-1, ge=-1, le=2**31 - 1)
    """Longest answer; -1 = until the model ends or the context is full."""
    policy: ChatPolicy = ChatPolicy.DROP_OLDEST
    reserve_tokens: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Context that a prompt leaves free for the answer; None = `max_tokens`, or a quarter of the
    context and at most 1,024."""
    enable_thinking: bool = True

    @field_validator("sampling_changes")
    @classmethod
    def _check_changes(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return frames.SamplingParams.model_validate(value).model_dump(
            mode="json", include=set(value)
        )


class ChatSession(Record):
    """One chat without its messages."""

    id: Identifier
    title: str = ""
    is_title_set: bool = False
    """False = the title is the first words of the first prompt."""
    model: str = ""
    """Name of the model that answers; empty = the one that the front end names."""
    system: str = ""
    """System message; empty = that of the model's entry."""
    parameters: Parameters = Parameters()
    active_leaf_id: Identifier | None = None
    """The last message of the branch that is shown; None = there is no message."""
    is_archived: bool = False
    created_ms: Milliseconds
    updated_ms: Milliseconds


class ToolCall(Record):
    """A call that the model asked for."""

    id: str = ""
    name: str
    arguments: str = ""
    """JSON as the model wrote it; it may be broken off."""


class Medium(Record):
    """A picture or a sound that a message carries; its content is stored beside the message."""

    name: str = Field(default="", max_length=255)
    """Of the file."""
    kind: str = Field(pattern=r"^(image|audio)/[a-z0-9]{1,10}$")
    """As in MIME, e.g. "image/png"."""
    size_bytes: int = Field(ge=0, le=2**31 - 1)
    width: int = Field(default=0, ge=0, le=2**31 - 1)
    """Pixels; 0 for a sound."""
    height: int = Field(default=0, ge=0, le=2**31 - 1)

    @property
    def is_audio(self) -> bool:
        """It is a sound."""
        return self.kind.startswith("audio/")

    @property
    def words(self) -> str:
        """Name, size and pixels, for a person."""
        pixels = f" {self.width}x{self.height}" if self.width else ""
        return f"{self.name or self.kind} {format_bytes(self.size_bytes)}{pixels}"


class LeftOut(Record):
    """A run of messages, one after the other in the branch, that a prompt did not contain."""

    first_id: Identifier
    last_id: Identifier
    """The same as `first_id` for a single message."""
    n_messages: int = Field(ge=1)
    tokens: int = Field(ge=0)
    is_estimated: bool = False
    """True = not every text of the run was counted; the rest is estimated by its bytes."""
    is_summarised: bool = False
    """True = the summary that was sent speaks for them."""


class ContextReport(Record):
    """What one prompt contained of its chat, and exactly what not."""

    n_ctx: int
    reserve_tokens: int
    """Kept free for the answer."""
    counted_tokens: int
    """The prompt as counted before it was sent."""
    prompt_tokens: int | None = None
    """The prompt as the engine counted it; None = it did not get that far."""
    counting: str = ""
    """How `counted_tokens` came about, in words."""
    n_sent: int
    """Messages of the chat in the prompt."""
    left_out: tuple[LeftOut, ...] = ()
    """In the order of the branch."""
    pinned_ids: tuple[Identifier, ...] = ()
    """Pinned messages of this branch; all of them were sent."""
    summary_id: Identifier | None = None
    """The stored summary that was sent in place of what is left out."""
    note: str = ""
    """What else a reader has to know, in one sentence; empty = nothing."""

    @property
    def n_left_out(self) -> int:
        """How many messages were left out."""
        return sum(run.n_messages for run in self.left_out)

    @property
    def left_out_tokens(self) -> int:
        """How many tokens were left out."""
        return sum(run.tokens for run in self.left_out)


class Message(Record):
    """One message of a chat's tree."""

    id: Identifier
    parent_id: Identifier | None = None
    """The message before it; None = a first message."""
    role: Role
    kind: MessageKind = MessageKind.TEXT
    state: MessageState = MessageState.COMPLETE
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    """Of a tool's message: the call that it answers."""
    media: tuple[Medium, ...] = ()
    """Pictures and sounds; `ChatStore.media` gives what they hold."""
    is_pinned: bool = False
    """Pinned messages, and the turns they stand in, are never left out of a prompt."""
    created_ms: Milliseconds
    finished_ms: Milliseconds | None = None
    model: str = ""
    """The model that answered; empty for all but answers."""
    asked_model: str = ""
    """The model that was asked, where a fallback answered instead; else empty."""
    finish_reason: frames.FinishReason | None = None
    usage: frames.Usage | None = None
    timings: frames.Timings | None = None
    seed: int | None = None
    context: ContextReport | None = None
    doubtful: tuple[str, ...] = ()
    """Arguments of a proposed command that do not stand in the request."""
    failure_code: str = ""
    failure: str = ""
    """Why the message failed, in one sentence."""
    rating: Literal[-1, 0, 1] = 0
    rating_note: str = ""


class Fork(Record):
    """A message of a branch that has siblings."""

    message_id: Identifier
    sibling_ids: tuple[Identifier, ...]
    """All of them with the message itself, oldest first."""


class OpenedChat(Record):
    """A chat as a screen shows it: the active branch, and where it could be left."""

    session: ChatSession
    messages: tuple[Message, ...]
    """From the first message to the active leaf."""
    forks: tuple[Fork, ...] = ()


class ChatRow(Record):
    """A chat in a list."""

    session: ChatSession
    n_messages: int


class ImportedChat(Record):
    """A chat that was taken in from a file."""

    session: ChatSession
    note: str = ""
    """What could not be taken over, in one sentence; empty = nothing."""


class SearchHit(Record):
    """A place where a search found something."""

    chat_id: Identifier
    title: str
    message_id: Identifier | None
    """None = the title was found."""
    role: Role | None
    snippet: str
    """Some words around what was found."""
    marks: tuple[tuple[int, int], ...]
    """(start, end) of the words found, as positions in `snippet`."""
    created_ms: int
