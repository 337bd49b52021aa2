import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from luci_tui.chat.journal import Journal
from luci_tui.chat.records import ChatPolicy, ChatSession, Parameters
from luci_tui.chat.service import ROOT, ChatService
from luci_tui.chat.store import ChatStore
from luci_tui.chat.store_thread import StoreThread
from luci_tui.chat.turn_events import (
    TurnDone,
    TurnEvent,
    TurnFailed,
    TurnLoading,
)
from luci_tui.engine import frames
from luci_tui.errors import RequestError
from tests.support.chat_turns import all_of, ask, branch, echoing, new_chat
from tests.support.chats import FakeModels
from tests.support.scripted_engine import (
    MODEL_INFO,
    ScriptedEngine,
    done,
    text,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[StoreThread]:
    opened = await StoreThread.open(tmp_path / "chats.db")
    yield opened
    await opened.close()


async def test_long_chat_leaves_out_the_oldest_turns_and_names_them(store: StoreThread) -> None:
    service = await echoing(store, n_ctx=1200)
    chat = await new_chat(store)
    ends = [await ask(service, chat, f"{number} " + "x" * 100) for number in range(8)]
    assert ends[0].context.left_out == ()
    messages = await branch(store, chat)
    context = ends[-1].context
    (run,) = context.left_out
    assert run.first_id == messages[0].id
    assert context.n_sent + context.n_left_out == len(messages) - 1
    assert run.last_id == messages[context.n_left_out - 1].id
    assert run.tokens == sum(len(m.text) for m in messages[: context.n_left_out])
    assert not run.is_estimated
    assert context.prompt_tokens is not None
    assert context.prompt_tokens <= 1200 - context.reserve_tokens


async def test_counts_become_exact_once_the_template_is_measured(store: StoreThread) -> None:
    service = await echoing(store)
    chat = await new_chat(store)
    contexts = [(await ask(service, chat, f"message {number}")).context for number in range(4)]
    assert "guessed" in contexts[0].counting
    assert "measured in an earlier answer" in contexts[3].counting
    # User's and assistant's envelopes differ by a few bytes, which is all that is not foreseen.
    for context in contexts[2:]:
        assert context.prompt_tokens is not None
        assert abs(context.counted_tokens - context.prompt_tokens) < 30


async def test_pinned_turn_stays_in_the_prompt(store: StoreThread) -> None:
    service = await echoing(store, n_ctx=1200)
    chat = await new_chat(store)
    await ask(service, chat, "0 " + "x" * 100)
    first = (await branch(store, chat))[0]
    await store.run(ChatStore.pin, chat.id, first.id, True)
    for number in range(1, 8):
        end = await ask(service, chat, f"{number} " + "x" * 100)
    assert end.context.pinned_ids == (first.id,)
    messages = await branch(store, chat)
    assert end.context.left_out[0].first_id == messages[2].id


async def test_prompt_that_alone_does_not_fit_fails_with_the_numbers(store: StoreThread) -> None:
    service = await echoing(store, n_ctx=400)
    chat = await new_chat(store)
    *_, end = await all_of(service.send(chat.id, "x" * 500))
    assert isinstance(end, TurnFailed)
    assert end.code == "context_length_exceeded"
    assert "your message has 500 tokens, and n_ctx 400 leaves 300 beside 100" in end.message


async def test_policy_refuse_fails_where_something_must_be_left_out(store: StoreThread) -> None:
    service = await echoing(store, n_ctx=800)
    chat = await new_chat(store, parameters=Parameters(policy=ChatPolicy.REFUSE))
    ends: list[TurnEvent] = []
    for number in range(4):
        ends.append((await all_of(service.send(chat.id, f"{number} " + "x" * 100)))[-1])
    assert isinstance(ends[0], TurnDone)
    assert isinstance(ends[-1], TurnFailed)
    assert "This chat does not fit" in ends[-1].message


class Summariser(ScriptedEngine):
    """Answers 300 letters, or `summary N` where a summary is asked for."""

    def __init__(self, failure: RequestError | None = None) -> None:
        super().__init__()
        self.failure = failure
        self.tasks: list[str] = []

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        task = json.loads(request.messages_json or "")[-1]["content"]
        if task.startswith("Summarise"):
            self.tasks.append(task)
            self.scripts.append([self.failure or text(f"summary {len(self.tasks)}"), done()])
        else:
            self.scripts.append([text("y" * 300), done()])
        async with aclosing(super().generate(request)) as events:
            async for event in events:
                yield event


async def summarising(store: StoreThread, engine: Summariser) -> tuple[ChatService, ChatSession]:
    info = MODEL_INFO.model_copy(update={"n_ctx": 1000})
    service = ChatService(store, FakeModels(engine, info), Journal(Path("/nonexistent")))
    return service, await new_chat(store, parameters=Parameters(policy=ChatPolicy.SUMMARISE))


async def test_summary_is_written_stored_named_and_rolled_on(store: StoreThread) -> None:
    engine = Summariser()
    service, chat = await summarising(store, engine)
    for number in range(12):
        n_before = len(engine.tasks)
        # The engine has no tokenizer: 100 tokens are 300 bytes.
        events = await all_of(service.send(chat.id, f"{number:<300}"))
        end = events[-1]
        assert isinstance(end, TurnDone)
        loading = [event.words for event in events if isinstance(event, TurnLoading)]
        assert any("summarising" in words for words in loading) == (len(engine.tasks) > n_before)
        if not engine.tasks:
            assert end.context.left_out == ()
            continue
        kept = await store.run(ChatStore.message, chat.id, str(end.context.summary_id))
        assert (kept.kind, kept.text) == ("summary", f"summary {len(engine.tasks)}")
        system = json.loads(engine.requests[-1].messages_json or "")[0]["content"]
        assert system.endswith(f"conversation:\nsummary {len(engine.tasks)}")
        assert all(run.is_summarised for run in end.context.left_out)
    assert len(engine.tasks) >= 3
    assert "Summary so far" not in engine.tasks[0]
    assert "Summary so far:\nsummary 1" in engine.tasks[1]
    assert "User: 0" in engine.tasks[0]
    assert "User: 0" not in engine.tasks[1]
    messages = await branch(store, chat)
    assert len(messages) == 24
    assert all(message.kind == "text" for message in messages)


async def test_summary_belongs_to_its_branch(store: StoreThread) -> None:
    engine = Summariser()
    service, chat = await summarising(store, engine)
    for number in range(5):
        end = await ask(service, chat, f"{number:<300}")
    assert end.context.summary_id is not None
    *_, last = await all_of(service.send(chat.id, "elsewhere", parent_id=ROOT))
    assert isinstance(last, TurnDone)
    assert last.context.summary_id is None


async def test_summary_that_fails_is_noted_and_the_turn_goes_on(store: StoreThread) -> None:
    service, chat = await summarising(store, Summariser(RequestError("No summary today.")))
    for number in range(5):
        end = await ask(service, chat, f"{number:<300}")
    assert end.context.note == "There is no new summary: No summary today."
    assert end.context.n_left_out > 0
    assert end.context.summary_id is None
