from __future__ import annotations

import pytest
from pydantic import JsonValue

from luci_tui.chat.parameters import (
    Layers,
    Source,
    chat_layer,
    parameters,
    read_words,
    resolved,
    value_words,
    with_value,
)
from luci_tui.chat.records import ChatPolicy, Parameters
from luci_tui.engine.frames import SamplingParams
from luci_tui.errors import ConfigError


def value_of(layers: Layers, name: str) -> tuple[JsonValue, str]:
    found = next(one for one in resolved(layers) if one.parameter.name == name)
    return found.value, found.source_words


def test_values_given_layers_then_the_strongest_counts_and_is_named() -> None:
    layers = Layers(
        chat={"temperature": 0.1},
        model={"temperature": 0.2, "top_k": 7},
        described={"temperature": 0.3, "top_k": 8, "top_p": 0.5},
        described_in="models.toml",
    )
    assert value_of(layers, "temperature") == (0.1, "chat")
    assert value_of(layers, "top_k") == (7, "model")
    assert value_of(layers, "top_p") == (0.5, "models.toml")
    assert value_of(layers, "min_p") == (0.05, "default")
    first = next(one for one in resolved(layers) if one.parameter.name == "temperature")
    assert first.source is Source.CHAT
    assert first.others == (("model", 0.2), ("models.toml", 0.3), ("default", 0.8))


def test_every_parameter_says_what_it_may_be_and_what_it_means() -> None:
    for one in parameters():
        assert one.type_words
        assert one.meaning.endswith(".")
    named = {one.name for one in parameters()}
    assert set(SamplingParams.model_fields) - named == {"logit_bias", "n_logprobs"}


@pytest.mark.parametrize(
    ("name", "words", "value"),
    [
        ("temperature", " 0.4 ", 0.4),
        ("top_k", "40", 40),
        ("policy", "refuse", "refuse"),
        ("enable_thinking", "false", False),
        ("reserve_tokens", "5", 5),
        ("system", " You are brief.\nReally. ", " You are brief.\nReally. "),
    ],
)
def test_words_that_fit_are_read(name: str, words: str, value: JsonValue) -> None:
    assert read_words(name, words) == value


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("temperature", "warm", 'temperature cannot be "warm". It wants: number, at least 0.'),
        ("temperature", "1e999", 'temperature cannot be "1e999"'),
        ("temperature", "nan", 'temperature cannot be "nan"'),
        ("top_k", "4.5", "It wants: whole number, at least 0."),
        ("mirostat", "3", "It wants: one of 0, 1, 2."),
        ("max_tokens", "-2", "It wants: whole number, -1 to 2147483647."),
        ("warmth", "1", 'There is no parameter "warmth". There are: system, temperature'),
    ],
)
def test_words_that_do_not_fit_are_refused_in_a_sentence(
    name: str, words: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_words(name, words)
    assert sentence in caught.value.message


def test_chat_given_a_value_and_then_none_then_it_has_what_it_had() -> None:
    kept = Parameters(max_tokens=9)
    changed = with_value(with_value(kept, "temperature", 0.5), "policy", "refuse")
    assert changed.sampling_changes == {"temperature": 0.5}
    assert changed.policy is ChatPolicy.REFUSE
    assert chat_layer("Be brief.", changed) == {
        "system": "Be brief.",
        "temperature": 0.5,
        "max_tokens": 9,
        "policy": "refuse",
    }
    assert with_value(with_value(changed, "temperature", None), "policy", None) == kept


def test_chat_with_a_whole_chain_then_one_field_can_be_changed_and_taken_back() -> None:
    kept = Parameters(sampling=SamplingParams(temperature=0.1, top_k=3))
    assert chat_layer("", kept)["top_k"] == 3
    changed = with_value(kept, "top_k", None)
    assert changed.sampling is None
    assert "top_k" not in changed.sampling_changes
    assert changed.sampling_changes["temperature"] == 0.1


@pytest.mark.parametrize(
    ("value", "words"), [(None, "none"), (True, "true"), (0.7, "0.7"), (40, "40"), ("a\n b", "a b")]
)
def test_values_are_written_on_one_line(value: JsonValue, words: str) -> None:
    assert value_words(value) == words
