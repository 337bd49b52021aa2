import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from luci_tui.chat import repair
from luci_tui.chat.records import MessageState
from luci_tui.chat.store import ChatStore
from luci_tui.errors import ChatError
from tests.support.chats import conversation, integrity, told

PAGE = 4096


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Give a closed file of four chats with fifty turns each; nothing is left in its log."""
    path = tmp_path_factory.mktemp("whole") / "chats.db"
    store = ChatStore(path)
    for number in range(4):
        chat = store.create(title=f"chat {number}")
        pairs = [(f"{number} asks {i} " + "q" * 300, f"says {i}") for i in range(50)]
        store.delete(chat.id)
        leaf = conversation(*pairs)
        store.add(chat.model_copy(update={"active_leaf_id": leaf[-1].id}), leaf)
    store.close()
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, whole_file: bytes) -> Path:
    path = tmp_path / "chats.db"
    path.write_bytes(whole_file)
    return path


def overwrite(path: Path, page: int, data: bytes = b"\xa5" * PAGE) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(data)


def leaf_pages(path: Path, table: str) -> list[int]:
    """Return the pages of a table, as far as they can be told by what a root page refers to."""
    with closing(sqlite3.connect(path)) as connection:
        root = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()[0]
    page = path.read_bytes()[(root - 1) * PAGE : root * PAGE]
    assert page[0] == 5, "an inner page of a table"
    n_cells = int.from_bytes(page[3:5], "big")
    cells = [int.from_bytes(page[12 + 2 * i : 14 + 2 * i], "big") for i in range(n_cells)]
    return [int.from_bytes(page[cell : cell + 4], "big") - 1 for cell in cells]


def everything(path: Path) -> tuple[ChatStore, dict[str, list[str]]]:
    store = ChatStore(path)
    texts = {
        row.session.title: [message.text for message in store.messages(row.session.id)]
        for row in store.chats()
    }
    return store, texts


def test_store_given_a_damaged_page_then_carries_over_all_but_its_rows(path: Path) -> None:
    store, before = everything(path)
    store.close()
    pages = leaf_pages(path, "messages")
    overwrite(path, pages[len(pages) // 2])
    damaged = path.read_bytes()
    store, after = everything(path)
    lost = sum(text not in after[title] for title in before for text in before[title])
    assert set(after) == set(before)
    assert 0 < lost < 30
    assert f"{path} was damaged" in store.notice
    assert "4 chats with" in store.notice
    assert f"{lost} rows could not be read" in store.notice
    (aside,) = path.parent.glob("chats.db.corrupt-*")
    assert aside.read_bytes() == damaged
    for row in store.chats():
        opened = store.open(row.session.id)
        assert len(opened.messages) > 80
    told(store, store.chats()[0].session, ("and on", "it goes"))
    store.close()
    assert integrity(path) == "ok"
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "chats.db",
        aside.name,
        "chats.db.lock",
    ]


def test_lost_messages_are_stood_in_for_by_ones_that_say_so(path: Path) -> None:
    pages = leaf_pages(path, "messages")
    overwrite(path, pages[1])
    store, _ = everything(path)
    messages = [m for row in store.chats() for m in store.messages(row.session.id)]
    stand_ins = [message for message in messages if message.failure_code == "lost"]
    assert stand_ins
    assert all(message.state is MessageState.FAILED for message in stand_ins)
    store.close()


@pytest.mark.parametrize("what", ["header", "first page", "schema bytes", "a column's name"])
def test_store_given_a_damaged_first_page_then_carries_over_everything(
    path: Path, what: str
) -> None:
    store, before = everything(path)
    store.close()
    match what:
        case "header":
            overwrite(path, 0, b"not SQLite at all")
        case "first page":
            overwrite(path, 0)
        case "a column's name":
            path.write_bytes(path.read_bytes().replace(b"rating_note TEXT", b"rating_nope TEXT"))
        case _:
            with path.open("r+b") as file:
                file.seek(100)
                file.write(random.Random(1).randbytes(64))
    store, after = everything(path)
    assert after == before
    assert "was damaged" in store.notice
    store.close()
    assert integrity(path) == "ok"


def test_store_given_no_database_then_starts_empty_and_keeps_the_file(path: Path) -> None:
    path.write_bytes(b"hello" * 5000)
    store, after = everything(path)
    assert after == {}
    assert "0 chats with 0 messages were carried over" in store.notice
    (aside,) = path.parent.glob("chats.db.corrupt-*")
    assert aside.read_bytes() == b"hello" * 5000
    store.close()


def test_store_given_a_file_cut_short_then_carries_over_what_is_there(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // PAGE // 2 * PAGE])
    store, after = everything(path)
    assert set(after) == {f"chat {number}" for number in range(4)}
    assert sum(map(len, after.values())) > 50
    store.close()
    assert integrity(path) == "ok"


def test_store_given_a_damaged_index_then_loses_nothing(path: Path) -> None:
    store, before = everything(path)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        root = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'messages_by_parent'"
        ).fetchone()[0]
    overwrite(path, root - 1)
    store, after = everything(path)
    assert after == before
    assert store.search("asks")
    store.close()


def test_repair_that_was_cut_off_is_completed_at_the_next_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, before = everything(path)
    store.close()
    overwrite(path, 0)

    def die(_: Path) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(repair, "finish_repair", die)
        with pytest.raises(SystemExit):
            repair.repair(path, "x")
    store, after = everything(path)
    assert after == before
    assert "it is kept as" in store.notice
    store.close()


def test_damage_in_the_search_index_alone_is_mended_by_searching(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE found_texts_data SET block = x'00112233' WHERE id > 10")
    store, _ = everything(path)
    assert store.notice == ""
    assert len(store.search("asks", limit=500)) == 200
    store.close()


def test_random_damage_never_keeps_luci_from_starting(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    chance = random.Random(7)
    for number in range(25):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 3, 20])):
            start = chance.randrange(len(damaged))
            size = chance.choice([1, 16, PAGE])
            damaged[start : start + size] = chance.randbytes(len(damaged[start : start + size]))
        copy = tmp_path / f"{number}" / "chats.db"
        copy.parent.mkdir()
        copy.write_bytes(damaged)
        store = ChatStore(copy)
        chat = store.create(title="after")
        told(store, chat, ("a", "b"))
        for row in store.chats():
            store.open(row.session.id)
        store.close()
        assert repair.damage_of(copy) == ""


def test_damage_that_shows_later_is_explained(path: Path) -> None:
    store = ChatStore(path)
    chat = store.chats()[-1].session
    for page in range(1, path.stat().st_size // PAGE):
        overwrite(path, page)
    store._base.connection.execute("PRAGMA cache_size = 0")
    with pytest.raises(ChatError, match=r"is damaged: .*Restart luci"):
        store.messages(chat.id)
    store.close()
