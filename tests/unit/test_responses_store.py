import sqlite3
import stat
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from luci_tui.errors import LuciError
from luci_tui.host.openai.responses_store import (
    FORGET_FAIRLY,
    BrokenChainError,
    ResponseStore,
    StoredResponse,
    StoreLimits,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def turn(number: int, previous: int | None = None, text: str = "hi") -> StoredResponse:
    return StoredResponse(
        id=f"resp_{number}",
        previous_id=None if previous is None else f"resp_{previous}",
        created_at=number,
        items=[{"type": "message", "role": "user", "content": text}],
        response={"output": [{"type": "message", "role": "assistant", "content": f"re {text}"}]},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "responses.db"


def test_put_then_get_gives_it_back_to_another_store_too(path: Path) -> None:
    ResponseStore(path).put(turn(1, text="é\u2028"))
    assert ResponseStore(path).get("resp_1") == turn(1, text="é\u2028")
    assert ResponseStore(path).get("resp_2") is None


def test_file_then_only_its_owner_may_read_it(path: Path) -> None:
    ResponseStore(path).put(turn(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_chain_then_turns_come_oldest_first(path: Path) -> None:
    store = ResponseStore(path)
    for stored in (turn(1), turn(2, 1), turn(3, 2)):
        store.put(stored)
    assert [one.id for one in store.chain("resp_3")] == ["resp_1", "resp_2", "resp_3"]


def test_chain_given_a_deleted_turn_then_it_names_it(path: Path) -> None:
    store = ResponseStore(path)
    for stored in (turn(1), turn(2, 1), turn(3, 2)):
        store.put(stored)
    assert store.delete("resp_1")
    assert not store.delete("resp_1")
    with pytest.raises(BrokenChainError) as caught:
        store.chain("resp_3")
    assert caught.value.missing_id == "resp_1"


def test_chain_that_runs_in_a_circle_then_it_ends(path: Path) -> None:
    store = ResponseStore(path)
    store.put(turn(1, 2))
    store.put(turn(2, 1))
    with pytest.raises(BrokenChainError):
        store.chain("resp_1")


def test_delete_then_the_text_is_no_longer_in_the_folder(path: Path) -> None:
    store = ResponseStore(path)
    store.put(turn(1, text="a secret word"))
    store.delete("resp_1")
    assert all(b"secret" not in file.read_bytes() for file in path.parent.iterdir())


def test_too_many_then_the_ones_used_longest_ago_go(path: Path) -> None:
    store = ResponseStore(path, StoreLimits(n_responses=3), Clock())
    for stored in (turn(1), turn(2, 1), turn(3)):
        store.put(stored)
    store.chain("resp_2")
    store.put(turn(4))
    assert store.get("resp_3") is None
    assert [one.id for one in store.chain("resp_2")] == ["resp_1", "resp_2"]


def test_too_large_then_old_ones_go(path: Path) -> None:
    store = ResponseStore(path, StoreLimits(size_bytes=3000), Clock())
    for number in range(5):
        store.put(turn(number, text="x" * 500))
    kept = [number for number in range(5) if store.get(f"resp_{number}")]
    assert kept == [3, 4]


def test_too_old_then_it_is_gone(path: Path) -> None:
    clock = Clock()
    store = ResponseStore(path, StoreLimits(age_s=100), clock)
    store.put(turn(1))
    clock.now += 50
    assert store.get("resp_1")
    clock.now += 100
    assert store.get("resp_1") is None


def test_broken_file_then_it_is_set_aside_and_a_fresh_one_is_used(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, " * 100)
    store = ResponseStore(path)
    store.put(turn(1))
    assert store.get("resp_1")
    (aside,) = path.parent.glob("responses.db.corrupt-*")
    assert aside.read_bytes().startswith(b"this is no database")


def test_file_of_another_version_then_it_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    content = path.read_bytes()
    with pytest.raises(LuciError, match="version 9") as caught:
        ResponseStore(path).put(turn(1))
    assert caught.value.code == "response_store"
    assert path.read_bytes() == content


def test_file_that_is_deleted_meanwhile_then_a_fresh_one_is_used(path: Path) -> None:
    store = ResponseStore(path)
    store.put(turn(1))
    path.unlink()
    assert store.get("resp_1") is None
    store.put(turn(2))
    assert store.get("resp_2")


def test_folder_that_cannot_be_made_then_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LuciError, match=r"cannot be used .+\.$"):
        ResponseStore(tmp_path / "file" / "responses.db").put(turn(1))


def owned(number: int, owner: str, previous: int | None = None) -> StoredResponse:
    return replace(turn(number, previous), owner=owner)


def test_response_of_another_owner_then_it_is_not_there(path: Path) -> None:
    store = ResponseStore(path)
    for stored in (owned(1, "me"), owned(2, "me", 1), owned(3, "you", 2)):
        store.put(stored)
    assert store.get("resp_1", "me") == owned(1, "me")
    for stranger in ("you", ""):
        assert store.get("resp_1", stranger) is None
        assert not store.delete("resp_1", stranger)
        with pytest.raises(BrokenChainError):
            store.chain("resp_2", stranger)
    with pytest.raises(BrokenChainError) as caught:
        store.chain("resp_3", "you")
    assert caught.value.missing_id == "resp_2"
    assert [one.id for one in store.chain("resp_2", "me")] == ["resp_1", "resp_2"]
    assert store.delete("resp_1", "me")


def test_response_of_nobody_then_everybody_may_read_it(path: Path) -> None:
    store = ResponseStore(path)
    store.put(turn(1))
    store.put(owned(2, "me", 1))
    assert store.get("resp_1", "me") == turn(1)
    assert len(store.chain("resp_2", "me")) == 2


def test_file_of_version_1_then_its_responses_are_everybodys(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE responses (id TEXT PRIMARY KEY, previous_id TEXT,"
            " created_at INTEGER NOT NULL, used_at REAL NOT NULL, size_bytes INTEGER NOT NULL,"
            " items TEXT NOT NULL, response TEXT NOT NULL) STRICT;"
            "PRAGMA user_version = 1;"
        )
        connection.execute(
            "INSERT INTO responses VALUES ('resp_1', NULL, 1, ?, 9, '[]', '{\"output\": []}')",
            (time.time(),),
        )
        connection.commit()
    store = ResponseStore(path)
    assert store.get("resp_1", "me") == StoredResponse("resp_1", None, 1, [], {"output": []})
    store.put(owned(2, "me"))
    assert ResponseStore(path).get("resp_2", "me") == owned(2, "me")


def kept(store: ResponseStore, owner: str, numbers: range) -> list[int]:
    return [number for number in numbers if store.get(f"resp_{number}", owner)]


def test_too_many_of_one_owner_then_others_lose_nothing(path: Path) -> None:
    store = ResponseStore(path, StoreLimits(n_responses=6), Clock())
    for number in range(2):
        store.put(owned(number, "quiet"))
    for number in range(10, 30):
        store.put(owned(number, "busy"))
    assert kept(store, "quiet", range(2)) == [0, 1]
    assert kept(store, "busy", range(10, 30)) == [26, 27, 28, 29]
    for number in range(40, 50):
        store.put(owned(number, "late"))
    assert kept(store, "quiet", range(2)) == [0, 1]
    assert kept(store, "busy", range(10, 30)) == [28, 29]
    assert kept(store, "late", range(40, 50)) == [48, 49]


def test_too_large_of_one_owner_then_others_lose_nothing(path: Path) -> None:
    store = ResponseStore(path, StoreLimits(size_bytes=6500), Clock())
    store.put(replace(turn(1, text="y" * 600), owner="quiet"))
    for number in range(10, 20):
        store.put(replace(turn(number, text="x" * 500), owner="busy"))
    assert kept(store, "quiet", range(3)) == [1]
    assert kept(store, "busy", range(10, 20)) == [16, 17, 18, 19]
    store.put(replace(turn(2, text="y" * 600), owner="quiet"))
    assert kept(store, "quiet", range(3)) == [1, 2]
    assert kept(store, "busy", range(10, 20)) == [17, 18, 19]


def test_limit_then_no_text_is_read_to_find_what_goes(path: Path) -> None:
    store = ResponseStore(path)
    store.put(owned(1, "me"))
    with closing(sqlite3.connect(path)) as connection:
        plan = [
            str(row[3])
            for statement in ("SELECT count(*), total(size_bytes) FROM responses", FORGET_FAIRLY)
            for row in connection.execute(
                f"EXPLAIN QUERY PLAN {statement}", (1, 1)[: statement.count("?")]
            )
        ]
    scans = [step for step in plan if step.startswith("SCAN responses")]
    assert len(scans) == 2
    assert all("COVERING INDEX responses_by_owner" in step for step in scans)
