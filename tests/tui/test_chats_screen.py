import json
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import JsonValue

from luci_tui.chat.records import ChatRow, ChatSession, OpenedChat, Role, SearchHit
from luci_tui.errors import HostError
from luci_tui.host.api.download_messages import DownloadList
from luci_tui.host.api.messages import ChatFields, ChatGone, ChatItems
from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.host.lifecycle import ensure_host
from luci_tui.tui.host_conversation import HostConversation
from luci_tui.tui.screens import chats as screens_chats
from luci_tui.tui.screens.chat import State
from luci_tui.tui.screens.chats import MAX_CHATS, MAX_HITS, N_NEWEST, ChatsScreen, with_newest
from luci_tui.tui.services import HostLink
from luci_tui.tui.widgets.rows import Rows
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.hosts import ECHO, running_host
from tests.support.keys import Keys, presses
from tests.support.screen import (
    NOW_S,
    chat_app,
    chat_screen,
    modes_app,
    prompt_of,
    shown_text,
    wait_for_text,
    wait_until,
)
from tests.support.screen_texts import check_in_both_themes
from tests.support.scripted_engine import ScriptedEngine

SIZES = ((80, 24), (120, 40))
LIST = f"/luci/chats?limit={MAX_CHATS}"
NOW_MS = int(NOW_S * 1000)


def session(name: str, title: str, model: str, age_s: int) -> ChatSession:
    at_ms = NOW_MS - age_s * 1000
    return ChatSession(
        id=name, title=title, model=model, created_ms=at_ms - 60_000, updated_ms=at_ms
    )


FILES = session("k3m9ab7c2d", "list the files in src", "builtin", 60)
SKY = session("s7y2ab7c2d", "Why is the sky\x1b[2J [red]blue?", "llama-1b", 90_000)
ROWS = (ChatRow(session=FILES, n_messages=4), ChatRow(session=SKY, n_messages=38))
HIT = SearchHit(
    chat_id=SKY.id,
    title=SKY.title,
    message_id="m1",
    role=Role.ASSISTANT,
    snippet="… light of short waves makes the sky blue …",
    marks=((33, 36), (37, 41)),
    created_ms=NOW_MS - 90_000_000,
)


def items(*records: ChatRow | SearchHit) -> ChatItems:
    return ChatItems(items=tuple(_plain(one) for one in records))


def _plain(record: ChatRow | SearchHit) -> dict[str, JsonValue]:
    return json.loads(record.model_dump_json())


def search_path(words: str) -> str:
    return f"/luci/chats/search?q={quote(words, safe='')}&limit={MAX_HITS}"


def fake(*rows: ChatRow) -> FakeHost:
    says = {LIST: items(*rows), f"/luci/chats/{SKY.id}": OpenedChat(session=SKY, messages=())}
    for n_typed in range(1, len("sky blue") + 1):
        says[search_path("sky blue"[:n_typed])] = items(HIT)
    says[search_path("nowhere")] = items()
    return FakeHost(says)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "rows", "waits_for"),
    [("chats", ROWS, "list the files in src"), ("chats-empty", (), "No chat is kept yet.")],
)
async def test_chats_are_drawn(
    size: tuple[int, int], name: str, rows: tuple[ChatRow, ...], waits_for: str
) -> None:
    app = modes_app(FakeLink(fake(*rows)))
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, waits_for)
        await check_in_both_themes(pilot, name)


async def test_chats_are_looked_at_then_only_the_newest_are_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(screens_chats, "REFRESH_S", 0.0)
    host = fake(*ROWS)
    newest = f"/luci/chats?limit={N_NEWEST}"
    host.says[newest] = items(*ROWS)
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "2 chats")
        longer = ChatRow(session=FILES, n_messages=777)
        host.says[LIST] = HostError("Nobody asks for all of them.", code="unreachable")
        host.says[newest] = items(longer, ROWS[1])
        app.screen.query_one(Rows).go_to(SKY.id)
        await wait_for_text(pilot, "777")
        assert app.screen.query_one(Rows).key == SKY.id


def row_of(number: int) -> ChatRow:
    """Make a chat; the higher its number, the older it is."""
    return ChatRow(session=session(f"c{number}", f"chat {number}", "m", number), n_messages=2)


def test_newest_chats_given_new_and_gone_ones_then_the_others_stay() -> None:
    known = [row_of(number) for number in range(1, 3 * N_NEWEST)]
    gone, moved = row_of(5), row_of(2 * N_NEWEST)
    again = ChatRow(session=session(moved.session.id, "chat", "m", 0), n_messages=4)
    newest = [again, *(row for row in known[:N_NEWEST] if row != gone)]
    assert len(newest) == N_NEWEST
    others = [row for row in known[N_NEWEST:] if row != moved]
    assert with_newest(known, newest) == newest + others


def test_newest_chats_given_fewer_than_were_asked_for_then_there_are_no_others() -> None:
    known = [row_of(number) for number in range(3 * N_NEWEST)]
    assert with_newest(known, known[:3]) == known[:3]


async def test_old_chat_that_another_front_end_deletes_then_it_vanishes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(screens_chats, "REFRESH_S", 0.0)
    rows = [row_of(number) for number in range(N_NEWEST + 20)]
    old = rows[-1].session
    host = fake(*rows)
    host.says[f"/luci/chats?limit={N_NEWEST}"] = items(*rows[:N_NEWEST])
    host.says["/luci/downloads"] = DownloadList(downloads=(), limit_bytes_per_s=0, seq=0)
    host.streams = {"/luci/events": [], "/luci/downloads/events": []}
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "120 chats")
        await pilot.press("end")
        await wait_for_text(pilot, old.title)
        await pilot.press("alt+2")
        host.tell("/luci/events", ChatGone(chat_id="k3m9ab7c2d", at=NOW_S))
        host.tell("/luci/events", ChatGone(chat_id=rows[-2].session.id, at=NOW_S - 5))
        host.tell("/luci/events", ChatGone(chat_id=old.id, at=NOW_S + 5))
        await wait_until(pilot, lambda: host.n_asked("/luci/models") > 0)
        await pilot.press("alt+1")
        await wait_for_text(pilot, "119 chats")
        assert old.title not in shown_text(app)
        assert rows[-2].session.title in shown_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_search_finds_as_one_types_and_marks_the_words(size: tuple[int, int]) -> None:
    app = modes_app(FakeLink(fake(*ROWS)))
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "2 chats")
        await pilot.press("s", *"sky blue")
        await wait_for_text(pilot, "makes the [sky] [blue] …")
        await wait_for_text(pilot, "1 place has “sky blue”")
        await check_in_both_themes(pilot, "chats-search")
        await pilot.press("escape")
        await wait_for_text(pilot, "2 chats")
        await pilot.press("s")
        await wait_for_text(pilot, "Type what to look for.")
        assert "makes the [sky]" not in shown_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_slash_search_opens_the_search_with_its_words(size: tuple[int, int]) -> None:
    app = modes_app(FakeLink(fake(*ROWS)))
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"/search nowhere", "enter")
        await wait_for_text(pilot, "No message has all of these words.")
        await check_in_both_themes(pilot, "chats-no-hit")


@pytest.mark.native
async def test_chat_that_a_search_finds_is_opened_on_its_branch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("LUCI_HOME", str(home))
    async with running_host(home, ECHO) as client:
        chats = HostChats(client)
        chat = await chats.create({"model": "any.gguf"})
        for words in ("the zebra is striped", "the horse is not"):
            sending = chats.send(chat.id, words, parent_id="", options={})
            assert [event.kind async for event in sending][-1] == "turn_done"
        link = HostLink(lambda: ECHO)
        app = modes_app(link, open_chat=partial(_join, home))
        async with app.run_test(size=(80, 24)) as pilot:
            await wait_for_text(pilot, "ready")
            await pilot.press(*"/search zebr", "enter")
            await wait_for_text(pilot, "the [zebra] is striped")
            # The first of the places is the title of the chat.
            await pilot.press("enter", "down", "enter")
            await wait_for_text(pilot, "> the zebra is striped")
            await wait_for_text(pilot, "ready · any.gguf")
            await pilot.press(*"more", "enter")
            await wait_for_text(pilot, "> more")
            await wait_until(pilot, lambda: chat_screen(app).state is State.READY)
        await app.close_engine()
        texts = [one.text for one in (await chats.get(chat.id)).messages]
        assert texts[0] == "the zebra is striped"
        assert "more" in texts


def _join(home: Path, chat_id: str, model: str) -> HostConversation:
    async def find_host() -> HostClient:
        return await ensure_host(home, ECHO)

    return HostConversation(find_host, model=model, label=model, resume_chat=chat_id)


async def test_rename_gives_the_new_title_to_the_host() -> None:
    host = fake(*ROWS)
    host.says[f"/luci/chats/{FILES.id}"] = FILES
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "2 chats")
        await pilot.press("n")
        await wait_for_text(pilot, "The title of the chat:")
        await pilot.press("ctrl+u", *"files", "enter")
        await wait_until(pilot, lambda: bool(host.asked))
    assert host.asked[0].body == ChatFields({"title": "files"})


@pytest.mark.parametrize("size", SIZES)
async def test_delete_asks_first_and_enter_alone_means_no(size: tuple[int, int]) -> None:
    host = fake(*ROWS)
    host.says[f"/luci/chats/{FILES.id}"] = FILES
    app = modes_app(FakeLink(host))
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "2 chats")
        for key in ("enter", "y"):
            await pilot.press("delete")
            await wait_for_text(pilot, "Delete “list the files in src” and its 4 messages?")
            await check_in_both_themes(pilot, "chats-delete")
            assert not host.asked
            await pilot.press(key)
            await wait_until(pilot, lambda: "cannot be brought back" not in shown_text(app))
        await wait_until(pilot, lambda: bool(host.asked))
    assert (host.asked[0].method, host.asked[0].path) == ("DELETE", f"/luci/chats/{FILES.id}")


async def test_export_writes_a_file_and_never_over_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    host = fake(*ROWS)
    host.says[f"/luci/chats/{FILES.id}/export?format=markdown"] = FILES
    app = modes_app(FakeLink(host))
    file = tmp_path / "list-the-files-in-src.md"
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "2 chats")
        await pilot.press("e")
        await wait_for_text(pilot, "Write it to which file?")
        await pilot.press("enter")
        await wait_until(pilot, file.exists)
        file.write_text("mine")
        await pilot.press("e")
        await wait_for_text(pilot, "Write it to which file?")
        await pilot.press("enter")
        await wait_for_text(pilot, "is there already")
    assert file.read_text() == "mine"


async def test_filter_and_then_the_page_are_left_with_escape() -> None:
    app = modes_app(FakeLink(fake(*ROWS)))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "2 chats")
        await pilot.press("slash", *"sky", "enter")
        await wait_until(pilot, lambda: "list the files" not in shown_text(app))
        await pilot.press("escape")
        await wait_for_text(pilot, "list the files")
        await pilot.press("escape")
        await wait_until(pilot, lambda: not isinstance(app.screen, ChatsScreen))
        assert prompt_of(app).has_focus


async def test_lost_host_leaves_what_was_known() -> None:
    link = FakeLink(fake(*ROWS))
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "2 chats")
        link.error = HostError("The host is gone.")
        await pilot.press("ctrl+r")
        await wait_for_text(pilot, "The host is gone.")
        assert "list the files" in shown_text(app)


async def test_chat_without_a_host_has_no_list_of_chats() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "Without a host there are no chats")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "key", "waits_for"),
    [
        ("chats-rename", "n", "The title of the chat:"),
        ("chats-export", "e", "Write it to which file?"),
    ],
)
async def test_questions_about_a_chat_are_drawn(
    name: str, key: str, waits_for: str, size: tuple[int, int]
) -> None:
    app = modes_app(FakeLink(fake(*ROWS)))
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "2 chats")
        await pilot.press(key)
        await wait_for_text(pilot, waits_for)
        await check_in_both_themes(pilot, name)


# ---- keys


@presses("chat.chats", "chats.close", "chats.search", "search.keep", "search.close")
async def test_keys_of_the_list_of_chats_and_its_search(keys: Keys) -> None:
    app = modes_app(FakeLink(fake(*ROWS)))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        for key in ("q", "ctrl+l"):
            await keys.press(pilot, "chat.chats", "ctrl+l", "2 chats")
            await keys.press(
                pilot, "chats.close", key, lambda: not isinstance(app.screen, ChatsScreen)
            )
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "2 chats")
        rows = app.screen.query_one("#hits", Rows)
        for key in ("enter", "down"):
            await keys.press(pilot, "chats.search", "s", "Search:")
            await pilot.press(*"sky")
            await wait_for_text(pilot, "1 place has “sky”")
            await keys.press(
                pilot,
                "search.keep",
                key,
                lambda: rows.has_focus,
                # The line of text is asked first: it passes Enter on, and does not scroll.
                is_behind=True,
            )
            await pilot.press("s")
            await wait_until(pilot, lambda: not rows.has_focus)
            await keys.press(pilot, "search.close", "escape", "2 chats")


@presses("chats.rename", "chats.export", "chats.delete")
async def test_keys_that_change_a_chat(keys: Keys) -> None:
    app = modes_app(FakeLink(fake(*ROWS)))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+l")
        await wait_for_text(pilot, "2 chats")
        for action, key, asks in (
            ("chats.rename", "n", "The title of the chat:"),
            ("chats.export", "e", "Write it to which file?"),
            ("chats.delete", "delete", "It cannot be brought back"),
        ):
            await keys.press(pilot, action, key, asks)
            await pilot.press("escape")
            await wait_until(pilot, lambda words=asks: words not in shown_text(app))
