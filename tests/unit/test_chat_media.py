import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from luci_tui.chat import media as media_module
from luci_tui.chat import schema
from luci_tui.chat.journal import Journal
from luci_tui.chat.markdown import export_markdown
from luci_tui.chat.media import LoadedMedium, checked_media, medium_of
from luci_tui.chat.records import Role
from luci_tui.chat.service import ChatService
from luci_tui.chat.store import ChatStore
from luci_tui.chat.store_thread import StoreThread
from luci_tui.chat.transfer import export_json, read_import
from luci_tui.chat.turn_events import TurnDone
from luci_tui.errors import ChatError
from tests.support.chats import FakeModels, finished
from tests.support.projectors import png, wav
from tests.support.scripted_engine import MODEL_INFO, ScriptedEngine, Step, done, text

PICTURE, SOUND = png(60, 30), wav(0.1)
BOTH = checked_media([("cat.png", PICTURE), ("bell.wav", SOUND)])
BLIND = MODEL_INFO.model_copy(update={"n_ctx": 4096})
SEEING = BLIND.model_copy(update={"takes_images": True, "takes_audio": True})


@pytest.fixture
async def thread(tmp_path: Path) -> AsyncIterator[StoreThread]:
    opened = await StoreThread.open(tmp_path / "chats.db")
    yield opened
    await opened.close()


def answering(thread: StoreThread, *answers: str, sees: bool = True) -> ChatService:
    scripts: list[list[Step]] = [[text(answer), done()] for answer in answers]
    models = FakeModels(ScriptedEngine(*scripts), SEEING if sees else BLIND)
    return ChatService(thread, models, Journal(Path("/nonexistent")))


def contents(service: ChatService) -> list[list[object]]:
    engine = service._means.models.engine
    asked = [json.loads(request.messages_json) for request in engine.requests]
    return [[message["content"] for message in messages] for messages in asked]


def kept(path: Path) -> tuple[ChatStore, str, str]:
    """Make a store with a chat whose first message carries a picture and a sound."""
    store = ChatStore(path)
    chat = store.create(model="m")
    user, reply = store.begin_turn(chat.id, "look", parent_id=None, model="m", media=BOTH)
    finished(store, chat, reply, "a cat")
    return store, chat.id, user.id


def test_medium_says_what_a_file_is() -> None:
    picture = medium_of("cat.png", PICTURE)
    assert picture is not None
    assert (picture.kind, picture.width, picture.height) == ("image/png", 60, 30)
    assert picture.words.endswith(" 60x30")
    sound = medium_of("bell.wav", SOUND)
    assert sound is not None
    assert sound.is_audio
    assert medium_of("a.txt", b"text") is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([("a.txt", b"text")], "is none of image/png"),
        ([("a.png", PICTURE[:40])], "picture is damaged"),
        ([("a.png", PICTURE)] * 9, "8 pictures and sounds at most"),
        ([("a.wav", b"RIFF" + bytes(17 * 1024 * 1024))], "a sound may have"),
    ],
)
def test_media_that_cannot_be_used_are_one_sentence(
    given: list[tuple[str, bytes]], said: str
) -> None:
    with pytest.raises(ChatError, match=f"(?i){said}"):
        checked_media(given)


def test_store_keeps_media_with_their_message_and_lets_them_go_with_it(tmp_path: Path) -> None:
    path = tmp_path / "chats.db"
    store, chat_id, user_id = kept(path)
    store.close()
    again = ChatStore(path)
    assert again.media(chat_id, user_id) == BOTH
    assert again.message(chat_id, user_id).media == tuple(one.medium for one in BOTH)
    again.delete(chat_id)
    assert again._base.one("SELECT count(*) FROM media")[0] == 0
    again.close()


def test_file_of_the_first_version_gets_the_table_and_keeps_its_chats(tmp_path: Path) -> None:
    path = tmp_path / "chats.db"
    with closing(schema.connect(path)) as connection:
        schema.migrate(connection, path, schema.MIGRATIONS[:1])
        connection.execute(
            "INSERT INTO chats VALUES (1, 'old', 'Old', 1, '', '', '{}', NULL, 0, 1, 1)"
        )
    store = ChatStore(path)
    assert "newer form" in store.notice
    user, _ = store.begin_turn("old", "look", parent_id=None, model="m", media=BOTH)
    assert store.media("old", user.id) == BOTH
    store.close()


def test_export_with_media_comes_back_with_the_same_bytes(tmp_path: Path) -> None:
    store, chat_id, user_id = kept(tmp_path / "chats.db")
    first = export_json(store.session(chat_id), store.messages(chat_id), store.all_media(chat_id))
    store.delete(chat_id)
    read = read_import(first)
    store.add(read.session, read.messages, read.media)
    assert store.media(chat_id, user_id) == BOTH
    second = export_json(store.session(chat_id), store.messages(chat_id), store.all_media(chat_id))
    assert first == second
    assert "(attached: cat.png" in export_markdown(store.session(chat_id), store.messages(chat_id))
    store.close()


@pytest.mark.parametrize(
    "change", [{"place": 2}, {"message_id": "nobody"}, {"content": "AAAA"}, {"content": "no b64!"}]
)
def test_import_with_media_that_no_message_names_is_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    store, chat_id, _ = kept(tmp_path / "chats.db")
    data = json.loads(
        export_json(store.session(chat_id), store.messages(chat_id), store.all_media(chat_id))
    )
    store.close()
    data["media"][0] |= change
    with pytest.raises(ChatError, match="picture or sound"):
        read_import(json.dumps(data).encode())


def test_repair_carries_media_over(tmp_path: Path) -> None:
    path = tmp_path / "chats.db"
    store, chat_id, user_id = kept(path)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        root = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'chats_by_update'"
        ).fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(os.urandom(4096))
    again = ChatStore(path)
    assert "was damaged" in again.notice
    assert again.media(chat_id, user_id) == BOTH
    again.close()


async def test_model_gets_pictures_as_parts_before_the_text_also_in_later_turns(
    thread: StoreThread,
) -> None:
    service = answering(thread, "a cat", "yes")
    chat = await thread.run(lambda store: store.create(model="script"))
    first = [event async for event in service.send(chat.id, "what is it?", media=BOTH[:1])]
    assert isinstance(first[-1], TurnDone)
    assert "256 tokens" in first[-1].context.counting
    _ = [event async for event in service.send(chat.id, "sure?")]
    part = BOTH[0].part
    asked = [part, {"type": "text", "text": "what is it?"}]
    assert contents(service) == [[asked], [asked, "a cat", "sure?"]]


async def test_model_that_sees_nothing_gets_the_names_of_earlier_pictures(
    thread: StoreThread,
) -> None:
    service = answering(thread, "a cat", "yes", sees=False)
    chat = await thread.run(lambda store: store.create(model="script"))
    _ = [event async for event in service.send(chat.id, "what is it?", media=BOTH[:1])]
    _ = [event async for event in service.send(chat.id, "sure?")]
    said = f"[{BOTH[0].medium.words} was shown here]\n\nwhat is it?"
    assert contents(service)[1] == [said, "a cat", "sure?"]


async def test_oldest_pictures_are_named_where_all_are_too_much(
    thread: StoreThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("luci_tui.chat.plan.MAX_PROMPT_BYTES", len(PICTURE) + 10)
    service = answering(thread, "one", "two")
    chat = await thread.run(lambda store: store.create(model="script"))
    _ = [event async for event in service.send(chat.id, "first", media=BOTH[:1])]
    _ = [event async for event in service.send(chat.id, "second", media=BOTH[:1])]
    first, _, second = contents(service)[1]
    assert str(first).startswith("[cat.png")
    assert isinstance(second, list)


async def test_edited_message_keeps_its_picture(thread: StoreThread) -> None:
    service = answering(thread, "a cat", "a dog")
    chat = await thread.run(lambda store: store.create(model="script"))
    events = [event async for event in service.send(chat.id, "what?", media=BOTH[:1])]
    user_id = events[0].user_message_id
    _ = [event async for event in service.edit(chat.id, user_id, "what is it?")]
    opened = await thread.run(ChatStore.open, chat.id)
    edited = opened.messages[0]
    assert (edited.role, edited.text) == (Role.USER, "what is it?")
    assert await thread.run(ChatStore.media, chat.id, edited.id) == BOTH[:1]


def test_sound_is_a_part_with_its_format() -> None:
    part = replace(BOTH[1], content=b"abc").part
    assert part == {"type": "input_audio", "input_audio": {"data": "YWJj", "format": "wav"}}
    assert isinstance(BOTH[1], LoadedMedium)
    assert media_module.takes(SEEING, BOTH[1].medium)
    assert not media_module.takes(BLIND, BOTH[1].medium)
