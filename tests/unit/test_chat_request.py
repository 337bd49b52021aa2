import json

import pytest

from luci_tui.chat.answer import truth_line
from luci_tui.chat.model import ModelSpec, Turn
from luci_tui.chat.request import build_request
from luci_tui.engine.load_spec import LoadSpec
from tests.support.scripted_engine import MODEL_INFO, done

TURNS = [Turn("user", "one"), Turn("assistant", "1"), Turn("user", "two é")]
LOAD = LoadSpec(model_path="m.gguf")


def test_chat_becomes_messages_with_the_system_message_first() -> None:
    model = ModelSpec("m", LOAD, system="be brief", max_tokens=7)
    request = build_request(model, MODEL_INFO, TURNS, enable_thinking=False)
    assert request.prompt is None
    assert (request.max_tokens, request.enable_thinking) == (7, False)
    assert json.loads(request.messages_json or "") == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two é"},
    ]


def test_command_model_gets_the_last_turn_alone() -> None:
    request = build_request(ModelSpec("m", LOAD, answers_with_command=True), MODEL_INFO, TURNS)
    assert json.loads(request.messages_json or "") == [{"role": "user", "content": "two é"}]


@pytest.mark.parametrize("has_template", [True, False])
def test_raw_request_or_model_without_template_gets_plain_text(has_template: bool) -> None:
    info = MODEL_INFO.model_copy(update={"has_chat_template": has_template})
    model = ModelSpec("m", LOAD, system="be brief")
    request = build_request(model, info, TURNS, raw=has_template)
    assert request.prompt == "be brief\n\ntwo é"
    assert request.messages_json is None


def test_chat_that_does_not_end_with_the_person_is_misuse() -> None:
    with pytest.raises(ValueError, match="last turn"):
        build_request(ModelSpec("m", LOAD), MODEL_INFO, TURNS[:2])


def test_truth_line_says_context_speed_and_what_was_dropped() -> None:
    assert truth_line(done()) == "context 30/512 · 50.0 tok/s · TTFT 12 ms"
    assert "3 tokens dropped" in truth_line(done(dropped_tokens=3))
