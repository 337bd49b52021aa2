from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic
from anthropic.types import Message

from luci_tui.engine import frames
from luci_tui.errors import RequestError, WorkerLostError
from luci_tui.host.openai import event_stream
from tests.support import scripted_engine
from tests.support.api_server import KEY
from tests.support.event_order import MessagesOrder, message_of, read_sse
from tests.support.scripted_engine import Gate
from tests.support.scripted_server import N_CTX, Scripted, call, scripted_server
from tests.support.waiting import until

LOOK: Any = {
    "name": "look",
    "description": "Look somewhere.",
    "input_schema": {"type": "object", "properties": {"at": {"type": "integer"}}},
}
HI: Any = [{"role": "user", "content": "one two"}]


Served = Scripted[AsyncAnthropic]


def sdk(url: str) -> AsyncAnthropic:
    base_url = url.removesuffix("/v1")
    return AsyncAnthropic(base_url=base_url, api_key=KEY, max_retries=0, timeout=30)


@pytest_asyncio.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path / "home"))
    made = scripted_server(
        "/v1/messages", sdk, headers={"x-api-key": KEY}, usual={"max_tokens": 100}
    )
    async with made as server:
        yield server


async def test_create_then_the_client_reads_the_message(served: Served) -> None:
    message = await served.client.messages.create(
        model="echo",
        max_tokens=100,
        system=[{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        messages=HI,
        metadata={"user_id": "someone"},
        # The client's newest version of the API has no arguments for these.
        extra_body={"temperature": 0, "top_p": 0.9, "top_k": 3},
    )
    assert message.content[0].type == "text"
    assert message.content[0].text == "one two"
    assert (message.stop_reason, message.role, message.model) == ("end_turn", "assistant", "echo")
    assert message.usage.output_tokens == len("one two")
    # Strictly: the SDK's own parser forgives what this does not.
    Message.model_validate(message.model_dump())


async def test_create_given_stream_then_every_event_is_in_order(served: Served) -> None:
    order = MessagesOrder()
    stream = await served.client.messages.create(
        model="echo", max_tokens=100, messages=HI, stream=True
    )
    async for event in stream:
        order.feed(event.model_dump(exclude_unset=True))
    assert order.finish()["content"] == [{"type": "text", "text": "one two"}]


async def test_stream_helper_then_text_and_final_message_agree(served: Served) -> None:
    async with served.client.messages.stream(model="echo", max_tokens=100, messages=HI) as stream:
        texts = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert texts == ["one", " two"]
    assert final.content[0].type == "text"
    assert final.content[0].text == "one two"
    assert final.usage.input_tokens > 0


async def test_tool_use_then_its_result_goes_back_and_the_model_goes_on(served: Served) -> None:
    served.plays(
        scripted_engine.thought("I have to look"),
        scripted_engine.text("Let me see."),
        call(0, '{"at"', name="look", call_id="call_1"),
        call(0, ": 1}"),
        scripted_engine.done(frames.FinishReason.TOOL_CALLS),
    )
    served.plays(scripted_engine.text("a tree"), scripted_engine.done())
    messages = served.client.messages
    common: Any = {
        "model": "script",
        "max_tokens": 2048,
        "tools": [LOOK],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    async with messages.stream(messages=HI, **common) as stream:
        first = await stream.get_final_message()
    thinking, text, use = first.content
    assert thinking.type == "thinking"
    assert thinking.signature
    assert text.type == "text"
    assert use.type == "tool_use"
    assert (use.id, use.input, first.stop_reason) == ("call_1", {"at": 1}, "tool_use")
    result: Any = {"type": "tool_result", "tool_use_id": use.id, "content": "tree"}
    told: Any = [
        *HI,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    second = await messages.create(messages=told, **common)
    assert second.content[0].type == "text"
    assert second.content[0].text == "a tree"
    sent = json.loads(served.script.requests[1].messages_json or "")
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["reasoning_content"] == "I have to look"
    assert served.script.requests[1].enable_thinking
    assert json.loads(served.script.requests[1].tools_json)[0]["function"]["name"] == "look"


async def test_message_dumped_to_dicts_then_it_can_be_sent_back(served: Served) -> None:
    served.plays(
        scripted_engine.text("Let me see."),
        call(0, "{}", name="look", call_id="call_1"),
        scripted_engine.done(frames.FinishReason.TOOL_CALLS),
    )
    served.plays(scripted_engine.text("a tree"), scripted_engine.done())
    first = await served.client.messages.create(
        model="script", max_tokens=100, tools=[LOOK], messages=HI
    )
    told = [
        *HI,
        {"role": "assistant", "content": [block.model_dump() for block in first.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1"}]},
    ]
    answer = await served.post(model="script", messages=told, tools=[LOOK])
    assert answer.json()["content"] == [{"type": "text", "text": "a tree"}]


async def test_stop_sequence_then_it_is_named(served: Served) -> None:
    message = await served.client.messages.create(
        model="echo", max_tokens=100, messages=HI, stop_sequences=["two"]
    )
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "two")


async def test_limit_then_the_reason_is_max_tokens(served: Served) -> None:
    message = message_of(await served.stream(model="echo", messages=HI, max_tokens=3))
    assert message["stop_reason"] == "max_tokens"


async def test_count_tokens_then_it_is_what_the_answer_has(served: Served) -> None:
    said: Any = {"model": "echo", "messages": HI, "system": "be brief"}
    counted = await served.client.messages.count_tokens(**said)
    message = await served.client.messages.create(max_tokens=1, **said)
    assert counted.input_tokens == message.usage.input_tokens


async def test_count_tokens_given_more_than_the_context_then_it_still_counts(
    served: Served,
) -> None:
    def told(n_chars: int) -> Any:
        return [{"role": "user", "content": "x" * n_chars}]

    count = served.client.messages.count_tokens
    short = await count(model="echo", messages=told(100))
    long = await count(model="echo", messages=told(2100))
    assert long.input_tokens - short.input_tokens == 2000


async def test_long_prompt_then_count_gives_up_as_soon_as_the_length_is_known(
    served: Served,
) -> None:
    served.plays(frames.PromptProgress(request_id=1, n_done=512, n_total=90_000), Gate())
    counted = await served.client.messages.count_tokens(model="script", messages=HI)
    assert counted.input_tokens == 90_000
    assert served.script.n_cancelled == 1


async def test_errors_then_they_have_anthropics_shape(served: Served) -> None:
    messages = served.client.messages
    with pytest.raises(anthropic.NotFoundError) as missing:
        await messages.create(model="none", max_tokens=5, messages=HI)
    assert missing.value.type == "not_found_error"
    with pytest.raises(anthropic.BadRequestError) as wrong:
        await messages.create(model="echo", max_tokens=0, messages=HI)
    assert wrong.value.type == "invalid_request_error"
    assert "max_tokens" in str(wrong.value)
    stranger = served.client.with_options(api_key="luci-wrong")
    with pytest.raises(anthropic.AuthenticationError):
        await stranger.messages.create(model="echo", max_tokens=5, messages=HI)
    with pytest.raises(anthropic.BadRequestError, match="context"):
        await messages.create(
            model="echo", max_tokens=5, messages=[{"role": "user", "content": "x" * N_CTX}]
        )


async def test_version_that_is_too_old_then_it_is_refused(served: Served) -> None:
    body = {"model": "echo", "max_tokens": 5, "messages": HI}
    headers = {"anthropic-version": "2023-01-01"}
    answer = await served.http.post("/v1/messages", json=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["type"] == "error"


async def test_options_without_effect_then_a_header_names_them(served: Served) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = await served.post(model="echo", messages=HI, max_tokens=2048, thinking=thinking)
    assert answer.headers["luci-ignored"] == "thinking.budget_tokens"
    assert answer.headers["request-id"].startswith("req_")


async def test_worker_that_dies_in_the_middle_then_the_stream_ends_with_an_error(
    served: Served,
) -> None:
    served.plays(scripted_engine.text("he"), WorkerLostError("The worker is gone. Try again."))
    order = MessagesOrder()
    for event in await served.stream(model="script", messages=HI):
        order.feed(event)
    assert order.last == "error"
    assert order.error == {"type": "overloaded_error", "message": "The worker is gone. Try again."}


async def test_worker_that_dies_in_the_middle_then_the_client_raises(served: Served) -> None:
    served.plays(scripted_engine.text("he"), WorkerLostError("The worker is gone. Try again."))
    async with served.client.messages.stream(model="script", max_tokens=5, messages=HI) as stream:
        with pytest.raises(anthropic.APIStatusError, match="worker is gone"):
            await stream.get_final_message()


async def test_worker_that_dies_before_the_first_word_then_it_is_a_plain_503(
    served: Served,
) -> None:
    served.plays(WorkerLostError("The worker is gone. Try again."))
    answer = await served.post(model="script", messages=HI, stream=True)
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "overloaded_error"


async def test_schema_that_the_engine_refuses_then_it_is_a_400(served: Served) -> None:
    served.plays(RequestError("The schema is odd. Correct it.", code="invalid_schema"))
    answer = await served.post(model="script", messages=HI)
    assert answer.status_code == 400


async def test_client_that_goes_then_the_answer_is_cancelled(served: Served) -> None:
    served.plays(scripted_engine.text("he"), Gate())
    body = {"model": "script", "max_tokens": 5, "messages": HI, "stream": True}
    async with served.http.stream("POST", "/v1/messages", json=body) as answer:
        lines = answer.aiter_lines()
        while "content_block_delta" not in await anext(lines):
            pass
    await until(lambda: served.script.n_cancelled == 1 and not served.shelf.n_held)


async def test_silence_then_pings_show_that_the_stream_lives(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "PEEK_S", 0.05)
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.05)
    gate = Gate()
    served.plays(gate, scripted_engine.text("late"), scripted_engine.done())
    body = {"model": "script", "max_tokens": 5, "messages": HI, "stream": True}
    read = b""
    async with served.http.stream("POST", "/v1/messages", json=body) as answer:
        async for chunk in answer.aiter_bytes():
            read += chunk
            if read.count(b'"type":"ping"') == 3:
                gate.opened.set()
    assert message_of(read_sse(read))["content"][0]["text"] == "late"


async def test_prompt_length_that_is_known_early_then_the_message_starts_with_it(
    served: Served,
) -> None:
    served.plays(
        frames.PromptProgress(request_id=1, n_done=512, n_total=1024),
        scripted_engine.text("x"),
        scripted_engine.done(),
    )
    events = await served.stream(model="script", messages=HI)
    assert events[0]["message"]["usage"]["input_tokens"] == 1024
    message_of(events)
