"""The Responses and Messages APIs over a worker process with a real, tiny model.

The weights are random. What a model that was trained for tools or thinking would say is said by a
grammar in the model's own sampling; templates, parsing, limits and counts are the real ones.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic import BaseModel

from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.process import WorkerEngine
from tests.support.api_server import KEY, Entry, Lease, Shelf, serving
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.event_order import MessagesOrder, ResponsesOrder
from tests.support.tiny_vocab import CHATML_TEMPLATE

pytestmark = [pytest.mark.native, pytest.mark.asyncio(loop_scope="module")]

TEMPLATE = (
    "{% if tools %}<|im_start|>system\n"
    "{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and m['reasoning_content'] %}"
    "<think>{{ m['reasoning_content'] }}</think>{% endif %}"
    "{% if m['content'] %}{{ m['content'] }}{% endif %}"
    "{% if m['tool_calls'] %}{% for call in m['tool_calls'] %}"
    "<tool_call>\n{\"name\": \"{{ call['function']['name'] }}\", "
    "\"arguments\": {{ call['function']['arguments'] | tojson }}}\n</tool_call>"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking %}<think>\n{% else %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
GRAMMARS = {
    "caller": (
        'root ::= "let me see " "<tool_call>\\n{\\"name\\": \\"count\\", '
        '\\"arguments\\": {\\"n\\": " [0-9] "}}\\n</tool_call>"'
    ),
    "thinker": 'root ::= "so it is" "</think>" "yes"',
    "plain": 'root ::= "yes"',
}
PARAMETERS: Any = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
HI: Any = [{"role": "user", "content": "how many are they"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    folder = tmp_path_factory.mktemp("real")
    engine = WorkerEngine(folder / "worker.log")
    shelf = Shelf()
    spec = LoadSpec(
        model_path=str(
            write_arch_model(TinyArch.LLAMA, folder / "tiny.gguf", chat_template=CHATML_TEMPLATE)
        ),
        n_ctx=1024,
        n_threads=1,
        n_slots=2,
        chat_template=TEMPLATE,
    )
    info = await shelf.add("tiny", engine, spec=spec)
    for name, grammar in GRAMMARS.items():
        sampling = frames.SamplingParams(temperature=0.0, grammar=grammar)
        shelf.leases[name] = Lease(Entry(name, sampling=sampling), info, engine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUCI_HOME", str(folder / "home"))
        async with serving(shelf) as server:
            yield server.url
    await engine.close()


@pytest_asyncio.fixture(loop_scope="module")
async def openai(url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=60) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def anthropic(url: str) -> AsyncIterator[AsyncAnthropic]:
    base_url = url.removesuffix("/v1")
    async with AsyncAnthropic(base_url=base_url, api_key=KEY, max_retries=0, timeout=60) as client:
        yield client


async def test_responses_given_a_tool_then_call_and_output_make_a_conversation(
    openai: AsyncOpenAI,
) -> None:
    tool: Any = {"type": "function", "name": "count", "parameters": PARAMETERS, "strict": True}
    order = ResponsesOrder()
    stream = await openai.responses.create(
        model="caller", input=HI, tools=[tool], reasoning={"effort": "none"}, stream=True
    )
    async for event in stream:
        order.feed(event.model_dump(by_alias=True, warnings=False))
    response = order.finish()
    message, call = response["output"]
    assert message["content"][0]["text"].strip() == "let me see"
    assert call["name"] == "count"
    assert 0 <= json.loads(call["arguments"])["n"] <= 9
    answer: Any = {"type": "function_call_output", "call_id": call["call_id"], "output": "5"}
    second = await openai.responses.create(
        model="plain",
        input=[answer],
        previous_response_id=response["id"],
        tools=[tool],
        reasoning={"effort": "none"},
    )
    assert second.output_text.strip() == "yes"
    assert second.usage is not None
    assert second.usage.input_tokens > response["usage"]["input_tokens"]


async def test_messages_given_a_tool_then_use_and_result_make_a_conversation(
    anthropic: AsyncAnthropic,
) -> None:
    tool: Any = {"name": "count", "input_schema": PARAMETERS}
    order = MessagesOrder()
    stream = await anthropic.messages.create(
        model="caller", max_tokens=200, messages=HI, tools=[tool], stream=True
    )
    async for event in stream:
        order.feed(event.model_dump(exclude_unset=True))
    message = order.finish()
    text, use = message["content"]
    assert text["text"].strip() == "let me see"
    assert 0 <= use["input"]["n"] <= 9
    assert message["stop_reason"] == "tool_use"
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "5"}
    told: Any = [
        *HI,
        {"role": "assistant", "content": message["content"]},
        {"role": "user", "content": [result]},
    ]
    second = await anthropic.messages.create(
        model="plain", max_tokens=50, messages=told, tools=[tool]
    )
    assert second.content[0].type == "text"
    assert second.content[0].text.strip() == "yes"


async def test_responses_given_a_strict_schema_then_the_text_follows_it(
    openai: AsyncOpenAI,
) -> None:
    class Colour(BaseModel):
        is_warm: bool

    response = await openai.responses.parse(
        model="tiny",
        input=HI,
        text_format=Colour,
        max_output_tokens=200,
        reasoning={"effort": "none"},
    )
    assert isinstance(response.output_parsed, Colour)


async def test_messages_given_a_schema_then_the_text_follows_it(anthropic: AsyncAnthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"is_warm": {"type": "boolean"}},
        "required": ["is_warm"],
        "additionalProperties": False,
    }
    message = await anthropic.messages.create(
        model="tiny",
        max_tokens=200,
        messages=HI,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert message.content[0].type == "text"
    assert set(json.loads(message.content[0].text)) == {"is_warm"}


async def test_responses_given_thinking_then_it_is_an_item_of_its_own(openai: AsyncOpenAI) -> None:
    order = ResponsesOrder()
    stream = await openai.responses.create(
        model="thinker", input=HI, reasoning={"effort": "high"}, stream=True
    )
    async for event in stream:
        order.feed(event.model_dump(by_alias=True, warnings=False))
    response = order.finish()
    reasoning, message = response["output"]
    assert reasoning["content"][0]["text"].strip() == "so it is"
    assert message["content"][0]["text"].strip() == "yes"
    thinking = response["usage"]["output_tokens_details"]["reasoning_tokens"]
    assert 0 < thinking < response["usage"]["output_tokens"]


async def test_messages_given_thinking_then_it_is_a_block_of_its_own(
    anthropic: AsyncAnthropic,
) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    message = await anthropic.messages.create(
        model="thinker", max_tokens=2000, messages=HI, thinking=thinking
    )
    first, second = message.content
    assert first.type == "thinking"
    assert first.thinking.strip() == "so it is"
    assert second.type == "text"
    assert second.text.strip() == "yes"


async def test_messages_without_thinking_then_the_template_is_told(
    anthropic: AsyncAnthropic,
) -> None:
    message = await anthropic.messages.create(model="plain", max_tokens=50, messages=HI)
    assert [block.type for block in message.content] == ["text"]


async def test_count_tokens_then_it_is_what_the_answer_has(anthropic: AsyncAnthropic) -> None:
    tool: Any = {"name": "count", "input_schema": PARAMETERS}
    said: Any = {"model": "plain", "messages": HI, "system": "be brief", "tools": [tool]}
    counted = await anthropic.messages.count_tokens(**said)
    message = await anthropic.messages.create(max_tokens=5, **said)
    usage = message.usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


async def test_count_tokens_given_more_than_the_context_then_it_still_counts(
    anthropic: AsyncAnthropic,
) -> None:
    def told(n_words: int) -> Any:
        return [{"role": "user", "content": "7" * n_words}]

    count = anthropic.messages.count_tokens
    short = await count(model="plain", messages=told(100))
    long = await count(model="plain", messages=told(3100))
    assert long.input_tokens - short.input_tokens == 3000


async def test_input_tokens_then_responses_count_alike(openai: AsyncOpenAI) -> None:
    counted = await openai.responses.input_tokens.count(model="plain", input="how many are they")
    response = await openai.responses.create(model="thinker", input="how many are they")
    assert response.usage is not None
    assert counted.input_tokens == response.usage.input_tokens


async def test_responses_given_truncation_auto_then_the_oldest_items_go(
    openai: AsyncOpenAI,
) -> None:
    items: Any = [{"role": "user", "content": f"{number} " + "7" * 90} for number in range(30)]
    response = await openai.responses.create(
        model="plain", input=items, truncation="auto", reasoning={"effort": "none"}
    )
    assert response.output_text.strip() == "yes"
    assert response.metadata is not None
    assert response.metadata["luci_left_out"].endswith("of 30 items")


async def test_stop_sequence_then_the_engine_stops_there(anthropic: AsyncAnthropic) -> None:
    message = await anthropic.messages.create(
        model="plain", max_tokens=50, messages=HI, stop_sequences=["es"]
    )
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "es")
    assert message.content[0].type == "text"
    assert message.content[0].text.strip() == "y"
