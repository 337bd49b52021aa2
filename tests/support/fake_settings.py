"""How a chat is asked, kept in memory: no host, no files."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import JsonValue

from luci_tui.chat.parameters import Layers, parameter, read_words, resolved
from luci_tui.chat.presets import Preset
from luci_tui.errors import ConfigError, LuciError
from luci_tui.tui.chat_settings import ChatSettings, ModelChoice, ParametersRead, Where
from luci_tui.tui.conversation import OwnConversation


@dataclass
class FakeSettings:
    """Implements ChatSettings."""

    model: str = "llama-1b"
    chat: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    own: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    described: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    choices: tuple[ModelChoice, ...] = ()
    failure: LuciError | None = None
    """Why nothing can be read or changed."""

    async def read(self) -> ParametersRead:
        self._check()
        layers = Layers(self.chat, self.own, self.described, "models.toml")
        return ParametersRead(self.model, self.model, resolved(layers))

    async def set(self, where: Where, name: str, words: str) -> None:
        self._check()
        value = read_words(name, words)
        if where is Where.MODEL and not parameter(name).is_of_model:
            msg = f"{name} is kept for a chat alone. Enter sets it."
            raise ConfigError(msg)
        (self.chat if where is Where.CHAT else self.own)[name] = value

    async def reset(self, name: str) -> str:
        self._check()
        for kept in (self.chat, self.own):
            if kept.pop(name, None) is not None:
                return f"{name} was taken back."
        return f"Nobody has set {name}."

    async def use(self, preset: Preset) -> None:
        self._check()
        self.chat |= {"system": preset.system, **preset.sampling}

    async def models(self) -> tuple[ModelChoice, ...]:
        self._check()
        return self.choices

    async def switch(self, name: str) -> str:
        self._check()
        self.model = name
        return f"From here on {name} answers."

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure


class SettledConversation(OwnConversation):
    """A chat with an engine of one's own that can be asked otherwise."""

    kept: ChatSettings | None = None

    @property
    def settings(self) -> ChatSettings | None:
        return self.kept
