from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from luci_tui.chat.model import ModelSpec
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.host.lifecycle import ensure_host
from luci_tui.host.wiring import Backend
from luci_tui.tui.app import ChatApp
from luci_tui.tui.conversation import OwnConversation
from luci_tui.tui.host_conversation import HostConversation
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.hosts import ECHO, running_host
from tests.support.screen import shown_text, wait_for_text
from tests.support.scripted_engine import ScriptedEngine


class Telling(OwnConversation):
    async def news(self) -> list[str]:
        return ["The idle host of luci 0.0.1 was replaced."]


async def test_news_then_the_screen_shows_them_and_still_says_what_to_do() -> None:
    model = ModelSpec("model.gguf", LoadSpec(model_path="model.gguf"), False)
    app = ChatApp(lambda: Telling(Backend(ScriptedEngine(), model, None)))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "The idle host of luci 0.0.1 was replaced.")
        assert "Type a request and press Enter" in shown_text(app)


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    (tmp_path / "config.toml").write_text("[host]\nmax_jobs = 0\n")
    async with running_host(tmp_path):
        yield tmp_path


async def begin(home: Path) -> tuple[HostConversation, list[str]]:
    """Open a screen's chat and return what it has to tell."""

    async def find() -> HostClient:
        return await ensure_host(home, ECHO)

    conversation = HostConversation(find_host=find, model="builtin", label="builtin")
    await conversation.resume()
    return conversation, await conversation.news()


async def test_news_of_a_host_then_only_the_first_screen_tells_them(home: Path) -> None:
    first, told = await begin(home)
    assert ["line 2: host.max_jobs cannot be 0" in one for one in told] == [True]
    assert await first.news() == []
    second, told = await begin(home)
    assert told == []
    for conversation in (first, second):
        await conversation.close()


async def test_news_that_the_screen_found_itself_then_they_are_told_once_with_the_hosts(
    home: Path,
) -> None:
    first, _ = await begin(home)
    await first.close()
    first.notices = ["The settings cannot be read.", "The settings cannot be read."]
    assert await first.news() == ["The settings cannot be read."]


async def test_chat_that_is_gone_on_with_brings_its_model(home: Path) -> None:
    models = home / "models"
    models.mkdir(exist_ok=True)  # the host makes it, too, some time after its start
    write_arch_model(TinyArch.LLAMA, models / "other.gguf")
    first, _ = await begin(home)
    assert first.client is not None
    made = await HostChats(first.client).create({"model": "other"})
    conversation, _ = await begin(home)
    conversation.resume_chat, conversation.answers_with_command = made.id, True
    async for _ in conversation.load():
        pass
    assert (conversation.model, conversation.label) == ("other", "other")
    assert not conversation.answers_with_command
    assert conversation.loaded is not None
    for one in (first, conversation):
        await one.close()
