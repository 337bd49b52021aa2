"""Columns over a real host: each is a chat of its own there, and one of them is gone on with."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.host.lifecycle import ensure_host
from luci_tui.tui.app import ChatApp
from luci_tui.tui.host_conversation import HostConversation
from tests.support.hosts import ECHO, running_host
from tests.support.kept_chats import kept_chats
from tests.support.screen import chat_screen, opened_screen, wait_for_text, wait_until
from tests.support.scripted_engine import ScriptedEngine, done, text

MODELS = """\
[[model]]
name = "one"
path = "/nowhere/one.gguf"
[[model]]
name = "two"
path = "/nowhere/two.gguf"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a home folder with two models."""
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    (tmp_path / "models.toml").write_text(MODELS)
    return tmp_path


@asynccontextmanager
async def opened(
    find: Callable[[], Awaitable[HostClient]],
) -> AsyncGenerator[tuple[ChatApp, Pilot[int]]]:
    def connect_to(name: str) -> HostConversation:
        return HostConversation(find_host=find, model=name, label=name)

    app = ChatApp(lambda: connect_to("one"), connect_to=connect_to)
    async with opened_screen(app, (120, 40)) as pilot:
        yield app, pilot


async def choose_both(pilot: Pilot[int]) -> None:
    await pilot.press("f5")
    await wait_for_text(pilot, "[x]  one")
    await pilot.press(*"/two", "enter", "space", "enter")
    await wait_for_text(pilot, "2 columns")


async def keep_the_second(app: ChatApp, pilot: Pilot[int]) -> None:
    await wait_for_text(pilot, "2 two +")
    await pilot.press("tab", "f8")
    await wait_until(pilot, lambda: app.screen is chat_screen(app))
    await wait_for_text(pilot, "ready · two")


async def test_columns_of_a_host_then_one_goes_on_and_the_other_is_put_away(home: Path) -> None:
    async def find() -> HostClient:
        return await ensure_host(home, ECHO)

    async with running_host(home) as client:
        async with opened(find) as (app, pilot):
            await choose_both(pilot)
            await pilot.press(*"echo this", "enter")
            await keep_the_second(app, pilot)
            await wait_for_text(pilot, "> echo this")
            await pilot.press(*"again", "enter")
            await wait_for_text(pilot, "> again")
            await wait_until(pilot, lambda: not chat_screen(app).is_answering)
        chats = HostChats(client)
        listed = await chats.list(limit=9, archived=False)
        put_away = await chats.list(limit=9, archived=True)
    assert [(row.session.model, row.n_messages) for row in listed] == [("two", 4)]
    assert [(row.session.model, row.n_messages) for row in put_away] == [("one", 2)]


async def test_columns_in_mid_chat_then_each_has_read_it_and_one_goes_on_with_all(
    home: Path,
) -> None:
    script = ScriptedEngine(*([text(f"answer {n}"), done()] for n in range(4)))
    async with kept_chats(home, script) as host:
        async with opened(host.find) as (app, pilot):
            await pilot.press(*"before", "enter")
            await wait_for_text(pilot, "answer 0")
            await choose_both(pilot)
            await wait_for_text(pilot, "It has read the 2 messages of this chat.")
            await pilot.press(*"and now?", "enter")
            await wait_for_text(pilot, "2 two +")
            for request in host.engine.requests[1:]:
                asked = [one["content"] for one in json.loads(request.messages_json)]
                assert asked[-3:] == ["before", "answer 0", "and now?"]
            await keep_the_second(app, pilot)
            await wait_for_text(pilot, "> before")
            await wait_for_text(pilot, "answer 2")
        client = await host.find()
        listed = await HostChats(client).list(limit=9, archived=False)
        await client.close()
    assert sorted((row.session.model, row.n_messages) for row in listed) == [("one", 2), ("two", 4)]
