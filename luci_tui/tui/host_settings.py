"""How a chat in the host is asked; see `chat_settings.ChatSettings` for what each method means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from luci_tui.chat.parameters import (
    SYSTEM,
    Layers,
    chat_layer,
    parameter,
    read_words,
    resolved,
    with_value,
)
from luci_tui.chat.presets import Preset
from luci_tui.chat.records import ChatSession, Parameters
from luci_tui.errors import ConfigError
from luci_tui.host.api.messages import ChangeModelParameters
from luci_tui.host.chat_client import HostChats
from luci_tui.tui.chat_settings import Beginning, ModelChoice, ParametersRead, Where

if TYPE_CHECKING:
    from luci_tui.host.api.messages import ModelParameters
    from luci_tui.tui.host_conversation import HostConversation


class HostChatSettings:
    """Implements ChatSettings. A chat that has not begun yet is told with its first prompt."""

    def __init__(self, conversation: HostConversation) -> None:
        self._conversation = conversation

    async def read(self) -> ParametersRead:
        """See `ChatSettings`."""
        told = await self._of_model()
        system, kept = await self._of_chat()
        layers = Layers(
            chat=chat_layer(system, kept),
            model=_with_system(told.own, told.own_system),
            described=_with_system(told.described, told.described_system),
            described_in=told.described_in,
        )
        return ParametersRead(self._conversation.label, told.name, resolved(layers))

    async def set(self, where: Where, name: str, words: str) -> None:
        """See `ChatSettings`."""
        value = read_words(name, words)
        if where is Where.CHAT:
            await self._set_in_chat({name: value})
            return
        if not parameter(name).is_of_model:
            msg = f"{name} is kept for a chat alone. Enter sets it."
            raise ConfigError(msg, code="parameter")
        await self._set_for_model(name, value)

    async def reset(self, name: str) -> str:
        """See `ChatSettings`."""
        system, kept = await self._of_chat()
        if name in chat_layer(system, kept):
            await self._set_in_chat({name: None})
            return f"{name} is no longer set for this chat."
        told = await self._of_model()
        if name in _with_system(told.own, told.own_system):
            await self._set_for_model(name, None)
            return f"{name} is no longer set for {told.name}, in all chats."
        return f"Nobody has set {name}, so there is nothing to take back."

    async def use(self, preset: Preset) -> None:
        """See `ChatSettings`."""
        system: dict[str, JsonValue] = {SYSTEM: preset.system} if preset.system else {}
        await self._set_in_chat(system | preset.sampling)

    async def models(self) -> tuple[ModelChoice, ...]:
        """See `ChatSettings`."""
        told = await (await self._conversation.reach()).models()
        loaded = {one.name for one in told.loaded if one.state == "ready"}
        choices = [
            ModelChoice(one.name, one.name in loaded, one.detail or one.path)
            for one in told.entries
        ]
        return tuple(sorted(choices, key=lambda one: not one.is_loaded))

    async def switch(self, name: str) -> str:
        """See `ChatSettings`."""
        conversation = self._conversation
        client = await conversation.reach()
        told = await client.model_parameters(name)
        if conversation.chat_id:
            await HostChats(client).update(conversation.chat_id, {"model": name})
        conversation.model, conversation.label = name, Path(name).name
        conversation.loaded = None
        conversation.answers_with_command = told.answers_with_command
        reads = "it reads what was said before"
        if told.answers_with_command:
            reads = "it answers each request alone, with a shell command"
        return f"From here on {conversation.label} answers; {reads}."

    async def _of_model(self) -> ModelParameters:
        client = await self._conversation.reach()
        return await client.model_parameters(self._conversation.model)

    async def _of_chat(self) -> tuple[str, Parameters]:
        """Give the system prompt and the parameters of the chat."""
        if session := await self._session():
            return session.system, session.parameters
        start = self._conversation.start
        return start.system, Parameters.model_validate(dict(start.parameters))

    async def _session(self) -> ChatSession | None:
        """Give the chat; None = the next prompt begins it."""
        client = await self._conversation.reach()
        if not self._conversation.chat_id:
            return None
        return (await HostChats(client).get(self._conversation.chat_id)).session

    async def _set_in_chat(self, values: Mapping[str, JsonValue]) -> None:
        """Give the chat these values; None = none of its own."""
        system, kept = await self._of_chat()
        for name, value in values.items():
            if name == SYSTEM:
                system = str(value or "")
            else:
                kept = with_value(kept, name, value)
        conversation = self._conversation
        if conversation.chat_id:
            chats = HostChats(await conversation.reach())
            await chats.update(conversation.chat_id, {"system": system, "parameters": kept})
            return
        fields = kept.model_dump(mode="json", exclude_defaults=True)
        conversation.start = Beginning(system, fields)

    async def _set_for_model(self, name: str, value: JsonValue) -> None:
        client = await self._conversation.reach()
        wanted = ChangeModelParameters(
            name=self._conversation.model,
            system=str(value or "") if name == SYSTEM else None,
            sampling={} if name == SYSTEM else {name: value},
        )
        await client.change_model_parameters(wanted)


def _with_system(values: Mapping[str, JsonValue], system: str) -> dict[str, JsonValue]:
    return {**values, SYSTEM: system} if system else dict(values)
