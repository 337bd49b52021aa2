"""Columns over a real host: each is a chat of its own there, and one of them is gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.host.lifecycle import ensure_host
from luci_tui.tui.app import ChatApp
from luci_tui.tui.host_conversation import HostConversation
from tests.support.hosts import ECHO, running_host
from tests.support.kept_chats import kept_chats
from tests.support.screen import chat_screen, wait_for_text, wait_until
from tests.support.scripted_engine import ScriptedEngine, done, text

MODELS = """\
[[model]]
name = "one"
path = "/nowhere/one.gguf"
[[model]]
name = "two"
path = "/nowhere/two.gguf"
"""


async def test_columns_of_a_host_then_one_goes_on_and_the_other_is_put_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    (tmp_path / "models.toml").write_text(MODELS)

    async def find() -> HostClient:
        return await ensure_host(tmp_path, ECHO)

    def connect_to(name: str) -> HostConversation:
        return HostConversation(find_host=find, model=name, label=name)

    async with running_host(tmp_path) as client:
        app = ChatApp(lambda: connect_to("one"), connect_to=connect_to)
        async with app.run_test(size=(120, 40)) as pilot:
            await wait_for_text(pilot, "ready")
            await pilot.press("f5")
            await wait_for_text(pilot, "[x]  one")
            await pilot.press(*"/two", "enter", "space", "enter")
            await wait_for_text(pilot, "2 columns")
            await pilot.press(*"echo this", "enter")
            await wait_for_text(pilot, "2 two +")
            await pilot.press("tab", "f8")
            await wait_until(pilot, lambda: app.screen is chat_screen(app))
            await wait_for_text(pilot, "ready · two")
            await wait_for_text(pilot, "> echo this")
            await pilot.press(*"again", "enter")
            await wait_for_text(pilot, "> again")
            await wait_until(pilot, lambda: not chat_screen(app).is_answering)
        await app.close_engine()
        chats = HostChats(client)
        listed = await chats.list(limit=9, archived=False)
        put_away = await chats.list(limit=9, archived=True)
    assert [(row.session.model, row.n_messages) for row in listed] == [("two", 4)]
    assert [(row.session.model, row.n_messages) for row in put_away] == [("one", 2)]


async def test_columns_in_mid_chat_then_each_has_read_it_and_one_goes_on_with_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    (tmp_path / "models.toml").write_text(MODELS)

    async with kept_chats(
        tmp_path, ScriptedEngine(*([text(f"answer {n}"), done()] for n in range(4)))
    ) as host:

        def connect(name: str) -> HostConversation:
            return HostConversation(find_host=host.find, model=name, label=name)

        app = ChatApp(lambda: connect("one"), connect_to=connect)
        async with app.run_test(size=(120, 40)) as pilot:
            await wait_for_text(pilot, "ready")
            await pilot.press(*"before", "enter")
            await wait_for_text(pilot, "answer 0")
            await pilot.press("f5")
            await wait_for_text(pilot, "[x]  one")
            await pilot.press(*"/two", "enter", "space", "enter")
            await wait_for_text(pilot, "It has read the 2 messages of this chat.")
            await pilot.press(*"and now?", "enter")
            await wait_for_text(pilot, "2 two +")
            for request in host.engine.requests[1:]:
                asked = [one["content"] for one in json.loads(request.messages_json)]
                assert asked[-3:] == ["before", "answer 0", "and now?"]
            await pilot.press("tab", "f8")
            await wait_until(pilot, lambda: app.screen is chat_screen(app))
            await wait_for_text(pilot, "ready · two")
            await wait_for_text(pilot, "> before")
            await wait_for_text(pilot, "answer 2")
        await app.close_engine()
        client = await host.find()
        listed = await HostChats(client).list(limit=9, archived=False)
        await client.close()
    assert sorted((row.session.model, row.n_messages) for row in listed) == [("one", 2), ("two", 4)]
