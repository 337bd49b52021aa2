"""Templates, tools, thinking, and markers that a user typed."""

import json
from pathlib import Path

import pytest

from luci_tui import _native
from tests.support import core

pytestmark = pytest.mark.native

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "count",
            "description": "count lines",
            "parameters": {
                "type": "object",
                "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
                "required": ["n"],
            },
        },
    }
]


TOOL_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n"
    "{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] %}{{ m['content'] }}{% endif %}"
    "{% if m['tool_calls'] %}{% for call in m['tool_calls'] %}"
    "<tool_call>\n{\"name\": \"{{ call['function']['name'] }}\", "
    "\"arguments\": {{ call['function']['arguments'] | tojson }}}\n</tool_call>"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def engine(llama: Path) -> _native.Engine:
    return core.load(llama)


def _chat(messages: list[dict[str, object]], **options: object) -> _native.Request:
    return core.request(messages_json=json.dumps(messages), **options)


def test_messages_then_they_go_through_the_models_template(engine: _native.Engine) -> None:
    outcome = core.answer(engine, _chat([{"role": "user", "content": "list files"}]))
    rendered = "<|im_start|>user\nlist files<|im_end|>\n<|im_start|>assistant\n"
    assert outcome.done.prompt_tokens == len(engine.tokenize(rendered, True, True))


def test_markers_in_a_user_message_then_they_stay_text(engine: _native.Engine) -> None:
    marker = "<|im_end|>"
    plain = core.answer(engine, _chat([{"role": "user", "content": "ab"}])).done.prompt_tokens
    typed = core.answer(engine, _chat([{"role": "user", "content": f"a{marker}b"}]))
    # As a control token the marker would be one token more; as text it is one for each byte or so.
    assert typed.done.prompt_tokens >= plain + len(marker) - 2


def test_prompt_text_then_no_control_token_is_read_from_it(engine: _native.Engine) -> None:
    outcome = core.answer(engine, core.request("<|im_start|>"))
    assert outcome.done.prompt_tokens > 5


@pytest.mark.parametrize(
    "messages", ["{", "{}", '[{"content": "no role"}]', '[{"role": "user", "content": 5}]']
)
def test_messages_that_are_none_then_one_sentence(engine: _native.Engine, messages: str) -> None:
    with pytest.raises(_native.RequestError, match=r"^invalid_request: .+\.$"):
        engine.submit(core.request(messages_json=messages))


def test_tool_call_in_the_answer_then_it_arrives_apart_from_the_text(llama: Path) -> None:
    # The grammar stands for a model that knows tools: random weights would never begin a call.
    grammar = (
        'root ::= "in the " "<tool_call>\\n{\\"name\\": \\"count\\", '
        '\\"arguments\\": {\\"n\\": " [0-9] "}}\\n</tool_call>"'
    )
    outcome = core.answer(
        core.load(llama, chat_template=TOOL_TEMPLATE),
        _chat(
            [{"role": "user", "content": "count"}],
            tools_json=json.dumps(TOOLS),
            max_tokens=400,
            delivery_ms=0,
            sampling={"ignore_eos": False, "grammar": grammar},
        ),
    )
    assert outcome.done.finish_reason == "tool_calls"
    assert outcome.text.strip() == "in the"
    assert [call.name for call in outcome.tool_calls if call.name] == ["count"]
    assert outcome.tool_calls[0].id
    arguments = "".join(call.arguments for call in outcome.tool_calls)
    assert 0 <= json.loads(arguments)["n"] <= 9


def test_required_tool_then_the_templates_grammar_is_in_force(llama: Path) -> None:
    engine = core.load(llama, chat_template=TOOL_TEMPLATE)
    made = _chat(
        [{"role": "user", "content": "count"}],
        tools_json=json.dumps(TOOLS),
        tool_choice="required",
        max_tokens=300,
        sampling={"ignore_eos": False, "temperature": 1.0, "seed": 2},
    )
    # Without a finished call the model may not end, however likely its end-of-text token is.
    made.sampling = core.biased(made.sampling, [(2, 1000.0)])
    assert core.answer(engine, made).done.finish_reason == "length"


def test_thinking_then_it_is_apart_from_the_content(llama: Path) -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['role'] == 'assistant' and m['reasoning_content'] %}"
        "<think>{{ m['reasoning_content'] }}</think>{% endif %}"
        "{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
    )
    engine = core.load(llama, chat_template=template)
    grammar = 'root ::= "aaa" "</think>" "bbb"'
    outcome = core.answer(
        engine,
        _chat(
            [{"role": "user", "content": "x"}],
            max_tokens=60,
            sampling={"ignore_eos": False, "grammar": grammar},
        ),
    )
    assert outcome.reasoning.strip() == "aaa"
    assert outcome.text.strip() == "bbb"


def test_template_that_does_not_parse_then_the_load_says_so(llama: Path) -> None:
    with pytest.raises(_native.ModelLoadError, match="chat template"):
        core.load(llama, chat_template="{% for %}")


@pytest.mark.parametrize("schema", ["{not json", '{"type": "nonsense"}'])
def test_broken_schema_in_a_chat_then_the_schema_is_named(
    engine: _native.Engine, schema: str
) -> None:
    made = _chat([{"role": "user", "content": "x"}], sampling={"json_schema": schema})
    with pytest.raises(_native.RequestError, match=r"^invalid_schema: The JSON schema"):
        engine.submit(made)


def test_schema_in_a_chat_then_the_answer_fits(engine: _native.Engine) -> None:
    schema = {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2}
    outcome = core.answer(
        engine,
        _chat(
            [{"role": "user", "content": "x"}],
            max_tokens=100,
            sampling={
                "json_schema": json.dumps(schema),
                "ignore_eos": False,
                "temperature": 0.5,
                "seed": 1,
            },
        ),
    )
    assert len(json.loads(outcome.text)) == 2
