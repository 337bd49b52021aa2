import itertools
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luci_tui.chat import schema
from luci_tui.chat.naming import automatic_title, new_id
from luci_tui.chat.records import (
    ChatPolicy,
    ContextReport,
    LeftOut,
    Message,
    MessageState,
    Parameters,
    Role,
    ToolCall,
)
from luci_tui.chat.store import ChatStore
from luci_tui.engine import frames
from luci_tui.errors import ChatError
from tests.support.chats import finished, integrity, told

DISK = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "chats.db"


@pytest.fixture
def store(path: Path) -> Iterator[ChatStore]:
    opened = ChatStore(path, clock=itertools.count(1000).__next__)
    yield opened
    opened.close()


def test_store_given_a_chat_then_keeps_all_of_it_over_a_restart(
    store: ChatStore, path: Path
) -> None:
    parameters = Parameters(
        sampling=frames.SamplingParams(temperature=0.5),
        sampling_changes={"temperature": 0.8},
        max_tokens=9,
        policy=ChatPolicy.REFUSE,
    )
    chat = store.create(title=" a  title ", model="m", system="s", parameters=parameters)
    store.close()
    again = ChatStore(path)
    assert again.session(chat.id) == chat
    assert (chat.title, chat.is_title_set, chat.parameters) == ("a title", True, parameters)
    again.close()


def test_store_file_is_private(store: ChatStore, path: Path) -> None:
    store.create()
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_store_uses_a_log_foreign_keys_and_full_sync(store: ChatStore, path: Path) -> None:
    chat = store.create()
    with pytest.raises(ChatError, match="FOREIGN KEY"):
        store.add_message(chat.id, Message(id="a", parent_id="no", role=Role.USER, created_ms=1))
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert other.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)


def test_store_opened_twice_then_the_second_is_refused(store: ChatStore, path: Path) -> None:
    store.create()
    with pytest.raises(ChatError, match="held by another luci") as caught:
        ChatStore(path)
    assert caught.value.code == "store_held"


def test_turn_then_title_leaf_and_branch_follow(store: ChatStore) -> None:
    chat = store.create()
    user, reply = store.begin_turn(chat.id, "What is\n a file?", parent_id=None, model="m")
    opened = store.open(chat.id)
    assert opened.session.title == "What is a file?"
    assert opened.session.active_leaf_id == reply.id
    assert [message.id for message in opened.messages] == [user.id, reply.id]
    assert (reply.state, reply.model) == (MessageState.STREAMING, "m")
    assert opened.forks == ()


def test_reply_that_streams_is_read_with_what_it_has_gained(store: ChatStore) -> None:
    chat = store.create()
    _, reply = store.begin_turn(chat.id, "x", parent_id=None, model="m")
    call = frames.ToolCallDelta(index=0, id="c1", name="f", arguments='{"a"')
    store.append(chat.id, reply.id, "one ", "hm")
    store.append(chat.id, reply.id, "two", "", (call,))
    more = frames.ToolCallDelta(index=0, arguments=":1}")
    store.append(chat.id, reply.id, "", "", (more,))
    grown = store.message(chat.id, reply.id)
    assert (grown.text, grown.reasoning) == ("one two", "hm")
    assert grown.tool_calls == (ToolCall(id="c1", name="f", arguments='{"a":1}'),)
    assert store.open(chat.id).messages[-1] == grown
    assert store.messages(chat.id)[-1] == grown


def test_reply_that_streamed_at_a_crash_is_interrupted_with_its_text(
    store: ChatStore, path: Path
) -> None:
    chat = store.create()
    _, reply = store.begin_turn(chat.id, "x", parent_id=None, model="m")
    store.append(chat.id, reply.id, "half an ")
    store.append(chat.id, reply.id, "answer")
    store.close()
    again = ChatStore(path)
    kept = again.message(chat.id, reply.id)
    assert (kept.state, kept.text) == (MessageState.INTERRUPTED, "half an answer")
    assert [hit.message_id for hit in again.search("half")] == [reply.id]
    again.close()


def test_finished_reply_keeps_every_figure(store: ChatStore) -> None:
    chat = store.create()
    user, reply = store.begin_turn(chat.id, "x", parent_id=None, model="m")
    store.append(chat.id, reply.id, "ab")
    report = ContextReport(
        n_ctx=100,
        reserve_tokens=10,
        counted_tokens=20,
        prompt_tokens=21,
        n_sent=1,
        left_out=(LeftOut(first_id=user.id, last_id=user.id, n_messages=1, tokens=3),),
        summary_id="s",
        note="a note",
    )
    whole = reply.model_copy(
        update={
            "state": MessageState.COMPLETE,
            "text": "abc",
            "reasoning": "r",
            "finished_ms": 5,
            "asked_model": "other",
            "finish_reason": frames.FinishReason.STOP,
            "usage": frames.Usage(prompt_tokens=1, completion_tokens=2, n_ctx=3),
            "timings": frames.Timings(decode_ms=0.1),
            "seed": 2**32 - 2,
            "context": report,
            "doubtful": ("z",),
            "tool_calls": (ToolCall(name="f"),),
        }
    )
    store.finish(chat.id, whole)
    assert store.message(chat.id, reply.id) == whole
    assert store.session(chat.id).updated_ms > chat.updated_ms


def test_regenerated_and_edited_turns_are_siblings(store: ChatStore) -> None:
    chat = store.create()
    first = told(store, chat, ("a", "b"), ("c", "d"))
    again = store.begin_reply(chat.id, first[2].id, "m")
    finished(store, chat, again, "d2")
    edited, _ = store.begin_turn(chat.id, "c2", parent_id=first[1].id, model="m")
    root, _ = store.begin_turn(chat.id, "a2", parent_id=None, model="m")
    assert store.siblings(chat.id, first[3].id).sibling_ids == (first[3].id, again.id)
    assert store.siblings(chat.id, edited.id).sibling_ids == (first[2].id, edited.id)
    assert store.siblings(chat.id, root.id).sibling_ids == (first[0].id, root.id)
    chosen = store.select(chat.id, first[2].id)
    assert chosen.active_leaf_id == again.id
    opened = store.open(chat.id)
    assert [message.text for message in opened.messages] == ["a", "b", "c", "d2"]
    forks = {fork.message_id: fork.sibling_ids for fork in opened.forks}
    assert forks == {
        first[0].id: (first[0].id, root.id),
        first[2].id: (first[2].id, edited.id),
        again.id: (first[3].id, again.id),
    }


def test_pins_and_ratings_are_kept(store: ChatStore) -> None:
    chat = store.create()
    user, reply = told(store, chat, ("a", "b"))
    assert store.pin(chat.id, user.id, True).is_pinned
    rated = store.rate(chat.id, reply.id, -1, "wrong")
    assert (rated.rating, rated.rating_note) == (-1, "wrong")
    assert not store.pin(chat.id, user.id, False).is_pinned
    with pytest.raises(ChatError, match="rating 5 cannot be used"):
        store.rate(chat.id, reply.id, 5)


def test_chats_are_listed_by_their_last_use_and_archived_ones_apart(store: ChatStore) -> None:
    one, two, three = store.create(title="1"), store.create(title="2"), store.create(title="3")
    told(store, one, ("x", "y"))
    store.update(two.id, is_archived=True)
    assert [(row.session.id, row.n_messages) for row in store.chats()] == [
        (one.id, 2),
        (three.id, 0),
    ]
    assert [row.session.id for row in store.chats(is_archived=True)] == [two.id]
    assert len(store.chats(limit=1, offset=1)) == 1


def test_update_changes_what_is_given_and_an_empty_title_is_automatic_again(
    store: ChatStore,
) -> None:
    chat = store.create(title="mine")
    told(store, chat, ("the first words", "y"))
    changed = store.update(chat.id, model="n", system="t", parameters=Parameters(max_tokens=3))
    assert (changed.title, changed.model, changed.system) == ("mine", "n", "t")
    assert store.session(chat.id) == changed
    assert store.update(chat.id, title="").title == "the first words"


def test_deleted_chat_leaves_nothing(store: ChatStore, path: Path) -> None:
    chat = store.create(title="gone")
    for number in range(30):
        told(store, chat, (f"secret {number}", "secret"))
    store.remember_counts(chat.id, "t", {store.messages(chat.id)[0].id: 3})
    store.delete(chat.id)
    assert store.chats() == ()
    assert store.search("secret") == ()
    assert store.search("gone") == ()
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        for table in ("chats", "messages", "pieces", "token_counts"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_unknown_names_are_refused_in_one_sentence(store: ChatStore) -> None:
    chat = store.create()
    with pytest.raises(ChatError, match='no chat "x"') as caught:
        store.open("x")
    assert caught.value.code == "chat_not_found"
    for call in (store.message, store.branch, store.siblings, store.select):
        with pytest.raises(ChatError, match='no message "y"'):
            call(chat.id, "y")
    with pytest.raises(ChatError, match='no message "y"'):
        store.begin_turn(chat.id, "t", parent_id="y", model="")
    assert store.messages(chat.id) == ()


def test_find_takes_the_beginning_of_an_id(store: ChatStore) -> None:
    chat = store.create()
    assert store.find(chat.id[:6]) == chat
    with pytest.raises(ChatError, match="no chat"):
        store.find("zzzzzzzzzzzzz")
    store.create()
    with pytest.raises(ChatError, match="Several chats"):
        store.find("")


def test_token_counts_are_kept_by_tokenizer(store: ChatStore) -> None:
    chat = store.create()
    user, _ = told(store, chat, ("a", "b"))
    store.remember_counts(chat.id, "t1", {user.id: 3, "nobody": 4})
    assert store.token_counts(chat.id, "t1") == {user.id: 3}
    assert store.token_counts(chat.id, "t2") == {}


def test_full_store_refuses_a_turn_in_one_sentence_and_goes_on(path: Path) -> None:
    store = ChatStore(path, max_bytes=200_000)
    chat = store.create()
    with pytest.raises(
        ChatError, match=r"disk is full: your message could not be stored"
    ) as caught:
        store.begin_turn(chat.id, "x" * 300_000, parent_id=None, model="m")
    assert caught.value.code == "disk_full"
    assert store.messages(chat.id) == ()
    told(store, chat, ("short", "answer"))
    store.close()
    assert integrity(path) == "ok"


def test_read_only_file_is_explained(store: ChatStore, path: Path) -> None:
    store.create()
    with (
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as other,
        pytest.raises(ChatError, match="cannot be written to: a chat could not") as caught,
        schema.explained(path, "a chat"),
    ):
        other.execute("DELETE FROM chats")
    assert caught.value.code == "read_only"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ChatError, match="cannot be opened"):
        ChatStore(tmp_path / "chats.db")


def test_folder_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(ChatError, match="cannot be opened") as caught:
        ChatStore(tmp_path / "home" / "chats.db")
    assert caught.value.code == "cannot_open"


def test_file_of_a_newer_luci_is_left_alone(store: ChatStore, path: Path) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(ChatError, match="newer luci wrote it"):
        ChatStore(path)
    assert path.read_bytes() == before


def test_file_of_another_program_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(ChatError, match="another program"):
        ChatStore(path)


def test_migration_keeps_a_backup_and_is_all_or_nothing(store: ChatStore, path: Path) -> None:
    chat = store.create(title="kept")
    store.close()
    with closing(schema.connect(path)) as connection:
        broken = (*schema.MIGRATIONS, "CREATE TABLE extra (x);\nCREATE TABLE extra (x);\n")
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            schema.migrate(connection, path, broken)
        assert schema.version_of(connection) == len(schema.MIGRATIONS)
        good = (*schema.MIGRATIONS, "CREATE TABLE extra (x);\n")
        backup = schema.migrate(connection, path, good)
        assert backup is not None
        assert schema.version_of(connection) == len(good)
        assert schema.migrate(connection, path, good) is None
    with closing(sqlite3.connect(backup)) as old:
        assert old.execute("SELECT id FROM chats").fetchall() == [(chat.id,)]


def test_text_that_is_no_text_is_stored_readably(store: ChatStore) -> None:
    chat = store.create(system="\ud800")
    user, reply = store.begin_turn(chat.id, "a\ud800b\0c", parent_id=None, model="m")
    store.append(chat.id, reply.id, "x\udfff\0y")
    assert store.message(chat.id, user.id).text == "a?b\0c"
    assert store.message(chat.id, reply.id).text == "x?\0y"


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("short", "short"),
        (" two\n\twords ", "two words"),
        ("word " * 30, "word " * 10 + "word…"),
        ("x" * 100, "x" * 59 + "…"),
        ("", ""),
    ],
)
def test_automatic_title(prompt: str, title: str) -> None:
    assert automatic_title(prompt) == title


class Tree:
    """What a tree of messages should look like, kept in dictionaries."""

    def __init__(self) -> None:
        self.parents: dict[str, str | None] = {}
        self.children: dict[str | None, list[str]] = {}
        self.users: list[str] = []
        self.leaf: str | None = None

    def put(self, *messages: Message) -> None:
        for message in messages:
            self.parents[message.id] = message.parent_id
            self.children.setdefault(message.parent_id, []).append(message.id)
            self.users += [message.id] if message.role is Role.USER else []
            self.leaf = message.id

    def select(self, message_id: str) -> None:
        self.leaf = message_id
        while self.children.get(self.leaf):
            self.leaf = self.children[self.leaf][-1]

    def branch(self) -> list[str]:
        found: list[str] = []
        walk = self.leaf
        while walk is not None:
            found.insert(0, walk)
            walk = self.parents[walk]
        return found

    def forks(self) -> dict[str, list[str]]:
        siblings = {key: self.children[self.parents[key]] for key in self.branch()}
        return {key: family for key, family in siblings.items() if len(family) > 1}


STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "edit", "again", "select"]), st.floats(0, 0.99))
)


@DISK
@given(steps=STEPS, restarts=st.booleans())
def test_tree_keeps_its_shape_under_any_operations(
    tmp_path: Path, steps: list[tuple[str, float]], restarts: bool
) -> None:
    path = tmp_path / f"{new_id()}.db"
    store = ChatStore(path)
    chat = store.create()
    tree = Tree()
    for step, place in steps:
        user = tree.users[int(place * len(tree.users))] if tree.users else None
        if step == "send":
            tree.put(*store.begin_turn(chat.id, "t", parent_id=tree.leaf, model="m"))
        elif step == "edit" and user:
            parent_id = tree.parents[user]
            tree.put(*store.begin_turn(chat.id, "t", parent_id=parent_id, model="m"))
        elif step == "again" and user:
            tree.put(store.begin_reply(chat.id, user, "m"))
        elif step == "select" and user:
            message_id = sorted(tree.parents)[int(place * len(tree.parents))]
            store.select(chat.id, message_id)
            tree.select(message_id)
    if restarts:
        store.close()
        store = ChatStore(path)
    opened = store.open(chat.id)
    assert [message.id for message in opened.messages] == tree.branch()
    assert opened.session.active_leaf_id == tree.leaf
    assert {m.id: m.parent_id for m in store.messages(chat.id)} == tree.parents
    assert {fork.message_id: list(fork.sibling_ids) for fork in opened.forks} == tree.forks()
    store.close()
    assert integrity(path) == "ok"
