"""Answers with a form through the `openai` client: schemas, tool calls, thoughts."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.support.api_models import CALL, TOOL
from tests.support.openai_use import GREEDY, HI, chunks

pytestmark = [pytest.mark.native, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_given_a_strict_schema_then_the_answer_fits(
    client: openai.AsyncOpenAI, *, stream: bool
) -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 0, "maximum": 9},
            "b": {"type": "boolean"},
        },
        "required": ["n", "b"],
        "additionalProperties": False,
    }
    wanted: Any = {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": schema},
    }
    options: Any = {"response_format": wanted, "temperature": 1, "seed": 3, "max_tokens": 300}
    created: Any = await client.chat.completions.create(
        model="tiny", messages=HI, stream=stream, **options
    )
    text = (
        "".join(c.choices[0].delta.content or "" for c in await chunks(created))
        if stream
        else created.choices[0].message.content
    )
    answer = json.loads(text)
    assert set(answer) == {"n", "b"}
    assert answer["n"] in range(10)


async def test_chat_given_json_object_then_the_answer_begins_one(
    client: openai.AsyncOpenAI,
) -> None:
    reply = await client.chat.completions.create(
        model="tiny",
        messages=HI,
        response_format={"type": "json_object"},
        temperature=0,
        max_tokens=8,
    )
    assert (reply.choices[0].message.content or "").lstrip().startswith("{")


async def test_chat_given_a_broken_schema_then_the_field_is_named(
    client: openai.AsyncOpenAI,
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(
            model="tiny",
            messages=HI,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "nonsense"}},
            },
        )
    assert (caught.value.code, caught.value.param) == ("invalid_schema", "response_format")


async def test_chat_given_a_tool_call_then_it_is_apart_from_the_text(
    client: openai.AsyncOpenAI,
) -> None:
    reply = await client.chat.completions.create(
        model="tools",
        messages=HI,
        tools=[TOOL],
        tool_choice="auto",
        parallel_tool_calls=False,
        max_tokens=400,
        extra_body={"grammar": CALL},
    )
    choice = reply.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert (choice.message.content or "").strip() == "in the"
    assert choice.message.tool_calls
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "count"
    assert json.loads(call.function.arguments)["n"] in range(10)
    # The answer goes back as it came, with what the tool said.
    messages: Any = [
        *HI,
        choice.message.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "content": "3"},
    ]
    after = await client.chat.completions.create(
        model="tools", messages=messages, tools=[TOOL], tool_choice="none", **GREEDY
    )
    assert after.choices[0].message.tool_calls is None
    assert after.usage
    assert reply.usage
    assert after.usage.prompt_tokens > reply.usage.prompt_tokens


async def test_stream_given_a_tool_call_then_arguments_come_in_pieces(
    client: openai.AsyncOpenAI,
) -> None:
    stream = await client.chat.completions.create(
        model="tools",
        messages=HI,
        tools=[TOOL],
        stream=True,
        max_tokens=400,
        extra_body={"grammar": CALL},
    )
    got = await chunks(stream)
    calls = [call for chunk in got for call in chunk.choices[0].delta.tool_calls or []]
    assert calls[0].id
    assert [call.id for call in calls[1:] if call.id] == []
    assert "".join(c.function.name or "" for c in calls if c.function) == "count"
    arguments = "".join(c.function.arguments or "" for c in calls if c.function)
    assert json.loads(arguments)["n"] in range(10)
    assert got[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "function": {"name": "count"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "required",
                "tools": [{"type": "function", "function": {"name": "count"}}],
            },
        },
    ],
)
async def test_chat_given_a_tool_that_must_be_called_then_the_model_cannot_end_without(
    client: openai.AsyncOpenAI, choice: Any
) -> None:
    other = {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}
    tools: Any = [TOOL] if choice == "required" else [TOOL, other]
    reply = await client.chat.completions.create(
        model="tools",
        messages=HI,
        tools=tools,
        tool_choice=choice,
        max_tokens=40,
        logit_bias={"2": 100},
    )
    # However likely its end-of-text token is.
    assert reply.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_given_a_thinking_model_then_thoughts_are_apart(
    client: openai.AsyncOpenAI, *, stream: bool
) -> None:
    options: Any = {
        "max_tokens": 60,
        "reasoning_effort": "high",
        "extra_body": {"grammar": 'root ::= "aaa" "</think>" "bbb"'},
    }
    created: Any = await client.chat.completions.create(
        model="thinker", messages=HI, stream=stream, **options
    )
    parts = (
        [chunk.choices[0].delta for chunk in await chunks(created)]
        if stream
        else [created.choices[0].message]
    )
    assert (
        "".join(getattr(part, "reasoning_content", None) or "" for part in parts).strip() == "aaa"
    )
    assert "".join(part.content or "" for part in parts).strip() == "bbb"
