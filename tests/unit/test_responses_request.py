import base64

import pytest
from pydantic import JsonValue

from luci_tui.host.openai.errors import ApiError
from luci_tui.host.openai.responses_items import (
    Transcript,
    cut_points,
    leave_out,
    parse_input,
    to_messages,
)
from luci_tui.host.openai.responses_request import enables_thinking, parse_options

LOOK: JsonValue = {"type": "function", "name": "look", "parameters": {"type": "object"}}
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()


def user(text: str = "hi") -> dict[str, JsonValue]:
    return {"role": "user", "content": text}


def call(call_id: str = "c1", arguments: str = "{}") -> dict[str, JsonValue]:
    return {"type": "function_call", "call_id": call_id, "name": "look", "arguments": arguments}


def output(call_id: str = "c1", value: JsonValue = "a tree") -> dict[str, JsonValue]:
    return {"type": "function_call_output", "call_id": call_id, "output": value}


def translate(*items: JsonValue) -> Transcript:
    parsed = parse_input(list(items))
    return to_messages([(f"input[{index}]", item) for index, item in enumerate(parsed)])


def test_text_input_then_it_is_one_users_message() -> None:
    (item,) = parse_input("hello")
    assert str(item["id"]).startswith("msg_")
    assert to_messages([("input[0]", item)]).messages == [{"role": "user", "content": "hello"}]


def test_conversation_with_tools_then_calls_join_the_turn_they_belong_to() -> None:
    transcript = translate(
        {"role": "developer", "content": "be brief"},
        user("look twice"),
        {"type": "reasoning", "id": "rs_1", "content": [{"type": "reasoning_text", "text": "hm"}]},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I look", "annotations": []}],
        },
        call("c1", '{"at": 1}'),
        call("c2"),
        output("c1"),
        output("c2", [{"type": "input_text", "text": "a stone"}]),
        {"type": "message", "role": "assistant", "content": "done"},
        user("thanks"),
    )
    assert [message["role"] for message in transcript.messages] == [
        "developer",
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "user",
    ]
    turn = transcript.messages[2]
    assert (turn["content"], turn["reasoning_content"]) == ("I look", "hm")
    assert turn["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}},
        {"id": "c2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
    ]
    assert transcript.messages[4] == {"role": "tool", "tool_call_id": "c2", "content": "a stone"}


def test_several_text_parts_then_they_stay_parts() -> None:
    parts: list[JsonValue] = [{"type": "input_text", "text": word} for word in ("a", "b")]
    transcript = translate({"role": "user", "content": parts})
    assert transcript.messages[0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]


def test_summary_then_it_stands_for_reasoning_without_content() -> None:
    summary: JsonValue = [{"type": "summary_text", "text": "short"}]
    transcript = translate(user(), {"type": "reasoning", "summary": summary}, user())
    assert transcript.messages[1]["reasoning_content"] == "short"


def test_encrypted_reasoning_then_it_is_named_as_unreadable() -> None:
    transcript = translate(user(), {"type": "reasoning", "summary": [], "encrypted_content": "x"})
    assert transcript.notes == ["input[1] (encrypted reasoning)"]
    assert len(transcript.messages) == 1


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([5], "input[0]"),
        ([{"type": 5}], "input[0].type"),
        ([{"type": "computer_call"}], "input[0].type"),
        ([{"type": "item_reference", "id": "x"}], "input[0].type"),
        ([user(), {"content": "x"}], "input[1].role"),
        ([{"role": "boss", "content": "x"}], "input[0].role"),
        ([{"role": "tool", "content": "x"}], "input[0].role"),
        ([{"role": "user"}], "input[0].content"),
        ([{"role": "user", "content": None}], "input[0].content"),
        ([{"role": "user", "content": 5}], "input[0].content"),
        ([{"role": "user", "content": "x", "colour": "red"}], "input[0].colour"),
        ([{"role": "user", "content": ["x"]}], "input[0].content[0]"),
        ([{"role": "user", "content": [{"text": "x"}]}], "input[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "input_text"}]}], "input[0].content[0].text"),
        (
            [{"role": "user", "content": [{"type": "input_text", "text": 5}]}],
            "input[0].content[0].text",
        ),
        (
            [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}],
            "input[0].content[0].type",
        ),
        (
            [{"role": "system", "content": [{"type": "input_image", "image_url": "x"}]}],
            "input[0].content[0].type",
        ),
        (
            [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}],
            "input[0].content[0].type",
        ),
        (
            [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}],
            "input[0].content[0].file_id",
        ),
        (
            [{"role": "user", "content": [{"type": "input_image"}]}],
            "input[0].content[0].image_url",
        ),
        (
            [{"role": "user", "content": [{"type": "input_image", "image_url": "http://a/b"}]}],
            "input[0].content[0].image_url",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_image", "image_url": f"data:image/jpeg;base64,{PIXEL}"}
                    ],
                }
            ],
            "input[0].content[0].image_url",
        ),
        ([user(), output()], "input[1].call_id"),
        ([user(), call(), output(), output()], "input[3].call_id"),
        ([user(), call(), call(), output()], "input[2].call_id"),
        ([user(), call()], "input[1]"),
        ([user(), call(arguments="{"), output()], "input[1].arguments"),
        ([user(), call(arguments="[]"), output()], "input[1].arguments"),
        ([user(), call(arguments='{"a":' * 70 + "1" + "}" * 70), output()], "input[1].arguments"),
        ([user(), call(arguments="[" * 100_000), output()], "input[1].arguments"),
        ([user(), call(), output(value=5)], "input[2].output"),
        ([user(), {**call(), "namespace": "n"}, output()], "input[1].namespace"),
        ([{"type": "reasoning", "content": [{"type": "text"}]}], "input[0].content[0].type"),
        ([{"role": "user", "content": "x", "id": "i" * 300}], "input[0].id"),
        ([user()] * 5000, "input"),
        ([{"role": "user", "content": [{"type": "input_text", "text": ""}] * 2000}], None),
    ],
)
def test_wrong_item_then_one_refusal_names_it(items: list[JsonValue], param: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        translate(*items)
    assert caught.value.status == 400
    assert caught.value.param == (param or "input[0].content")
    assert caught.value.message.endswith(".")
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("colour", "red", "colour"),
        ("model", "", "model"),
        ("model", 5, "model"),
        ("temperature", 3, "temperature"),
        ("temperature", "1", "temperature"),
        ("temperature", True, "temperature"),
        ("top_p", 0, "top_p"),
        ("max_output_tokens", 0, "max_output_tokens"),
        ("max_output_tokens", 2**31, "max_output_tokens"),
        ("max_output_tokens", 1.5, "max_output_tokens"),
        ("top_logprobs", 21, "top_logprobs"),
        ("truncation", "maybe", "truncation"),
        ("background", True, "background"),
        ("conversation", "c", "conversation"),
        ("prompt", {"id": "p"}, "prompt"),
        ("service_tier", "priority", "service_tier"),
        ("stream", "yes", "stream"),
        ("metadata", {"a": 5}, "metadata.a"),
        ("metadata", {str(index): "" for index in range(17)}, "metadata"),
        ("metadata", {"k" * 65: ""}, "metadata"),
        ("metadata", {"luci_note": ""}, "metadata"),
        ("reasoning", {"effort": "huge"}, "reasoning.effort"),
        ("reasoning", 5, "reasoning"),
        ("text", {"format": {"type": "xml"}}, "text.format.type"),
        ("text", {"format": {"type": "json_schema", "name": "a"}}, "text.format.schema"),
        ("text", {"format": {"type": "json_schema", "schema": {}}}, "text.format.name"),
        ("text", {"format": "json"}, "text.format"),
        ("tools", [5], "tools[0]"),
        ("tools", [{"type": "function"}], "tools[0].name"),
        ("tools", [{"type": "function", "name": "a b"}], "tools[0].name"),
        ("tools", [{"type": "function", "name": "a", "parameters": 5}], "tools[0].parameters"),
        ("tools", [{"type": "function", "name": "a", "colour": 5}], "tools[0].colour"),
        ("tools", [LOOK, LOOK], "tools[1].name"),
        ("tools", [LOOK] * 300, "tools"),
        ("tool_choice", "sometimes", "tool_choice"),
        ("tool_choice", "required", "tool_choice"),
        ("tool_choice", {"type": "function", "name": "look"}, "tool_choice"),
        ("tool_choice", {"type": "web_search"}, "tool_choice.type"),
        ("tool_choice", 5, "tool_choice"),
    ],
)
def test_wrong_field_then_one_refusal_names_it(field: str, value: JsonValue, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_options({"model": "m", "input": "hi", field: value})
    assert (caught.value.status, caught.value.param) == (400, param)


def test_missing_input_then_it_is_named() -> None:
    with pytest.raises(ApiError, match="'input' is missing") as caught:
        parse_input(None)
    assert caught.value.code == "missing_required_parameter"


def test_tools_of_other_kinds_then_they_are_skipped_and_named() -> None:
    tools: JsonValue = [{"type": "web_search"}, LOOK, {"type": "custom", "name": "apply_patch"}]
    options = parse_options({"model": "m", "input": "hi", "tools": tools})
    assert options.notes["luci_skipped_tools"] == "web_search, custom apply_patch"
    (tool,) = options.tools.tools
    assert tool == {
        "type": "function",
        "function": {"name": "look", "parameters": {"type": "object"}},
    }


@pytest.mark.parametrize(
    ("choice", "names", "wanted"),
    [
        (None, ["look", "wait"], "auto"),
        ("none", ["look", "wait"], "none"),
        ("required", ["look", "wait"], "required"),
        ({"type": "function", "name": "wait"}, ["wait"], "required"),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "look"}, {"type": "web_search"}],
            },
            ["look"],
            "auto",
        ),
    ],
)
def test_tool_choice_then_only_the_chosen_tools_are_offered(
    choice: JsonValue, names: list[str], wanted: str
) -> None:
    tools: list[JsonValue] = [LOOK, {"type": "function", "name": "wait"}]
    options = parse_options({"model": "m", "input": "", "tools": tools, "tool_choice": choice})
    assert [tool["function"]["name"] for tool in options.tools.tools] == names  # type: ignore[index,call-overload]
    assert options.tools.choice == wanted


def test_options_without_effect_then_a_note_names_them() -> None:
    options = parse_options(
        {
            "model": "m",
            "input": "hi",
            "max_tool_calls": 3,
            "include": ["reasoning.encrypted_content"],
            "text": {"verbosity": "low"},
        }
    )
    assert options.notes["luci_ignored"] == (
        "max_tool_calls, include reasoning.encrypted_content, text.verbosity"
    )


def test_sampling_then_only_what_was_asked_for_is_set() -> None:
    options = parse_options({"model": "m", "input": "hi", "temperature": 0, "seed": 4})
    assert options.sampling.model_fields_set == {"temperature", "seed"}


def test_format_then_it_becomes_the_engines_schema() -> None:
    schema: JsonValue = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wish: JsonValue = {"format": {"type": "json_schema", "name": "a", "schema": schema}}
    options = parse_options({"model": "m", "input": "hi", "text": wish})
    assert (
        options.sampling.json_schema
        == '{"type": "object", "properties": {"a": {"type": "integer"}}}'
    )
    any_object = parse_options(
        {"model": "m", "input": "hi", "text": {"format": {"type": "json_object"}}}
    )
    assert any_object.sampling.json_schema == '{"type": "object"}'


@pytest.mark.parametrize(("effort", "thinks"), [(None, True), ("none", False), ("high", True)])
def test_effort_then_none_switches_thinking_off(effort: str | None, *, thinks: bool) -> None:
    options = parse_options({"model": "m", "input": "hi", "reasoning": {"effort": effort}})
    assert enables_thinking(options.body) is thinks


def test_cut_points_then_a_call_and_its_output_stay_together() -> None:
    items = parse_input(
        [
            {"role": "system", "content": "rules"},
            user("a"),
            call("c1"),
            call("c2"),
            output("c1"),
            output("c2"),
            {"role": "assistant", "content": "b"},
            user("c"),
        ]
    )
    assert cut_points(items) == [2, 6, 7]
    kept, n_dropped = leave_out(items, 6)
    assert n_dropped == 5
    assert [item.get("content") for item in kept] == ["rules", "b", "c"]
