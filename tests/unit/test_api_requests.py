"""What a chat request becomes before an engine sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import Request

from luci_tui.engine import frames
from luci_tui.host.openai.answers import chat_command, merge_sampling
from luci_tui.host.openai.chat_request import prompt_of, read_chat
from luci_tui.host.openai.embeddings import shortened
from luci_tui.host.openai.security import client_of
from tests.support.api_server import Entry

HI = {"role": "user", "content": "hi"}


def request(**body: object) -> Request:
    content = {"model": "m", "messages": [HI], **body}
    scope = {"type": "http", "headers": [], "luci.json": content, "luci.client": "key@address"}
    return Request(scope)


def command(entry: Entry | None = None, **body: object) -> frames.Generate:
    made = request(**body)
    return chat_command(prompt_of(made, read_chat(made, 4)), entry or Entry("m"))


def roles_and_texts(made: frames.Generate) -> list[tuple[str, str]]:
    messages: list[dict[str, Any]] = json.loads(made.messages_json or "")
    return [(message["role"], message["content"]) for message in messages]


def test_request_given_nothing_but_messages_then_the_models_own_sampling_holds() -> None:
    own = frames.SamplingParams(temperature=0.3, top_k=7)
    made = command(Entry("m", sampling=own))
    assert made.sampling == own
    assert (made.max_tokens, made.stop, made.enable_thinking) == (-1, (), True)


def test_request_given_options_then_they_replace_the_models_own() -> None:
    own = frames.SamplingParams(temperature=0.3, top_k=7)
    made = command(Entry("m", sampling=own), temperature=1, seed=5, top_k=None)
    assert made.sampling == frames.SamplingParams(temperature=1, top_k=7, seed=5)


@pytest.mark.parametrize(
    ("seed", "used"), [(0, 0), (2**32 - 2, 2**32 - 2), (2**32 - 1, 0), (-1, 2**32 - 2)]
)
def test_request_given_a_seed_of_64_bits_then_it_is_folded(seed: int, used: int) -> None:
    assert command(seed=seed).sampling.seed == used


def test_request_given_top_p_zero_then_next_to_nothing_is_left() -> None:
    assert 0 < command(top_p=0).sampling.top_p < 0.001


@pytest.mark.parametrize(
    ("limits", "used"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 3}, 3),
        ({"max_tokens": None}, -1),
    ],
)
def test_request_given_limits_then_the_smaller_counts(limits: dict[str, Any], used: int) -> None:
    assert command(**limits).max_tokens == used


def test_request_given_leading_system_messages_then_they_are_one() -> None:
    made = command(
        messages=[
            {"role": "system", "content": "one"},
            {"role": "developer", "content": [{"type": "text", "text": "two"}]},
            HI,
            {"role": "developer", "content": "three"},
        ]
    )
    assert roles_and_texts(made) == [
        ("system", "one\n\ntwo"),
        ("user", "hi"),
        ("system", "three"),
    ]


def test_request_given_no_system_message_then_the_models_own_leads() -> None:
    entry = Entry("m", system="be brief")
    assert roles_and_texts(command(entry)) == [("system", "be brief"), ("user", "hi")]
    asked = [{"role": "system", "content": "be long"}, HI]
    assert roles_and_texts(command(entry, messages=asked))[0] == ("system", "be long")


def test_request_given_an_answer_with_tool_calls_then_they_go_back_whole() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    made = command(
        messages=[
            HI,
            {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
            {"role": "tool", "tool_call_id": "call_1", "content": "done"},
        ]
    )
    messages: list[dict[str, Any]] = json.loads(made.messages_json or "")
    assert messages[1]["tool_calls"] == [call]
    assert messages[2]["tool_call_id"] == "call_1"


@pytest.mark.parametrize(
    ("choice", "names", "used"),
    [
        (None, ["f", "g"], "auto"),
        ("none", ["f", "g"], "none"),
        ("required", ["f", "g"], "required"),
        ({"type": "function", "function": {"name": "g"}}, ["g"], "required"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            },
            ["f"],
            "auto",
        ),
    ],
)
def test_request_given_a_tool_choice_then_only_those_tools_are_there(
    choice: object, names: list[str], used: str
) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
    made = command(tools=tools, tool_choice=choice)
    offered: list[dict[str, Any]] = json.loads(made.tools_json)
    assert [tool["function"]["name"] for tool in offered] == names
    assert offered[0]["function"]["parameters"]["type"] == "object"
    assert made.tool_choice == used


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        (None, ""),
        ({"type": "text"}, ""),
        ({"type": "json_object"}, '{"type":"object"}'),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}},
            '{"type": "array"}',
        ),
    ],
)
def test_request_given_a_format_then_the_engine_gets_its_schema(
    wanted: object, schema: str
) -> None:
    assert command(response_format=wanted).sampling.json_schema == schema


def test_request_given_a_bias_then_keys_are_tokens() -> None:
    assert command(logit_bias={"5": -100, "7": 0.5}).sampling.logit_bias == ((5, -100), (7, 0.5))


def test_merge_given_a_default_that_was_named_then_it_counts() -> None:
    own = frames.SamplingParams(temperature=0)
    default = frames.SamplingParams().temperature
    assert merge_sampling(own, frames.SamplingParams(temperature=default)).temperature == default


def test_client_given_a_user_then_is_another_one() -> None:
    assert client_of(request()) == "key@address"
    ada, bob = (prompt_of(made, read_chat(made, 4)).client for made in map(with_user, ("a", "b")))
    assert ada.startswith("key@address/")
    assert ada != bob


def with_user(user: str) -> Request:
    return request(user=user)


def test_shortened_then_the_length_is_one_again() -> None:
    assert shortened((3.0, 4.0, 12.0), 2) == pytest.approx((0.6, 0.8))
    assert shortened((3.0, 4.0), None) == (3.0, 4.0)
    assert shortened((0.0, 0.0, 1.0), 2) == (0.0, 0.0)
