import json

import pytest
from pydantic import JsonValue

from luci_tui.host.openai.anthropic_request import (
    Parsed,
    check_version,
    parse_count,
    parse_message,
    user_of,
)
from luci_tui.host.openai.errors import ApiError

LOOK: JsonValue = {"name": "look", "input_schema": {"type": "object"}}


def parse(messages: JsonValue = "hi", **fields: JsonValue) -> Parsed:
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return parse_message({"model": "m", "max_tokens": 9, "messages": messages, **fields}, "me")


def say(role: str, *blocks: JsonValue) -> dict[str, JsonValue]:
    return {"role": role, "content": list(blocks)}


def text(words: str = "hi") -> JsonValue:
    return {"type": "text", "text": words}


def use(call_id: str = "t1", **arguments: JsonValue) -> JsonValue:
    return {"type": "tool_use", "id": call_id, "name": "look", "input": arguments}


def result(call_id: str = "t1", content: JsonValue = "a tree", **fields: JsonValue) -> JsonValue:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **fields}


def test_simple_message_then_it_is_one_chat_message() -> None:
    parsed = parse("hello", temperature=0.5, top_k=3, stop_sequences=["END"])
    prompt = parsed.prompt
    assert prompt.messages == ({"role": "user", "content": "hello"},)
    assert (prompt.max_tokens, prompt.stop, prompt.client) == (9, ("END",), "me")
    assert prompt.sampling.model_fields_set == {"temperature", "top_k"}
    assert not prompt.enable_thinking
    assert not parsed.is_stream


def test_system_blocks_then_they_are_one_system_message() -> None:
    blocks: JsonValue = [
        {"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}},
        text("be kind"),
    ]
    first = parse("hello", system=blocks).prompt.messages[0]
    assert first == {"role": "system", "content": "be brief\nbe kind"}


def test_conversation_with_tools_then_every_block_finds_its_place() -> None:
    messages = parse(
        [
            say("user", text("look"), text("twice")),
            say(
                "assistant",
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                text("I look"),
                use("t1", at=1),
                use("t2"),
            ),
            say("user", result("t2", [text("a"), text("b")])),
            say("user", result("t1", "gone", is_error=True), text("go on")),
        ]
    ).prompt.messages
    assert messages[0] == {"role": "user", "content": "look\ntwice"}
    assert messages[1]["reasoning_content"] == "hm"
    assert messages[1]["content"] == "I look"
    calls = messages[1]["tool_calls"]
    assert isinstance(calls, list)
    assert [call["id"] for call in calls] == ["t1", "t2"]  # type: ignore[index,call-overload]
    assert json.loads(calls[0]["function"]["arguments"]) == {"at": 1}  # type: ignore[index,call-overload,arg-type]
    assert messages[2:] == (
        {"role": "tool", "tool_call_id": "t2", "content": "a\nb"},
        {"role": "tool", "tool_call_id": "t1", "content": "Error: gone"},
        {"role": "user", "content": "go on"},
    )


def test_failed_tool_without_a_word_then_the_failure_is_still_told() -> None:
    messages = parse(
        [
            say("user", text()),
            say("assistant", use()),
            say("user", result(content=[], is_error=True)),
        ]
    ).prompt.messages
    assert messages[2]["content"] == "Error: "


def test_blocks_and_fields_without_effect_then_they_are_named() -> None:
    parsed = parse(
        [
            say("user", text()),
            say("assistant", {"type": "redacted_thinking", "data": "x"}, text()),
            say("user", text()),
        ],
        max_tokens=5000,
        thinking={"type": "enabled", "budget_tokens": 2000},
        output_config={"effort": "low"},
        context_management={"edits": []},
    )
    assert parsed.ignored == (
        "thinking.budget_tokens",
        "output_config.effort",
        "context_management",
        "messages[1].content[0] (redacted_thinking)",
    )


@pytest.mark.parametrize(
    ("thinking", "thinks"),
    [
        (None, False),
        ({"type": "disabled"}, False),
        ({"type": "adaptive"}, True),
        ({"type": "enabled", "budget_tokens": 1024}, True),
    ],
)
def test_thinking_then_the_template_is_asked_for_it(thinking: JsonValue, *, thinks: bool) -> None:
    assert parse(max_tokens=2048, thinking=thinking).prompt.enable_thinking is thinks


@pytest.mark.parametrize(
    ("choice", "wanted", "is_parallel"),
    [
        (None, "auto", True),
        ({"type": "auto"}, "auto", True),
        ({"type": "any", "disable_parallel_tool_use": True}, "required", False),
        ({"type": "tool", "name": "look"}, "required", True),
        ({"type": "none"}, "none", True),
    ],
)
def test_tool_choice_then_the_engine_gets_its_own_word(
    choice: JsonValue, wanted: str, *, is_parallel: bool
) -> None:
    wait: JsonValue = {"name": "wait", "input_schema": {"type": "object"}, "type": "custom"}
    prompt = parse(tools=[LOOK, wait], tool_choice=choice).prompt
    assert (prompt.tool_choice, prompt.parallel_tool_calls) == (wanted, is_parallel)
    is_named = isinstance(choice, dict) and "name" in choice
    assert len(prompt.tools) == (1 if is_named else 2)


def test_output_format_then_it_becomes_the_engines_schema() -> None:
    wish: JsonValue = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert parse(output_config=wish).prompt.sampling.json_schema == '{"type": "object"}'


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (5, "messages"),
        ([], "messages"),
        ([5], "messages[0]"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "tool", "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([{"role": "user", "content": "x", "name": "n"}], "messages[0].name"),
        ([say("user", 5)], "messages[0].content[0]"),
        ([say("user", {"text": "x"})], "messages[0].content[0].type"),
        ([say("user", {"type": "document"})], "messages[0].content[0].type"),
        ([say("user", {"type": "text"})], "messages[0].content[0].text"),
        ([say("user", {"type": "text", "text": 5})], "messages[0].content[0].text"),
        ([say("user", use())], "messages[0].content[0].type"),
        ([say("user", {"type": "thinking", "thinking": "x"})], "messages[0].content[0].type"),
        ([say("assistant", text())], "messages"),
        ([say("user", text()), say("assistant", text())], "messages"),
        ([say("user", text()), say("assistant", result())], "messages[1].content[0].type"),
        ([say("user", result())], "messages[0].content[0].tool_use_id"),
        (
            [say("user", text()), say("assistant", use()), say("user", text())],
            "messages[1].content[0]",
        ),
        ([say("user", text()), say("assistant", use())], "messages[1].content[0]"),
        (
            [say("user", text()), say("assistant", use()), say("user", result(), result())],
            "messages[2].content[1].tool_use_id",
        ),
        (
            [say("user", text()), say("assistant", use()), say("user", text(), result())],
            "messages[2].content[1]",
        ),
        (
            [say("user", text()), say("assistant", use(), use()), say("user", result())],
            "messages[1].content[1].id",
        ),
        (
            [say("user", text()), say("assistant", use("t 1")), say("user", result("t 1"))],
            "messages[1].content[0].id",
        ),
        (
            [say("user", text()), say("assistant", use()), say("user", result(content=5))],
            "messages[2].content[0].content",
        ),
        (
            [say("user", {"type": "image", "source": {"type": "url", "url": "http://a"}})],
            "messages[0].content[0].source.type",
        ),
        (
            [
                say(
                    "user",
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "!"},
                    },
                )
            ],
            "messages[0].content[0].source",
        ),
        ([say("system", text("x"))], "messages"),
        ([say("user", text())] * 5000, "messages"),
        ([say("user", *[text()] * 2000)], "messages[0].content"),
    ],
)
def test_wrong_message_then_one_refusal_names_it(messages: JsonValue, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_message({"model": "m", "max_tokens": 9, "messages": messages}, "")
    assert (caught.value.status, caught.value.param) == (400, param)
    assert caught.value.message.endswith(".")
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("colour", "red", "colour"),
        ("max_tokens", 0, "max_tokens"),
        ("max_tokens", "9", "max_tokens"),
        ("max_tokens", 2**31, "max_tokens"),
        ("temperature", 1.5, "temperature"),
        ("top_p", 0, "top_p"),
        ("top_k", -1, "top_k"),
        ("stop_sequences", [""], "stop_sequences[0]"),
        ("stop_sequences", ["x"] * 65, "stop_sequences"),
        ("stop_sequences", "x", "stop_sequences"),
        ("stream", 1, "stream"),
        ("system", 5, "system"),
        ("system", [{"type": "image"}], "system[0].type"),
        ("thinking", {"type": "enabled"}, "thinking.budget_tokens"),
        ("thinking", {"type": "enabled", "budget_tokens": 10}, "thinking.budget_tokens"),
        ("thinking", {"type": "enabled", "budget_tokens": 2000}, "thinking.budget_tokens"),
        ("thinking", {"type": "deep"}, "thinking.type"),
        ("metadata", {"user_id": 5}, "metadata.user_id"),
        ("tools", [5], "tools[0]"),
        ("tools", [{"name": "a"}], "tools[0].input_schema"),
        ("tools", [{"name": "a b", "input_schema": {}}], "tools[0].name"),
        ("tools", [{"type": "web_search_20250305", "name": "web_search"}], "tools[0].type"),
        ("tools", [LOOK, LOOK], "tools[1].name"),
        ("tool_choice", {"type": "any"}, "tool_choice"),
        ("tool_choice", {"type": "tool", "name": "look"}, "tool_choice.name"),
        ("tool_choice", {"type": "tool"}, "tool_choice.name"),
        ("tool_choice", "auto", "tool_choice"),
        ("output_config", {"format": {"type": "xml"}}, "output_config.format.type"),
        ("container", "c", "container"),
        ("mcp_servers", [{}], "mcp_servers"),
    ],
)
def test_wrong_field_then_one_refusal_names_it(field: str, value: JsonValue, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse(**{field: value})
    assert (caught.value.status, caught.value.param) == (400, param)


def test_count_then_fields_of_an_answer_are_refused() -> None:
    body: dict[str, JsonValue] = {"model": "m", "messages": [say("user", text())]}
    assert parse_count(body, "").messages == ({"role": "user", "content": "hi"},)
    with pytest.raises(ApiError) as caught:
        parse_count({**body, "max_tokens": 5}, "")
    assert caught.value.param == "max_tokens"


@pytest.mark.parametrize("version", [None, "2023-06-01", "2026-10-21", "2999-01-01"])
def test_version_given_a_date_then_it_passes(version: str | None) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["", "latest", "2023-01-01", "2023-6-1", "\uff12023-06-01"])
def test_version_given_anything_else_then_it_is_refused(version: str) -> None:
    with pytest.raises(ApiError, match="anthropic-version"):
        check_version(version)


def test_user_then_anything_but_a_string_is_none() -> None:
    assert user_of({"metadata": {"user_id": "u"}}) == "u"
    assert user_of({"metadata": [5]}) is None
    assert user_of("x") is None
