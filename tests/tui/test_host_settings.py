"""How a chat in a real host is asked: before it begins, while it goes on, and for its model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from pydantic import JsonValue

from luci_tui.chat.presets import read_presets
from luci_tui.errors import CatalogError, ConfigError
from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.host.lifecycle import ensure_host
from luci_tui.tui.chat_settings import Where
from luci_tui.tui.host_conversation import HostConversation
from tests.support.hosts import ECHO, running_host


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    (tmp_path / "models.toml").write_text(
        '[[model]]\nname = "talker"\npath = "/nowhere/talker.gguf"\nsystem = "Talk."\n'
        "[model.sampling]\ntop_k = 12\n"
    )
    async with running_host(tmp_path):
        yield tmp_path


@pytest.fixture
async def conversation(home: Path) -> AsyncIterator[HostConversation]:
    async def find() -> HostClient:
        return await ensure_host(home, ECHO)

    made = HostConversation(find_host=find, model="talker", label="talker")
    yield made
    await made.close()


async def value_of(conversation: HostConversation, name: str) -> tuple[JsonValue, str]:
    found = (await conversation.settings.read()).values
    return next((one.value, one.source_words) for one in found if one.parameter.name == name)


async def ask(conversation: HostConversation, prompt: str) -> None:
    async with aclosing(conversation.answer(prompt)) as events:
        async for _ in events:
            pass


async def test_values_set_before_the_chat_begins_are_the_chats_and_last(
    conversation: HostConversation, home: Path
) -> None:
    settings = conversation.settings
    assert await value_of(conversation, "system") == ("Talk.", "models.toml")
    assert await value_of(conversation, "top_k") == (12, "models.toml")
    await settings.set(Where.CHAT, "temperature", "0.5")
    await settings.set(Where.CHAT, "max_tokens", "7")
    await settings.set(Where.CHAT, "system", "Be brief.")
    assert await value_of(conversation, "temperature") == (0.5, "chat")
    await ask(conversation, "one two three")
    client = await conversation.reach()
    session = (await HostChats(client).get(conversation.chat_id)).session
    assert (session.system, session.parameters.max_tokens) == ("Be brief.", 7)
    assert session.parameters.sampling_changes == {"temperature": 0.5}
    assert await settings.reset("temperature") == "temperature is no longer set for this chat."
    assert await value_of(conversation, "temperature") == (0.8, "default")
    conversation.forget()
    assert await value_of(conversation, "system") == ("Talk.", "models.toml")
    assert not (home / "library.toml").exists()


async def test_values_of_the_model_hold_for_every_chat_and_are_written_down(
    conversation: HostConversation, home: Path
) -> None:
    settings = conversation.settings
    await settings.set(Where.MODEL, "top_k", "5")
    await settings.set(Where.MODEL, "system", "Two\nlines.")
    assert await value_of(conversation, "top_k") == (5, "model")
    assert await value_of(conversation, "system") == ("Two\nlines.", "model")
    assert "[model.talker" in (home / "library.toml").read_text()
    assert await settings.reset("top_k") == "top_k is no longer set for talker, in all chats."
    assert await value_of(conversation, "top_k") == (12, "models.toml")
    assert (await settings.reset("top_k")).startswith("Nobody has set top_k")
    with pytest.raises(ConfigError, match="max_tokens is kept for a chat alone"):
        await settings.set(Where.MODEL, "max_tokens", "7")
    with pytest.raises(ConfigError, match='top_p cannot be "2"'):
        await settings.set(Where.CHAT, "top_p", "2")


async def test_preset_and_another_model_are_the_chats_from_there_on(
    conversation: HostConversation,
) -> None:
    await ask(conversation, "one")
    settings = conversation.settings
    await settings.use(read_presets().find("newton"))
    assert await value_of(conversation, "temperature") == (0.3, "chat")
    assert {one.name for one in await settings.models()} == {"builtin", "talker"}
    assert "answers each request alone" in await settings.switch("builtin")
    assert conversation.answers_with_command
    client = await conversation.reach()
    session = (await HostChats(client).get(conversation.chat_id)).session
    assert session.model == "builtin"
    assert await value_of(conversation, "top_k") == (40, "default")
    assert await value_of(conversation, "temperature") == (0.3, "chat")
    with pytest.raises(CatalogError):
        await settings.switch("nobody")
    assert conversation.model == "builtin"
