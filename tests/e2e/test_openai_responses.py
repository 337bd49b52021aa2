from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from openai.types.responses import Response
from pydantic import BaseModel

from luci_tui.engine import frames
from luci_tui.errors import RequestError, WorkerLostError
from luci_tui.host.openai import event_stream
from tests.support import scripted_engine
from tests.support.api_server import KEY, OTHER_KEY
from tests.support.event_order import ResponsesOrder, read_sse, response_of
from tests.support.scripted_engine import Gate
from tests.support.scripted_server import N_CTX, Scripted, call, scripted_server
from tests.support.waiting import until

LOOK: Any = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"at": {"type": "integer"}}},
    "strict": True,
}


Served = Scripted[AsyncOpenAI]


def sdk(url: str, key: str = KEY) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=30)


@pytest_asyncio.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path / "home"))
    async with scripted_server("/v1/responses", sdk) as made:
        yield made


async def test_create_given_text_then_the_client_reads_the_answer(served: Served) -> None:
    response = await served.client.responses.create(
        model="echo", input="say it back", instructions="be brief", metadata={"a": "b"}
    )
    assert response.output_text == "say it back"
    assert (response.status, response.model, response.metadata) == ("completed", "echo", {"a": "b"})
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + len("say it back")
    # Strictly: the SDK's own parser forgives what this does not.
    Response.model_validate(response.model_dump(by_alias=True))


async def test_create_given_stream_then_every_event_is_in_order(served: Served) -> None:
    order = ResponsesOrder()
    stream = await served.client.responses.create(model="echo", input="one two", stream=True)
    async for event in stream:
        order.feed(event.model_dump(by_alias=True, warnings=False))
    assert order.finish()["output"][0]["content"][0]["text"] == "one two"


async def test_stream_helper_then_it_follows_text_and_ends_with_the_response(
    served: Served,
) -> None:
    texts: list[str] = []
    async with served.client.responses.stream(model="echo", input="one two three") as stream:
        async for event in stream:
            if event.type == "response.output_text.delta":
                texts.append(event.snapshot)
        final = await stream.get_final_response()
    assert texts == ["one", "one two", "one two three"]
    assert final.output_text == "one two three"


async def test_parse_then_the_text_becomes_the_clients_model(served: Served) -> None:
    class Place(BaseModel):
        name: str
        height_m: int

    served.plays(scripted_engine.text('{"name": "hill", "height_m": 9}'), scripted_engine.done())
    response = await served.client.responses.parse(
        model="script", input="a place", text_format=Place
    )
    assert response.output_parsed == Place(name="hill", height_m=9)
    schema = json.loads(served.script.requests[0].sampling.json_schema)
    assert schema["required"] == ["name", "height_m"]


async def test_tool_call_then_its_output_goes_back_and_the_model_goes_on(served: Served) -> None:
    served.plays(
        scripted_engine.thought("I have to look"),
        call(0, '{"at"', name="look", call_id="call_1"),
        call(0, ": 1}"),
        scripted_engine.done(frames.FinishReason.TOOL_CALLS),
    )
    served.plays(scripted_engine.text("a tree"), scripted_engine.done())
    client = served.client
    async with client.responses.stream(model="script", input="look", tools=[LOOK]) as stream:
        async for _ in stream:
            pass
        first = await stream.get_final_response()
    reasoning, made = first.output
    assert reasoning.type == "reasoning"
    assert made.type == "function_call"
    assert json.loads(made.arguments) == {"at": 1}
    answer: Any = {"type": "function_call_output", "call_id": made.call_id, "output": "tree"}
    second = await client.responses.create(
        model="script", input=[answer], previous_response_id=first.id, tools=[LOOK]
    )
    assert second.output_text == "a tree"
    messages = json.loads(served.script.requests[1].messages_json or "")
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert messages[1]["reasoning_content"] == "I have to look"
    assert messages[1]["tool_calls"][0]["id"] == "call_1"
    assert json.loads(served.script.requests[1].tools_json)[0]["function"]["name"] == "look"


async def test_items_sent_back_whole_then_no_store_is_needed(served: Served) -> None:
    served.plays(
        scripted_engine.thought("hm"),
        scripted_engine.text("let me see"),
        call(0, "{}", name="look", call_id="call_1"),
        scripted_engine.done(frames.FinishReason.TOOL_CALLS),
    )
    served.plays(scripted_engine.text("done"), scripted_engine.done())
    first = await served.client.responses.create(
        model="script", input="look", tools=[LOOK], store=False
    )
    items: list[Any] = [{"role": "user", "content": "look"}]
    items += [item.model_dump(mode="json") for item in first.output]
    items.append({"type": "function_call_output", "call_id": "call_1", "output": "tree"})
    second = await served.client.responses.create(
        model="script", input=items, tools=[LOOK], store=False
    )
    assert second.output_text == "done"
    messages = json.loads(served.script.requests[1].messages_json or "")
    assert messages[1]["content"] == "let me see"


async def test_stored_conversation_then_it_is_listed_gone_on_with_and_deleted(
    served: Served,
) -> None:
    responses = served.client.responses
    first = await responses.create(model="echo", input="one")
    second = await responses.create(model="echo", input="two", previous_response_id=first.id)
    assert (await responses.retrieve(second.id)).output_text == "two"
    page = await responses.input_items.list(second.id, limit=2, order="asc")
    told = [item.content[0].text async for item in page]  # type: ignore[union-attr]
    assert told == ["one", "one", "two"]
    latest = await responses.input_items.list(second.id, limit=1)
    assert latest.data[0].content[0].text == "two"  # type: ignore[union-attr]
    await responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as caught:
        await responses.create(model="echo", input="three", previous_response_id=second.id)
    assert caught.value.code == "previous_response_not_found"
    assert caught.value.param == "previous_response_id"


async def test_store_false_then_nothing_is_kept(served: Served, tmp_path: Path) -> None:
    response = await served.client.responses.create(model="echo", input="hidden", store=False)
    with pytest.raises(openai.NotFoundError):
        await served.client.responses.retrieve(response.id)
    assert not (tmp_path / "home" / "responses.db").read_bytes().count(b"hidden")


@pytest.mark.parametrize("is_stream", [False, True])
async def test_store_that_fails_then_the_answer_says_so(
    served: Served, tmp_path: Path, *, is_stream: bool
) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    if is_stream:
        response = response_of(await served.stream(model="echo", input="hi"))
    else:
        response = (await served.post(model="echo", input="hi")).json()
    assert response["status"] == "completed"
    assert response["store"] is False
    assert "cannot be used" in response["metadata"]["luci_not_stored"]


async def test_long_conversation_given_truncation_disabled_then_it_is_refused(
    served: Served,
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await served.client.responses.create(model="echo", input="x" * N_CTX, stream=True)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")


@pytest.mark.parametrize("is_stream", [False, True])
async def test_long_conversation_given_truncation_auto_then_what_was_left_out_is_told(
    served: Served, *, is_stream: bool
) -> None:
    items = [{"role": "system", "content": "rules"}]
    items += [{"role": "user", "content": f"{number} {'x' * 60}"} for number in range(20)]
    items.append({"role": "user", "content": "the end"})
    body = {"model": "echo", "input": items, "truncation": "auto"}
    if is_stream:
        response = response_of(await served.stream(**body))
    else:
        response = (await served.post(**body)).json()
    assert response["output"][0]["content"][0]["text"] == "the end"
    left_out = response["metadata"]["luci_left_out"].split()
    assert left_out[:2] == ["the", "oldest"]
    assert 14 <= int(left_out[2]) <= 20


async def test_last_item_that_does_not_fit_then_truncation_auto_gives_up(served: Served) -> None:
    answer = await served.post(
        model="echo",
        truncation="auto",
        input=[{"role": "user", "content": "a"}, {"role": "user", "content": "x" * N_CTX}],
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"


async def test_limit_then_the_response_is_incomplete(served: Served) -> None:
    events = await served.stream(model="echo", input="one two", max_output_tokens=3)
    response = response_of(events)
    assert events[-1]["type"] == "response.incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["content"][0]["text"] == "one"


async def test_worker_that_dies_in_the_middle_then_the_stream_ends_as_failed(
    served: Served,
) -> None:
    served.plays(scripted_engine.text("he"), WorkerLostError("The worker is gone. Try again."))
    response = response_of(await served.stream(model="script", input="hi"))
    assert (response["status"], response["error"]["code"]) == ("failed", "worker_lost")
    assert response["output"][0]["content"][0]["text"] == "he"
    stored = await served.client.responses.retrieve(response["id"])
    assert stored.status == "failed"


async def test_worker_that_dies_before_the_first_word_then_it_is_a_plain_503(
    served: Served,
) -> None:
    served.plays(WorkerLostError("The worker is gone. Try again."))
    answer = await served.post(model="script", input="hi", stream=True)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "worker_lost"
    assert "retry-after" in answer.headers


async def test_engine_that_breaks_its_word_then_the_client_is_told_without_detail(
    served: Served,
) -> None:
    served.plays(call(0, name="a"), call(1, name="b"), call(0, "{}"), scripted_engine.done())
    response = response_of(await served.stream(model="script", input="hi"))
    assert response["error"]["code"] == "internal_error"


async def test_schema_that_the_engine_refuses_then_the_field_has_its_name_here(
    served: Served,
) -> None:
    served.plays(RequestError("The schema is odd. Correct it.", code="invalid_schema"))
    answer = await served.post(model="script", input="hi")
    assert answer.json()["error"]["param"] == "text.format"


async def test_client_that_goes_then_the_answer_is_cancelled_and_not_stored(
    served: Served, tmp_path: Path
) -> None:
    gate = Gate()
    served.plays(scripted_engine.text("he"), gate)
    body = {"model": "script", "input": "hi", "stream": True}
    async with served.http.stream("POST", "/v1/responses", json=body) as answer:
        lines = answer.aiter_lines()
        while "output_text.delta" not in await anext(lines):
            pass
    await until(lambda: served.script.n_cancelled == 1 and not served.shelf.n_held)
    assert not (tmp_path / "home" / "responses.db").exists()


async def test_silence_then_the_stream_shows_that_it_lives(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "PEEK_S", 0.05)
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.05)
    gate = Gate()
    served.plays(gate, scripted_engine.text("late"), scripted_engine.done())
    body = {"model": "script", "input": "hi", "stream": True}
    read = b""
    async with served.http.stream("POST", "/v1/responses", json=body) as answer:
        async for chunk in answer.aiter_bytes():
            read += chunk
            if read.count(b": still here") == 2:
                gate.opened.set()
    assert response_of(read_sse(read))["output"][0]["content"][0]["text"] == "late"


async def test_tools_of_codex_then_they_are_skipped_and_named(served: Served) -> None:
    tools = [{"type": "web_search"}, LOOK, {"type": "custom", "name": "apply_patch"}]
    response = (await served.post(model="echo", input="hi", tools=tools)).json()
    assert response["metadata"]["luci_skipped_tools"] == "web_search, custom apply_patch"


async def test_input_tokens_then_they_are_those_of_the_answer(served: Served) -> None:
    said: Any = {"model": "echo", "input": "one two", "instructions": "be brief"}
    counted = await served.client.responses.input_tokens.count(**said)
    response = await served.client.responses.create(**said)
    assert response.usage is not None
    assert counted.input_tokens == response.usage.input_tokens


async def test_input_tokens_given_more_than_the_context_then_they_are_still_counted(
    served: Served,
) -> None:
    short = await served.client.responses.input_tokens.count(model="echo", input="x" * 100)
    long = await served.client.responses.input_tokens.count(model="echo", input="x" * 2100)
    assert long.input_tokens - short.input_tokens == 2000


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("responses/resp_none", 404, "response_id"),
        ("responses/resp_none/input_items", 404, "response_id"),
        ("responses/resp_none?stream=true", 400, "stream"),
        ("responses/resp_none?colour=red", 400, "colour"),
        ("responses/resp_none/input_items?limit=0", 400, "limit"),
        ("responses/resp_none/input_items?limit=9999999999999", 400, "limit"),
        ("responses/resp_none/input_items?order=up", 400, "order"),
    ],
)
async def test_wrong_path_or_query_then_one_error(
    served: Served, path: str, status: int, param: str
) -> None:
    answer = await served.http.get(f"/v1/{path}")
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param


async def test_after_that_is_no_item_then_one_error(served: Served) -> None:
    response = await served.client.responses.create(model="echo", input="one")
    answer = await served.http.get(f"/v1/responses/{response.id}/input_items?after=msg_none")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")


async def test_cancel_then_it_says_how(served: Served) -> None:
    response = await served.client.responses.create(model="echo", input="one")
    answer = await served.http.post(f"/v1/responses/{response.id}/cancel", json={})
    assert answer.status_code == 400
    assert "Close its stream" in answer.json()["error"]["message"]


async def test_response_of_another_key_then_it_is_not_there(served: Served) -> None:
    mine = await served.client.responses.create(model="echo", input="one")
    async with sdk(served.url, OTHER_KEY) as other:
        asked = [
            other.responses.retrieve(mine.id),
            other.responses.delete(mine.id),
            other.responses.cancel(mine.id),
            other.responses.input_items.list(mine.id),
        ]
        for answer in asked:
            with pytest.raises(openai.NotFoundError) as missing:
                await answer
            assert missing.value.param == "response_id"
        with pytest.raises(openai.BadRequestError) as caught:
            await other.responses.create(model="echo", input="two", previous_response_id=mine.id)
        assert caught.value.code == "previous_response_not_found"
    assert (await served.client.responses.retrieve(mine.id)).output_text == "one"


async def test_fallback_then_the_response_names_who_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = dict(served.shelf.leases)
    leases["script"] = leases["echo"]
    entries = list(served.shelf.names())
    monkeypatch.setattr(served.shelf, "names", lambda: entries)
    served.shelf.leases = leases
    response = response_of(await served.stream(model="script", input="hi"))
    assert response["model"] == "echo"
    assert response["metadata"]["luci_fell_back"] == "echo answers in place of script"
