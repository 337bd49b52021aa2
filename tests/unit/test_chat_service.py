import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from pydantic import ValidationError

from luci_tui.chat.journal import Journal
from luci_tui.chat.records import MessageState, Parameters
from luci_tui.chat.service import ROOT, ChatService
from luci_tui.chat.store import ChatStore
from luci_tui.chat.store_thread import StoreThread
from luci_tui.chat.turn_events import (
    TurnDelta,
    TurnDone,
    TurnEvent,
    TurnFailed,
    TurnLoading,
    TurnPrompt,
    TurnStarted,
    turn_event_adapter,
)
from luci_tui.engine import frames
from luci_tui.errors import ChatError, WorkerLostError
from tests.support.chat_turns import all_of, ask, branch, new_chat, requests, scripted
from tests.support.chats import FakeEntry, FakeModels, FakeProgress
from tests.support.scripted_engine import (
    MODEL_INFO,
    Gate,
    ScriptedEngine,
    Step,
    done,
    text,
    thought,
)
from tests.support.waiting import until


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[StoreThread]:
    opened = await StoreThread.open(tmp_path / "chats.db")
    yield opened
    await opened.close()


async def test_send_streams_stores_and_reports(store: StoreThread) -> None:
    script: list[Step] = [
        frames.PromptProgress(request_id=1, n_done=1, n_total=2),
        thought("hm"),
        text("Hello"),
        text(" you"),
        done(),
    ]
    service = scripted(store, script)
    chat = await new_chat(store)
    events = await all_of(service.send(chat.id, "Hi"))
    started, prompt, *deltas, end = events
    assert isinstance(started, TurnStarted)
    assert prompt == TurnPrompt(n_done=1, n_total=2)
    said = [event for event in deltas if isinstance(event, TurnDelta)]
    assert said == deltas
    assert "".join(one.reasoning for one in said) == "hm"
    assert "".join(one.text for one in said) == "Hello you"
    assert isinstance(end, TurnDone)
    assert (end.reply_id, end.seed, end.model, end.not_stored) == (
        started.reply_id,
        7,
        "script",
        "",
    )
    user, reply = await branch(store, chat)
    assert (user.id, user.text) == (started.user_message_id, "Hi")
    assert (reply.text, reply.reasoning, reply.state) == ("Hello you", "hm", MessageState.COMPLETE)
    assert (reply.usage, reply.timings, reply.context) == (end.usage, end.timings, end.context)
    assert end.context.prompt_tokens == 9
    assert [turn_event_adapter.validate_json(e.model_dump_json()) for e in events] == events


async def test_second_turn_sends_the_first_and_the_system_message(store: StoreThread) -> None:
    service = scripted(store, [text("one"), done()], [text("two"), done()])
    chat = await new_chat(store, system="Be short.")
    await ask(service, chat, "a")
    await ask(service, chat, "b", seed=5, max_tokens=3)
    assert requests(service)[1] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "b"},
    ]
    request = service._means.models.engine.requests[1]
    assert (request.sampling.seed, request.max_tokens) == (5, 3)


async def test_options_come_before_the_chat_and_the_chat_before_the_entry(
    store: StoreThread,
) -> None:
    entry = FakeEntry("script", frames.SamplingParams(temperature=0.1), "entry system")
    service = scripted(store, *[[text("x"), done()]] * 3, script=entry)
    chat = await new_chat(store)
    await ask(service, chat, "a")
    hot = frames.SamplingParams(temperature=0.9)
    await store.run(
        lambda s: s.update(chat.id, system="chat system", parameters=Parameters(sampling=hot))
    )
    await ask(service, chat, "b")
    await ask(service, chat, "c", sampling=frames.SamplingParams(temperature=0.5))
    sent = service._means.models.engine.requests
    assert [request.sampling.temperature for request in sent] == [0.1, 0.9, 0.5]
    systems = [messages[0]["content"] for messages in requests(service)]
    assert systems == ["entry system", "chat system", "chat system"]


async def test_changes_of_a_chat_leave_the_other_fields_to_the_entry(store: StoreThread) -> None:
    entry = FakeEntry("script", frames.SamplingParams(temperature=0.1, top_k=7))
    service = scripted(store, *[[text("x"), done()]] * 2, script=entry)
    changes = Parameters(sampling_changes={"temperature": 0.8})
    chat = await new_chat(store, parameters=changes)
    await ask(service, chat, "a")
    await ask(service, chat, "b", sampling=frames.SamplingParams(temperature=0.5))
    sent = [request.sampling for request in service._means.models.engine.requests]
    assert [(one.temperature, one.top_k) for one in sent] == [(0.8, 7), (0.5, 40)]
    with pytest.raises(ValidationError):
        Parameters(sampling_changes={"warmth": 1})


async def test_lease_progress_and_a_fallback_are_reported(store: StoreThread) -> None:
    service = scripted(store, [text("x"), done()])
    models = service._means.models
    models.progress = (FakeProgress(kind="loading", name="m", fraction=0.5),)
    models.entries["script"] = FakeEntry("other")
    chat = await new_chat(store)
    events = await all_of(service.send(chat.id, "a"))
    assert TurnLoading(words="loading m", fraction=0.5) in events
    reply = (await branch(store, chat))[-1]
    assert (reply.model, reply.asked_model) == ("other", "script")
    assert models.n_held == 0


async def test_model_whose_context_nobody_knows_then_says_what_to_write(
    store: StoreThread,
) -> None:
    models = FakeModels(ScriptedEngine([]), MODEL_INFO.model_copy(update={"n_ctx": 0}))
    service = ChatService(store, models, Journal(Path("/nonexistent")))
    chat = await store.run(ChatStore.create, model="far")
    events = [event async for event in service.send(chat.id, "hello")]
    failed = events[-1]
    assert isinstance(failed, TurnFailed)
    assert failed.code == "n_ctx_unknown"
    assert "load = { n_ctx = … }" in failed.message


async def test_regenerate_and_edit_make_siblings(store: StoreThread) -> None:
    service = scripted(store, *[[text(f"answer {n}"), done()] for n in range(4)])
    chat = await new_chat(store)
    await ask(service, chat, "first")
    user, reply = await branch(store, chat)
    await all_of(service.regenerate(chat.id, reply.id))
    again = (await branch(store, chat))[-1]
    assert (again.text, again.parent_id) == ("answer 1", user.id)
    assert requests(service)[1] == [{"role": "user", "content": "first"}]
    await all_of(service.edit(chat.id, user.id, "changed"))
    assert [m.text for m in await branch(store, chat)] == ["changed", "answer 2"]
    await all_of(service.send(chat.id, "root", parent_id=ROOT))
    fork = await store.run(ChatStore.siblings, chat.id, user.id)
    assert len(fork.sibling_ids) == 3


async def test_regenerate_of_a_user_message_answers_it(store: StoreThread) -> None:
    service = scripted(store, [WorkerLostError("It died.")], [text("now"), done()])
    chat = await new_chat(store)
    await all_of(service.send(chat.id, "a"))
    user, _ = await branch(store, chat)
    await all_of(service.regenerate(chat.id, user.id))
    assert [m.text for m in await branch(store, chat)] == ["a", "now"]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda s, c, _: s.send(c, " \n"), "empty_message"),
        (lambda s, _c, _: s.send("nochat", "x"), "chat_not_found"),
        (lambda s, c, _: s.send(c, "x", parent_id="nomessage"), "message_not_found"),
        (lambda s, c, _: s.regenerate(c, "nomessage"), "message_not_found"),
        (lambda s, c, reply: s.edit(c, reply, "x"), "not_editable"),
        (lambda s, c, _: s.send(c, "x" * (16 * 1024 * 1024 + 1)), "message_too_long"),
    ],
)
async def test_wrong_calls_are_refused_before_anything_is_stored(
    store: StoreThread, call: object, code: str
) -> None:
    service = scripted(store, [text("x"), done()])
    chat = await new_chat(store)
    await ask(service, chat, "a")
    reply = (await branch(store, chat))[-1]
    with pytest.raises(ChatError) as caught:
        await all_of(call(service, chat.id, reply.id))  # type: ignore[operator]
    assert caught.value.code == code
    assert len(await store.run(ChatStore.messages, chat.id)) == 2
    assert service.answering == ()


async def test_chat_without_a_model_is_refused(store: StoreThread) -> None:
    service = scripted(store)
    chat = await new_chat(store, model="")
    with pytest.raises(ChatError, match="names no model"):
        await all_of(service.send(chat.id, "x"))


async def test_second_turn_at_the_same_time_is_refused_and_other_chats_go_on(
    store: StoreThread,
) -> None:
    gate = Gate()
    service = scripted(store, [text("slow"), gate, done()], [text("quick"), done()])
    chat, other = await new_chat(store), await new_chat(store)
    async with aclosing(service.send(chat.id, "a")) as events:
        assert isinstance(await anext(events), TurnStarted)
        assert service.answering == (chat.id,)
        with pytest.raises(ChatError, match="is answering already") as caught:
            await all_of(service.send(chat.id, "b"))
        assert caught.value.code == "chat_busy"
        with pytest.raises(ChatError, match="is answering already"):
            await service.delete(chat.id)
        assert await anext(events) == TurnDelta(text="slow")
        assert (await ask(service, other, "c")).not_stored == ""
        gate.opened.set()
        assert isinstance([event async for event in events][-1], TurnDone)
    assert service.answering == ()
    assert len(await branch(store, chat)) == 2


async def test_closing_the_iterator_cancels_and_keeps_the_text(store: StoreThread) -> None:
    service = scripted(store, [text("half"), Gate(), done()])
    chat = await new_chat(store)
    async with aclosing(service.send(chat.id, "a")) as events:
        async for event in events:
            if isinstance(event, TurnDelta):
                break
    reply = (await branch(store, chat))[-1]
    assert (reply.state, reply.text) == (MessageState.CANCELLED, "half")
    assert reply.finish_reason is frames.FinishReason.CANCELLED
    models = service._means.models
    assert (models.engine.n_cancelled, models.n_held) == (1, 0)
    assert service.answering == ()


async def test_cancelling_the_task_cancels_and_keeps_the_text(store: StoreThread) -> None:
    service = scripted(store, [text("half"), Gate(), done()])
    chat = await new_chat(store)
    came = asyncio.Event()

    async def read() -> None:
        async for event in service.send(chat.id, "a"):
            if isinstance(event, TurnDelta):
                came.set()

    task = asyncio.create_task(read())
    await came.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await branch(store, chat))[-1].text == "half"


async def test_stop_ends_the_turn_for_its_reader(store: StoreThread) -> None:
    service = scripted(store, [text("half"), Gate(), done()])
    chat = await new_chat(store)
    async with aclosing(service.send(chat.id, "a")) as events:
        seen = [await anext(events), await anext(events)]
        service.stop(chat.id)
        seen += [event async for event in events]
    assert isinstance(seen[-1], TurnFailed)
    assert seen[-1].code == "cancelled"
    assert (await branch(store, chat))[-1].state is MessageState.CANCELLED


class HeldJournal(Journal):
    """Waits with the last line of a turn until a test lets it go on."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))
        self.reached, self.released = threading.Event(), threading.Event()

    def ended(self, *_: object) -> None:
        self.reached.set()
        assert self.released.wait(10)

    def cancelled(self, *_: object) -> None:
        self.ended()


async def last_of(events: AsyncGenerator[TurnEvent]) -> TurnEvent:
    async with asyncio.timeout(10):
        return (await all_of(events))[-1]


async def test_stop_that_comes_when_the_answer_is_stored_changes_nothing(
    store: StoreThread,
) -> None:
    journal = HeldJournal()
    service = scripted(store, [text("all of it"), done()])
    service._means.journal = journal
    chat = await new_chat(store)
    reading = asyncio.create_task(last_of(service.send(chat.id, "a")))
    assert await asyncio.to_thread(journal.reached.wait, 10)
    service.stop(chat.id)
    journal.released.set()
    assert isinstance(await reading, TurnDone)
    assert (await branch(store, chat))[-1].state is MessageState.COMPLETE


async def test_second_stop_does_not_break_off_the_first(store: StoreThread) -> None:
    journal = HeldJournal()
    service = scripted(store, [text("half"), Gate(), done()])
    service._means.journal = journal
    chat = await new_chat(store)
    events = service.send(chat.id, "a")
    assert isinstance(await anext(events), TurnStarted)
    assert await anext(events) == TurnDelta(text="half")
    service.stop(chat.id)
    reading = asyncio.create_task(last_of(events))
    assert await asyncio.to_thread(journal.reached.wait, 10)
    service.stop(chat.id)
    journal.released.set()
    end = await reading
    assert isinstance(end, TurnFailed)
    assert end.code == "cancelled"
    reply = (await branch(store, chat))[-1]
    assert (reply.text, reply.state) == ("half", MessageState.CANCELLED)


async def test_close_stores_what_is_being_answered(tmp_path: Path) -> None:
    store = await StoreThread.open(tmp_path / "chats.db")
    service = scripted(store, [text("half"), Gate(), done()])
    chat = await new_chat(store)
    events = service.send(chat.id, "a")
    await anext(events)
    await anext(events)
    await service.close()
    await events.aclose()
    again = ChatStore(tmp_path / "chats.db")
    assert again.open(chat.id).messages[-1].text == "half"
    assert again.open(chat.id).messages[-1].state is MessageState.CANCELLED
    again.close()


async def test_streaming_text_reaches_the_store_while_it_streams(store: StoreThread) -> None:
    gate = Gate()
    service = scripted(store, [text("so far"), gate, text(" and on"), done()])
    chat = await new_chat(store)
    async with aclosing(service.send(chat.id, "a")) as events:
        await anext(events)
        await anext(events)

        async def has_come() -> bool:
            return (await branch(store, chat))[-1].text == "so far"

        await until(has_come)
        assert (await branch(store, chat))[-1].state is MessageState.STREAMING
        gate.opened.set()
        assert isinstance([event async for event in events][-1], TurnDone)
    assert (await branch(store, chat))[-1].text == "so far and on"


async def test_engine_that_fails_keeps_the_text_with_the_reason(store: StoreThread) -> None:
    service = scripted(store, [text("half"), WorkerLostError("The worker died.")])
    chat = await new_chat(store)
    *_, end = await all_of(service.send(chat.id, "a"))
    reply = (await branch(store, chat))[-1]
    assert end == TurnFailed(reply_id=reply.id, code="worker_lost", message="The worker died.")
    assert (reply.state, reply.text) == (MessageState.FAILED, "half")
    assert (reply.failure_code, reply.failure) == ("worker_lost", "The worker died.")


async def test_model_that_cannot_be_had_fails_the_turn(store: StoreThread) -> None:
    service = scripted(store)
    chat = await new_chat(store, model="missing")
    *_, end = await all_of(service.send(chat.id, "a"))
    assert isinstance(end, TurnFailed)
    assert end.code == "catalog"


async def test_fault_of_luci_itself_fails_the_turn(store: StoreThread) -> None:
    service = scripted(store)  # No script: the engine raises IndexError.
    chat = await new_chat(store)
    *_, end = await all_of(service.send(chat.id, "a"))
    assert isinstance(end, TurnFailed)
    assert end.code == "internal"
    assert (await branch(store, chat))[-1].state is MessageState.FAILED


async def test_failed_and_empty_answers_are_not_sent_again(store: StoreThread) -> None:
    service = scripted(store, [WorkerLostError("It died.")], [text("x"), done()])
    chat = await new_chat(store)
    await all_of(service.send(chat.id, "a"))
    end = await ask(service, chat, "b")
    assert requests(service)[1] == [{"role": "user", "content": "a\n\nb"}]
    assert end.context.left_out == ()


async def test_model_for_commands_gets_the_last_message_alone_and_doubt_is_flagged(
    store: StoreThread,
) -> None:
    entry = FakeEntry("builtin", answers_with_command=True)
    service = scripted(
        store, [text("ls src"), done()], [text("rm notez.txt"), done()], builtin=entry
    )
    chat = await new_chat(store, model="builtin")
    assert (await ask(service, chat, "list the files in src")).doubtful == ()
    end = await ask(service, chat, "delete notes.txt")
    assert end.doubtful == ("notez.txt",)
    assert requests(service)[1] == [{"role": "user", "content": "delete notes.txt"}]
    assert end.context.n_left_out == 2
    assert "answers each request alone" in end.context.note
    assert (await branch(store, chat))[-1].doubtful == ("notez.txt",)


async def test_model_without_a_template_gets_plain_text(store: StoreThread) -> None:
    service = scripted(store, [text("x"), done()])
    models = service._means.models
    models.info = MODEL_INFO.model_copy(update={"has_chat_template": False})
    chat = await new_chat(store, system="S")
    end = await ask(service, chat, "a")
    assert models.engine.requests[0].prompt == "S\n\na"
    assert "no chat template" in end.context.note


async def test_full_disk_refuses_the_turn_before_the_model_is_asked(tmp_path: Path) -> None:
    store = await StoreThread.open(tmp_path / "chats.db", max_bytes=200_000)
    service = scripted(store, [text("x"), done()])
    chat = await new_chat(store)
    with pytest.raises(ChatError, match="disk is full: your message") as caught:
        await all_of(service.send(chat.id, "x" * 400_000))
    assert caught.value.code == "disk_full"
    assert service._means.models.asked == []
    await ask(service, chat, "short")
    await store.close()


async def test_disk_that_fills_while_an_answer_streams_is_told_at_its_end(tmp_path: Path) -> None:
    store = await StoreThread.open(tmp_path / "chats.db", max_bytes=200_000)
    big = "word " * 60_000
    service = scripted(store, [text(big), text("end"), done()], [text("small"), done()])
    chat = await new_chat(store)
    events = await all_of(service.send(chat.id, "a"))
    assert "".join(e.text for e in events if isinstance(e, TurnDelta)) == big + "end"
    end = events[-1]
    assert isinstance(end, TurnDone)
    assert "disk is full: the answer could not be stored" in end.not_stored
    await ask(service, chat, "b")
    states = [message.state for message in await branch(store, chat)]
    assert states[1] is MessageState.INTERRUPTED
    assert states[3] is MessageState.COMPLETE
    await store.close()


async def test_tool_calls_are_stored_and_sent_again(store: StoreThread) -> None:
    call = frames.ToolCallDelta(index=0, id="c1", name="time", arguments="{}")
    script: list[Step] = [
        frames.Delta(request_id=1, tool_calls=(call,)),
        done(frames.FinishReason.TOOL_CALLS),
    ]
    service = scripted(store, script, [text("x"), done()])
    chat = await new_chat(store)
    await ask(service, chat, "a", tools_json='[{"type":"function"}]')
    await ask(service, chat, "b")
    sent = requests(service)[1][1]
    assert sent["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    ]


async def test_slow_reader_holds_the_engine_and_loses_nothing(store: StoreThread) -> None:
    script: list[Step] = [*(text(f"{number} ") for number in range(500)), done()]
    service = scripted(store, script)
    chat = await new_chat(store)
    seen: list[str] = []
    async for event in service.send(chat.id, "a"):
        if isinstance(event, TurnDelta):
            seen.append(event.text)
            await asyncio.sleep(0)
    assert "".join(seen) == "".join(f"{number} " for number in range(500))
    assert (await branch(store, chat))[-1].text == "".join(seen)


async def test_deleted_chat_takes_its_log_along(store: StoreThread, tmp_path: Path) -> None:
    models = FakeModels(ScriptedEngine([text("x"), done()]), MODEL_INFO)
    journal = Journal(tmp_path / "logs")
    service = ChatService(store, models, journal)
    chat = await new_chat(store)
    await ask(service, chat, "a")
    assert journal.path(chat.id).exists()
    await service.delete(chat.id)
    assert not journal.path(chat.id).exists()
    assert await store.run(ChatStore.chats) == ()
