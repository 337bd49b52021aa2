"""What happens between asking for a model and having it, as small frozen events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Progress(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Waiting(_Progress):
    """Memory is held by models that are in use."""

    kind: Literal["waiting"] = "waiting"
    reason: str
    """One sentence with the numbers."""


class Evicting(_Progress):
    """A model that is not in use leaves memory to make room."""

    kind: Literal["evicting"] = "evicting"
    name: str


class Loading(_Progress):
    """The model comes into memory."""

    kind: Literal["loading"] = "loading"
    name: str
    fraction: float
    """0 to 1."""


class Restarting(_Progress):
    """The model's worker was lost and is started again."""

    kind: Literal["restarting"] = "restarting"
    name: str
    in_s: float
    """Seconds until then; 0 = now."""
    reason: str
    """Why it was lost."""


class FellBack(_Progress):
    """Another model answers in place of the one that was asked for."""

    kind: Literal["fell_back"] = "fell_back"
    wanted: str
    name: str
    """The one that is tried instead."""
    reason: str
    """Why the one before cannot be had."""


LeaseProgress = Annotated[
    Waiting | Evicting | Loading | Restarting | FellBack, Field(discriminator="kind")
]
OnProgress = Callable[[LeaseProgress], None]
"""Called in the event loop; returns at once and raises nothing."""


def ignore(progress: LeaseProgress) -> None:
    """Do nothing."""
