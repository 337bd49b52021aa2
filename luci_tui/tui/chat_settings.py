"""How a chat is asked, as the screen changes it; plain records that import nothing at run time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pydantic import JsonValue

    from luci_tui.chat.parameters import Value
    from luci_tui.chat.presets import Preset


class Where(Enum):
    """For what a value is kept."""

    CHAT = auto()
    MODEL = auto()
    """For every chat with the model."""


@dataclass(frozen=True)
class Beginning:
    """What a chat that does not exist yet begins with."""

    system: str = ""
    """System prompt; empty = that of the model."""
    parameters: Mapping[str, JsonValue] = field(default_factory=dict[str, "JsonValue"])
    """Fields of chat/records.py's Parameters, as JSON."""
    after_chat: str = ""
    """A chat of the host whose messages it begins with a copy of; its system prompt and parameters
    count where none are given here. Empty = it begins with nothing."""


@dataclass(frozen=True)
class ParametersRead:
    """The parameters as they count now."""

    model: str
    """What a person calls it."""
    name: str
    """What the host calls it: a name or a path."""
    values: tuple[Value, ...]


@dataclass(frozen=True)
class ModelChoice:
    """A model that the chat could go on with."""

    name: str
    is_loaded: bool
    detail: str = ""


class ChatSettings(Protocol):
    """Changes how the chat of a conversation is asked. Every method raises LuciError."""

    async def read(self) -> ParametersRead:
        """Say what counts and who says so."""
        ...

    async def set(self, where: Where, name: str, words: str) -> None:
        """Give a parameter the value that a person typed; nothing changes where it cannot be."""
        ...

    async def reset(self, name: str) -> str:
        """Take back the strongest value that a person gave; says what was done, in a sentence."""
        ...

    async def use(self, preset: Preset) -> None:
        """Give the chat the system prompt and the parameters of a preset."""
        ...

    async def models(self) -> tuple[ModelChoice, ...]:
        """List the models that may answer, those in memory first."""
        ...

    async def switch(self, name: str) -> str:
        """Let another model answer from here on; says so in a sentence. It is not loaded yet."""
        ...
