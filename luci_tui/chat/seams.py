"""What chats need from the layer below (models on lease), and what a caller may ask of one turn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from pydantic import BaseModel

from luci_tui.chat.records import ChatPolicy, Record
from luci_tui.chat.turn_events import TurnLoading
from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient


class Entry(Protocol):
    """The entry of a model in the registry, as far as a chat reads it."""

    @property
    def name(self) -> str:
        """Return the name that a person types."""
        ...

    @property
    def sampling(self) -> frames.SamplingParams:
        """Return the sampler chain of its answers."""
        ...

    @property
    def system(self) -> str:
        """Return the system message of its chats; empty = none."""
        ...

    @property
    def answers_with_command(self) -> bool:
        """Tell whether the answer is one bare shell command."""
        ...


class Lease(Protocol):
    """A loaded model that stays loaded while the lease is held."""

    @property
    def entry(self) -> Entry:
        """Return the entry that really serves; a fallback's name differs from what was asked."""
        ...

    @property
    def info(self) -> frames.ModelInfo:
        """Return what the loaded model is."""
        ...

    @property
    def engine(self) -> EngineClient:
        """Return the engine; only `generate` and `ask` are used."""
        ...


class Models(Protocol):
    """Something that lends models."""

    def lease(
        self, name: str, on_progress: Callable[[object], None]
    ) -> AbstractAsyncContextManager[Lease]:
        """Load the model if needed and keep it for the time of the context.

        Args:
            name: As in the registry.
            on_progress: Called in the event loop with what happens meanwhile: values that
                `loading_event` turns into words.

        Raises:
            LuciError: there is no such model, or it cannot be loaded.
        """
        ...


class TurnOptions(Record):
    """What one turn wants otherwise than its chat says."""

    model: str = ""
    """Empty = the chat's."""
    sampling: frames.SamplingParams | None = None
    seed: int | None = None
    max_tokens: int | None = None
    enable_thinking: bool | None = None
    policy: ChatPolicy | None = None
    tools_json: str = ""
    """OpenAI tools as a JSON array; empty = none."""
    tool_choice: Literal["auto", "required", "none"] = "auto"


_WORDS = {
    "waiting": "waiting: {reason}",
    "evicting": "unloading {name} to make room",
    "loading": "loading {name}",
    "restarting": "restarting {name}: {reason}",
    "fell_back": "{wanted} cannot be had, taking {name}: {reason}",
}
"""What a person reads, by the `kind` of what a lease reports."""


def loading_event(progress: object) -> TurnLoading:
    """Turn what a lease reports (a frozen model with a `kind`) into an event with words."""
    fields = progress.model_dump() if isinstance(progress, BaseModel) else {}
    template = _WORDS.get(str(fields.get("kind")), "waiting for the model")
    return TurnLoading(words=template.format_map(fields), fraction=fields.get("fraction"))
