import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luci_tui.chat import transfer
from luci_tui.chat.markdown import export_markdown
from luci_tui.chat.naming import new_id
from luci_tui.chat.records import (
    ChatSession,
    ContextReport,
    LeftOut,
    Message,
    MessageKind,
    MessageState,
    Parameters,
    Role,
    ToolCall,
)
from luci_tui.chat.store import ChatStore
from luci_tui.chat.transfer import MAX_BYTES, export_json, read_import
from luci_tui.engine import frames
from luci_tui.errors import ChatError
from tests.support.chats import conversation, told

DISK = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChatStore]:
    opened = ChatStore(tmp_path / "chats.db")
    yield opened
    opened.close()


def exported(store: ChatStore, chat_id: str) -> bytes:
    return export_json(store.session(chat_id), store.messages(chat_id))


def imported(store: ChatStore, data: bytes) -> ChatSession:
    read = read_import(data)
    return store.add(read.session, read.messages)


TEXTS = st.text(max_size=40)
USAGES = st.builds(
    frames.Usage,
    prompt_tokens=st.integers(0, 2**40),
    completion_tokens=st.integers(0, 9),
    n_ctx=st.just(4096),
)
REPORTS = st.builds(
    ContextReport,
    n_ctx=st.just(100),
    reserve_tokens=st.just(10),
    counted_tokens=st.integers(0, 9),
    n_sent=st.just(1),
    left_out=st.just((LeftOut(first_id="a", last_id="b", n_messages=2, tokens=3),)),
    note=TEXTS,
)
MESSAGES = st.builds(
    Message,
    id=st.just("x"),
    role=st.sampled_from(Role),
    state=st.sampled_from([state for state in MessageState if state != "streaming"]),
    text=TEXTS,
    reasoning=TEXTS,
    tool_calls=st.lists(st.builds(ToolCall, id=TEXTS, name=TEXTS, arguments=TEXTS)).map(tuple),
    is_pinned=st.booleans(),
    created_ms=st.integers(0, 2**53),
    finished_ms=st.none() | st.integers(0, 2**53),
    model=TEXTS,
    finish_reason=st.none() | st.sampled_from(frames.FinishReason),
    usage=st.none() | USAGES,
    timings=st.builds(frames.Timings, decode_ms=st.floats(0, 1e12)),
    seed=st.none() | st.integers(0, 2**32 - 2),
    context=st.none() | REPORTS,
    doubtful=st.lists(TEXTS, max_size=2).map(tuple),
    failure=TEXTS,
    rating=st.sampled_from([-1, 0, 1]),
    rating_note=TEXTS,
)


@DISK
@given(
    messages=st.lists(st.tuples(MESSAGES, st.floats(0, 0.99)), max_size=8),
    title=TEXTS,
    temperature=st.floats(0, 5),
)
def test_export_and_import_give_the_same_bytes(
    tmp_path: Path, messages: list[tuple[Message, float]], title: str, temperature: float
) -> None:
    placed: list[Message] = []
    for number, (message, place) in enumerate(messages):
        parents = [None, *(one.id for one in placed)]
        parent_id = parents[int(place * len(parents))]
        placed.append(message.model_copy(update={"id": f"m{number}", "parent_id": parent_id}))
    sampling = frames.SamplingParams(temperature=temperature, logit_bias=((1, 0.1),))
    session = ChatSession(
        id=new_id(),
        title=title,
        parameters=Parameters(sampling=sampling),
        active_leaf_id=placed[-1].id if placed else None,
        created_ms=5,
        updated_ms=6,
    )
    first = export_json(session, tuple(placed))
    stores = [ChatStore(tmp_path / f"{new_id()}.db") for _ in range(2)]
    for store in stores:
        chat = imported(store, first)
        assert exported(store, chat.id) == first
        assert store.messages(chat.id) == tuple(placed)
        store.close()


def test_import_of_a_chat_that_is_there_gets_an_id_of_its_own(store: ChatStore) -> None:
    chat = store.create(title="t", model="m", system="s")
    told(store, chat, ("a", "b"))
    copy = imported(store, exported(store, chat.id))
    assert copy.id != chat.id
    assert store.messages(copy.id) == store.messages(chat.id)
    assert len(store.chats()) == 2


def test_import_of_messages_of_openai(store: ChatStore) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    picture = {"type": "image_url", "image_url": {"url": "data:"}}
    items = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "What time is it?"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "noon"},
        {"role": "assistant", "content": "Noon."},
    ]
    for data in (items, {"model": "gpt", "messages": items}):
        read = read_import(json.dumps(data).encode())
        assert read.note == "1 part of messages that are no text could not be taken over."
        chat = store.add(read.session, read.messages)
        opened = store.open(chat.id)
        assert (chat.title, chat.system) == ("What time is it?", "Be kind.")
        assert [m.role for m in opened.messages] == ["user", "assistant", "tool", "assistant"]
        assert opened.messages[1].tool_calls == (ToolCall(id="c", name="f", arguments='{"a":1}'),)
        assert opened.messages[2].tool_call_id == "c"
    assert chat.model == "gpt"


def ours(**changes: object) -> dict[str, object]:
    """Make an export of ours with changes; `messages` are lists of (id, parent)."""
    pairs = changes.pop("messages", [("a", None), ("b", "a")])
    messages = [
        {"id": key, "parent_id": parent, "role": "user", "created_ms": 1}
        for key, parent in pairs  # type: ignore[attr-defined]
    ]
    chat = {"id": "c", "active_leaf_id": "b", "created_ms": 1, "updated_ms": 1}
    chat |= changes.pop("chat", {})  # type: ignore[operator]
    return {"format": "luci-chat", "version": 1, "chat": chat, "messages": messages, **changes}


def changed(**fields: object) -> dict[str, object]:
    whole = ours()
    whole["messages"][0] |= fields  # type: ignore[index,operator]
    return whole


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (ours(messages=[("a", "b"), ("b", "a")]), "parent b does not stand before it"),
        (ours(messages=[("a", "a"), ("b", "a")]), "parent a does not stand before it"),
        (ours(messages=[("b", "zz")]), "parent zz does not stand before it"),
        (ours(messages=[("b", None), ("b", None)]), "holds the message b twice"),
        (ours(chat={"active_leaf_id": "zz"}), "names zz as its last message"),
        (ours(chat={"active_leaf_id": None}), "names None as its last message"),
        (ours(chat={"id": "../../etc"}), "wrong at chat.id"),
        (ours(chat={"title": 5}), "wrong at chat.title"),
        (ours(chat={"surprise": 5}), "wrong at chat.surprise"),
        (ours(chat={"parameters": {"sampling": {"top_p": 7}}}), "chat.parameters.sampling.top_p"),
        (ours(version=2), "has version 2 and this luci reads 1"),
        (changed(role="root"), "wrong at messages.0.role"),
        (changed(text=None), "wrong at messages.0.text"),
        (changed(created_ms=-1), "wrong at messages.0.created_ms"),
        (changed(created_ms=10**30), "beyond 2^53"),
        (changed(usage={"prompt_tokens": 2**60, "completion_tokens": 0, "n_ctx": 1}), "2^53"),
        (changed(is_pinned="yes"), "wrong at messages.0.is_pinned"),
        (changed(rating=2), "wrong at messages.0.rating"),
        (changed(kind="summary"), "goes on from a summary"),
        ({"format": "luci-chat"}, "has version None"),
        ({"a": 1}, "is no chat"),
        ("text", "is no chat"),
        (5, "is no chat"),
        ([5], "Message 1 of the import is no object"),
        ([{"role": "god", "content": "x"}], 'has the unknown role "god"'),
        ([{"role": "user", "content": 5}], "neither text nor a list of parts"),
        ([{"role": "assistant", "tool_calls": 5}], "tool_calls that are no list"),
        ([{"role": "assistant", "tool_calls": [5]}], "tool call without a name"),
    ],
)
def test_hostile_import_is_refused_in_one_sentence(value: object, words: str) -> None:
    with pytest.raises(ChatError) as caught:
        read_import(json.dumps(value).encode())
    assert words in caught.value.message
    assert caught.value.code.startswith("import_")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "import_no_json"),
        (b"\xff\xfe", "import_no_json"),
        (b"[" * 100_000, "import_no_json"),
        (b"[" * 100 + b"]" * 100, "import_too_deep"),
        (b'{"messages": [NaN]}', "import_no_json"),
        (b'["\\ud800"]', "import_no_json"),
        (b" " * (MAX_BYTES + 1), "import_too_large"),
    ],
    ids=["empty", "no text", "deep", "nested", "NaN", "surrogate", "large"],
)
def test_import_that_is_no_json_or_too_much_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(ChatError) as caught:
        read_import(data)
    assert caught.value.code == code


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["messages", "role", "content", "format", "chat"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_import_of_anything_is_read_or_refused(data: bytes) -> None:
    with suppress(ChatError):
        read_import(data)


def test_import_of_too_many_messages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MAX_MESSAGES", 2)
    with pytest.raises(ChatError, match="has 3 messages and 2 are the most"):
        read_import(b"[{},{},{}]")


def test_streaming_message_of_an_import_is_interrupted() -> None:
    assert read_import(json.dumps(changed(state="streaming")).encode()).messages[0].state == (
        MessageState.INTERRUPTED
    )


def test_markdown_shows_the_active_branch_and_others_only_when_asked(store: ChatStore) -> None:
    chat = store.create(title="A *chat*\x1b[31m", model="m", system="Be short.")
    first = told(store, chat, ("question", "answer"))
    again = store.begin_reply(chat.id, first[0].id, "m")
    state = {"state": MessageState.CANCELLED, "text": "second ```py\n", "reasoning": "hm"}
    store.finish(chat.id, again.model_copy(update=state))
    session, messages = store.session(chat.id), store.messages(chat.id)
    text = export_markdown(session, messages)
    assert text.startswith("# A *chat*\n")
    assert "## System message\n\nBe short.\n" in text
    assert "## You\n\nquestion\n" in text
    assert "## m\n\n<details><summary>Thinking</summary>\n\nhm\n" in text
    assert "*(stopped)*" in text
    assert "answer" not in text
    whole = export_markdown(session, messages, with_branches=True)
    assert whole.startswith(text)
    assert f"# Another branch, after message {first[0].id}\n\n## script\n\nanswer\n" in whole


def test_markdown_closes_a_code_block_that_an_answer_left_open() -> None:
    messages = conversation(("q", "````py\nx\n```"))
    session = ChatSession(id="c", active_leaf_id=messages[-1].id, created_ms=0, updated_ms=0)
    assert export_markdown(session, messages).endswith("````py\nx\n```\n````\n")


def test_markdown_leaves_summaries_away() -> None:
    messages = conversation(("q", "a"))
    summary = Message(
        id="s",
        parent_id=messages[-1].id,
        role=Role.ASSISTANT,
        kind=MessageKind.SUMMARY,
        text="in short",
        created_ms=0,
    )
    session = ChatSession(id="c", active_leaf_id=messages[-1].id, created_ms=0, updated_ms=0)
    text = export_markdown(session, [*messages, summary], with_branches=True)
    assert "in short" not in text
