import json

import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter

from luci_tui.engine import frames
from luci_tui.host.openai.anthropic_request import parse_message
from luci_tui.host.openai.anthropic_stream import MessageStream
from tests.support import scripted_engine
from tests.support.event_order import Json, WrongOrderError, message_of
from tests.unit.test_responses_stream import call

FinishReason = frames.FinishReason


def play(*steps: frames.Delta | frames.Done, **fields: JsonValue) -> tuple[list[Json], Json]:
    body: dict[str, JsonValue] = {"model": "m", "max_tokens": 5000, **fields}
    messages: JsonValue = [{"role": "user", "content": "hi"}]
    stream = MessageStream(parse_message({**body, "messages": messages}, ""))
    events: list[Json] = stream.begin()
    for step in steps:
        events += stream.take(step) if isinstance(step, frames.Delta) else stream.finish(step)
    return json.loads(json.dumps(events)), stream.message()


def stopped(text: str) -> frames.Done:
    return scripted_engine.done().model_copy(update={"stop_text": text})


def test_text_then_the_events_come_in_anthropics_order() -> None:
    events, message = play(
        scripted_engine.text("he"), scripted_engine.text("llo"), scripted_engine.done()
    )
    assert [event["type"] for event in events] == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert message_of(events) == message
    assert message["content"] == [{"type": "text", "text": "hello"}]
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["input_tokens"] == 9
    assert message["usage"]["output_tokens"] == 21


def test_thinking_then_it_is_a_block_of_its_own_with_a_signature() -> None:
    events, message = play(
        scripted_engine.thought("so "),
        scripted_engine.thought("far"),
        scripted_engine.text("yes"),
        scripted_engine.done(),
    )
    assert message_of(events) == message
    thinking, text = message["content"]
    assert thinking["thinking"] == "so far"
    assert len(thinking["signature"]) == 64
    assert text["text"] == "yes"
    assert message["usage"]["output_tokens_details"] == {"thinking_tokens": 2}


def test_thinking_given_display_omitted_then_only_its_place_is_shown() -> None:
    events, message = play(
        scripted_engine.thought("so"),
        scripted_engine.text("yes"),
        scripted_engine.done(),
        thinking={"type": "adaptive", "display": "omitted"},
    )
    assert message_of(events) == message
    assert message["content"][0]["thinking"] == ""
    assert message["usage"]["output_tokens_details"] == {"thinking_tokens": 1}


def test_tool_calls_then_each_is_a_block_with_its_input() -> None:
    events, message = play(
        scripted_engine.text("I look"),
        call(0, '{"at": ', name="look", call_id="call_a"),
        call(0, "1}"),
        call(1, name="wait"),
        scripted_engine.done(FinishReason.TOOL_CALLS),
    )
    assert message_of(events) == message
    _, look, wait = message["content"]
    assert look == {"type": "tool_use", "id": "call_a", "name": "look", "input": {"at": 1}}
    assert wait["input"] == {}
    assert wait["id"].startswith("toolu_")
    assert message["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ('{"at": "the tr', {"at": "the tr"}),
        ('{"at": 1, "b', {"at": 1}),
        ("[1]", {"INVALID_JSON": "[1]"}),
        ('{"at": nope}', {"INVALID_JSON": '{"at": nope}'}),
    ],
)
def test_call_that_is_no_whole_json_then_nothing_of_it_is_lost(
    raw: str, wanted: dict[str, JsonValue]
) -> None:
    _, message = play(call(0, raw, name="look"), scripted_engine.done(FinishReason.LENGTH))
    assert message["content"][0]["input"] == wanted


@pytest.mark.parametrize(
    ("done", "max_tokens", "reason", "sequence"),
    [
        (stopped("END"), 50, "stop_sequence", "END"),
        (stopped("<|im_end|>"), 50, "end_turn", None),
        (scripted_engine.done(FinishReason.LENGTH), 21, "max_tokens", None),
        (scripted_engine.done(FinishReason.LENGTH), 50, "model_context_window_exceeded", None),
    ],
)
def test_end_then_the_reason_has_anthropics_name(
    done: frames.Done, max_tokens: int, reason: str, sequence: str | None
) -> None:
    events, message = play(
        scripted_engine.text("x"), done, max_tokens=max_tokens, stop_sequences=["END"]
    )
    message_of(events)
    assert (message["stop_reason"], message["stop_sequence"]) == (reason, sequence)


def test_cached_tokens_then_they_are_counted_apart() -> None:
    done = scripted_engine.done()
    done = done.model_copy(update={"usage": done.usage.model_copy(update={"cached_tokens": 4})})
    _, message = play(scripted_engine.text("x"), done)
    assert message["usage"]["input_tokens"] == 5
    assert message["usage"]["cache_read_input_tokens"] == 4


def test_message_then_the_clients_own_type_takes_it_strictly() -> None:
    _, message = play(
        scripted_engine.thought("hm"),
        scripted_engine.text("yes"),
        call(0, "{}", name="look"),
        scripted_engine.done(FinishReason.TOOL_CALLS),
    )
    TypeAdapter(Message).validate_python(message)


steps = st.lists(
    st.one_of(
        st.text(min_size=1, max_size=3).map(scripted_engine.text),
        st.text(min_size=1, max_size=3).map(scripted_engine.thought),
        st.builds(
            lambda text, thought: frames.Delta(request_id=1, text=text, reasoning=thought),
            st.text(max_size=2),
            st.text(max_size=2),
        ),
    ),
    max_size=12,
)


@given(steps, st.integers(0, 3), st.sampled_from(FinishReason))
def test_any_answer_then_the_order_holds_and_nothing_is_lost(
    deltas: list[frames.Delta], n_calls: int, reason: FinishReason
) -> None:
    calls = [call(index, '{"n": 1}', name="f") for index in range(n_calls)]
    events, message = play(*deltas, *calls, scripted_engine.done(reason))
    streamed = message_of(events)
    if reason is FinishReason.TOOL_CALLS:
        assert streamed == message
    said = "".join(block.get("text", "") for block in message["content"])
    thought = "".join(block.get("thinking", "") for block in message["content"])
    assert said == "".join(delta.text for delta in deltas)
    assert thought == "".join(delta.reasoning for delta in deltas)
    assert sum(block["type"] == "tool_use" for block in message["content"]) == n_calls


def test_validator_given_a_broken_stream_then_it_says_so() -> None:
    events, _ = play(
        scripted_engine.thought("hm"), scripted_engine.text("hello"), scripted_engine.done()
    )
    for index, event in enumerate(events):
        is_optional = event["type"] in ("ping", "content_block_delta")
        if is_optional and event.get("delta", {}).get("type") != "signature_delta":
            continue
        broken = events[:index] + events[index + 1 :]
        with pytest.raises((WrongOrderError, KeyError)):
            message_of(broken)
