import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response
from pydantic import TypeAdapter

from luci_tui.engine import frames
from luci_tui.host.openai.errors import ApiError
from luci_tui.host.openai.event_stream import encode_event
from luci_tui.host.openai.responses_request import parse_options
from luci_tui.host.openai.responses_stream import ResponseStream
from tests.support import scripted_engine
from tests.support.event_order import Json, WrongOrderError, response_of

FinishReason = frames.FinishReason


def call(index: int, arguments: str = "", name: str = "", call_id: str = "") -> frames.Delta:
    piece = frames.ToolCallDelta(index=index, id=call_id, name=name, arguments=arguments)
    return frames.Delta(request_id=1, tool_calls=(piece,), tokens=(1,))


def play(*steps: frames.Delta | frames.Done | ApiError, **body: object) -> list[Json]:
    options = parse_options({"model": "m", "input": "hi", **body})  # type: ignore[dict-item]
    stream = ResponseStream(options, created_at=100)
    events: list[Json] = stream.begin()
    for step in steps:
        match step:
            case frames.Delta():
                events += stream.take(step)
            case frames.Done():
                events += stream.finish(step, now=101)
            case ApiError():
                events += stream.fail(step)
    events += stream.end()
    # What a client reads is JSON, and nothing in it may change afterwards.
    return json.loads(json.dumps(events))


def kinds(events: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_text_then_the_events_come_in_openais_order() -> None:
    events = play(scripted_engine.text("he"), scripted_engine.text("llo"), scripted_engine.done())
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    response = response_of(events)
    assert response["output"][0]["content"][0]["text"] == "hello"
    assert response["usage"]["input_tokens"] == 9
    assert response["usage"]["total_tokens"] == 30
    assert response["completed_at"] == 101


def test_thinking_then_a_reasoning_item_comes_before_the_message() -> None:
    events = play(
        scripted_engine.thought("so "),
        scripted_engine.thought("far"),
        scripted_engine.text("yes"),
        scripted_engine.done(),
    )
    response = response_of(events)
    reasoning, message = response["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "so far"}]
    assert reasoning["summary"] == []
    assert message["content"][0]["text"] == "yes"
    assert response["usage"]["output_tokens_details"]["reasoning_tokens"] == 2


def test_thinking_given_a_wish_for_a_summary_then_it_comes_as_one() -> None:
    events = play(
        scripted_engine.thought("so"),
        scripted_engine.text("yes"),
        scripted_engine.done(),
        reasoning={"summary": "auto"},
    )
    assert "reasoning_summary_text.delta" in kinds(events)
    reasoning = response_of(events)["output"][0]
    assert reasoning["summary"] == [{"type": "summary_text", "text": "so"}]
    assert reasoning["content"] == []


def test_tool_calls_then_each_is_an_item_with_its_arguments() -> None:
    events = play(
        scripted_engine.text("let me see"),
        call(0, name="look", call_id="call_a"),
        call(0, '{"at": '),
        call(0, "1}"),
        call(1, "{}", name="wait", call_id="call_b"),
        call(2, name="stop"),
        scripted_engine.done(FinishReason.TOOL_CALLS),
    )
    message, look, wait, stop = response_of(events)["output"]
    assert message["status"] == "completed"
    assert (look["name"], look["call_id"], look["arguments"]) == ("look", "call_a", '{"at": 1}')
    assert (wait["name"], wait["arguments"]) == ("wait", "{}")
    assert stop["arguments"] == "{}"
    assert stop["call_id"].startswith("call_")


def test_limit_then_the_response_and_its_open_item_are_incomplete() -> None:
    events = play(
        scripted_engine.text("he"), scripted_engine.done(FinishReason.LENGTH), max_output_tokens=21
    )
    response = response_of(events)
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"
    assert "luci_stopped_by" not in response["metadata"]


def test_full_context_then_a_note_says_so() -> None:
    events = play(scripted_engine.text("he"), scripted_engine.done(FinishReason.LENGTH))
    assert "512 tokens" in response_of(events)["metadata"]["luci_stopped_by"]


def test_answer_without_a_word_then_there_is_an_empty_message() -> None:
    response = response_of(play(scripted_engine.done()))
    assert response["output"][0]["content"][0]["text"] == ""


def test_failure_then_what_came_before_stays() -> None:
    events = play(scripted_engine.text("he"), ApiError(503, "worker_lost", "It is gone."))
    response = response_of(events)
    assert response["error"] == {"code": "worker_lost", "message": "It is gone."}
    assert response["output"][0]["content"][0]["text"] == "he"
    assert response["output"][0]["status"] == "incomplete"


def test_logprobs_given_the_wish_then_they_add_up_over_the_deltas() -> None:
    def said(text: str) -> frames.Delta:
        one = frames.TokenLogprob(token=7, text=text, logprob=-0.5, top=((7, text, -0.5),) * 2)
        return frames.Delta(request_id=1, text=text, tokens=(7,), logprobs=(one,))

    events = play(said("a"), said("b"), scripted_engine.done(), top_logprobs=1)
    logprobs = response_of(events)["output"][0]["content"][0]["logprobs"]
    assert [one["token"] for one in logprobs] == ["a", "b"]
    assert [len(one["top_logprobs"]) for one in logprobs] == [1, 1]
    assert logprobs[0]["bytes"] == [97]


def test_piece_of_a_call_that_ended_then_the_stream_breaks_instead_of_losing_it() -> None:
    with pytest.raises(RuntimeError, match="tool call 0"):
        play(call(0, name="a"), call(1, name="b"), call(0, "{}"))


def test_response_then_the_clients_own_type_takes_it_strictly() -> None:
    tool = {"type": "function", "name": "look", "parameters": {}, "strict": True}
    events = play(
        scripted_engine.thought("hm"),
        scripted_engine.text("yes"),
        call(0, "{}", name="look"),
        scripted_engine.done(),
        tools=[tool],
        text={"format": {"type": "json_object"}},
        reasoning={"effort": "low"},
        metadata={"a": "b"},
    )
    for event in events:
        if "response" in event:
            TypeAdapter(Response).validate_python(event["response"], extra="ignore")
    assert response_of(events)["metadata"] == {"a": "b"}


deltas = st.lists(
    st.one_of(
        st.text(min_size=1, max_size=3).map(scripted_engine.text),
        st.text(min_size=1, max_size=3).map(scripted_engine.thought),
        st.just("call"),
        st.just("arguments"),
        st.builds(
            lambda text, thought: frames.Delta(request_id=1, text=text, reasoning=thought),
            st.text(max_size=2),
            st.text(max_size=2),
        ),
    ),
    max_size=12,
)


@given(deltas, st.sampled_from(FinishReason), st.booleans())
def test_any_answer_then_the_order_holds_and_nothing_is_lost(
    steps: list[frames.Delta | str], reason: FinishReason, has_summary: bool
) -> None:
    numbers = itertools.count()
    n_calls = 0
    played: list[frames.Delta] = []
    is_in_call = False
    for step in steps:
        if step == "call":
            played.append(call(n_calls, name="f"))
            n_calls, is_in_call = n_calls + 1, True
        elif step == "arguments":
            if is_in_call:
                played.append(call(n_calls - 1, f'{{"n": {next(numbers)}}}'))
        elif isinstance(step, frames.Delta):
            played.append(step)
            is_in_call = is_in_call and not (step.text or step.reasoning)
    wish = {"summary": "auto"} if has_summary else None
    response = response_of(play(*played, scripted_engine.done(reason), reasoning=wish))
    texts = [
        part["text"]
        for item in response["output"]
        for part in (*item.get("content", ()), *item.get("summary", ()))
    ]
    wanted = [delta.text for delta in played] + [delta.reasoning for delta in played]
    assert sorted("".join(texts)) == sorted("".join(wanted))
    assert sum(item["type"] == "function_call" for item in response["output"]) == n_calls


def test_validator_given_a_broken_stream_then_it_says_so() -> None:
    events = play(scripted_engine.text("hello"), scripted_engine.done())
    for index in range(len(events)):
        rest = events[:index] + events[index + 1 :]
        broken = [{**event, "sequence_number": place} for place, event in enumerate(rest)]
        with pytest.raises((WrongOrderError, KeyError)):
            response_of(broken)


def test_event_given_a_text_with_line_separators_then_it_is_one_line_of_data() -> None:
    text = "a\u2028b\u2029c\x85d\x0be"
    lines = encode_event({"type": "delta", "text": text}).decode().splitlines()
    assert lines[0] == "event: delta"
    assert json.loads(lines[1].removeprefix("data: "))["text"] == text
    assert lines[2:] == [""]
