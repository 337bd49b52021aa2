"""What happens while a chat is answered, as a tagged union of frozen models.

A turn is TurnStarted, any number of TurnLoading, TurnPrompt and TurnDelta, and at last TurnDone or
TurnFailed. What is wrong before anything was stored (no such chat, a full disk, a chat that is
answering already) is raised instead, and there is no event at all.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from luci_tui.chat.records import ContextReport
from luci_tui.engine import frames


class TurnBase(BaseModel):
    """Base of all events: immutable, and unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TurnStarted(TurnBase):
    """The user's turn is on the disk, and a reply without text stands below it."""

    kind: Literal["turn_started"] = "turn_started"
    chat_id: str
    user_message_id: str
    reply_id: str
    model: str
    """The model that is asked; if another one answers, a TurnLoading and TurnDone say so."""


class TurnLoading(TurnBase):
    """Something has to happen before the model reads: loading, waiting, summarising."""

    kind: Literal["turn_loading"] = "turn_loading"
    words: str
    """What happens, for a person."""
    fraction: float | None = None
    """0 to 1; None = nobody knows how long it takes."""


class TurnPrompt(TurnBase):
    """How much of the prompt is in the KV cache."""

    kind: Literal["turn_prompt"] = "turn_prompt"
    n_done: int
    n_total: int


class TurnDelta(TurnBase):
    """What the reply has gained."""

    kind: Literal["turn_delta"] = "turn_delta"
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[frames.ToolCallDelta, ...] = ()


class TurnDone(TurnBase):
    """The reply is complete, or was stopped by the engine's side with CANCELLED."""

    kind: Literal["turn_done"] = "turn_done"
    reply_id: str
    model: str
    """The model that answered."""
    finish_reason: frames.FinishReason
    usage: frames.Usage
    timings: frames.Timings
    seed: int
    context: ContextReport
    doubtful: tuple[str, ...] = ()
    """Arguments of a proposed command that do not stand in the request."""
    not_stored: str = ""
    """Why the reply is not, or not wholly, on the disk, in one sentence; empty = it is."""


class TurnFailed(TurnBase):
    """The reply ended without being complete; the text that came is kept."""

    kind: Literal["turn_failed"] = "turn_failed"
    reply_id: str
    code: str
    message: str
    """One sentence for a person."""
    not_stored: str = ""
    """As in TurnDone."""


TurnEvent = Annotated[
    TurnStarted | TurnLoading | TurnPrompt | TurnDelta | TurnDone | TurnFailed,
    Field(discriminator="kind"),
]

turn_event_adapter: TypeAdapter[TurnEvent] = TypeAdapter(TurnEvent)
