"""What all messages between processes have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frame(BaseModel):
    """Base of all messages: immutable, and unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
