"""The parameters of a chat as a person sees them: value, source, meaning, and typed words read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Final

from pydantic import BaseModel, JsonValue

from luci_tui.chat.records import Parameters
from luci_tui.engine.frames import SamplingParams
from luci_tui.errors import ConfigError
from luci_tui.setting_sources import value_from_words
from luci_tui.settings_schema import field_words, plain_value

SYSTEM: Final = "system"
_SAMPLING: Final = (
    *("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "repeat_last_n", "seed"),
    *("frequency_penalty", "presence_penalty", "typical_p", "top_n_sigma"),
    *("xtc_probability", "xtc_threshold"),
    *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_last_n"),
    *("mirostat", "mirostat_tau", "mirostat_eta", "dynatemp_range", "dynatemp_exponent"),
    *("ignore_eos", "grammar", "json_schema"),
)
_OF_CHAT: Final = ("max_tokens", "enable_thinking", "policy", "reserve_tokens")
"""Kept for a chat and not for a model."""
_SHOWN: Final = (SYSTEM, *_SAMPLING[:7], *_OF_CHAT, *_SAMPLING[7:])
"""In the order in which a person looks for them."""
_MEANINGS: Final = {
    SYSTEM: "What the model is told before every request of the chat.",
    "temperature": "How freely words are chosen; 0 = always the likeliest one.",
    "top_k": "Only so many of the likeliest tokens are left to choose from; 0 = all.",
    "top_p": "Only the likeliest tokens that together reach this share; 1 = all.",
    "min_p": "Only tokens this likely, measured by the likeliest one; 0 = all.",
    "repeat_penalty": "Makes tokens of the near past less likely; 1 = off.",
    "repeat_last_n": "How many tokens count as the near past.",
    "seed": "The same seed gives the same answer again; none = another one each time.",
    "max_tokens": "Longest answer; -1 = until the model ends or the context is full.",
    "enable_thinking": "Whether a model that can think does so before it answers.",
    "policy": "What happens when the chat is longer than the context.",
    "reserve_tokens": "Context that is kept free for the answer; none = a quarter, at most 1,024.",
    "frequency_penalty": "Makes a token less likely with each time that it was used; 0 = off.",
    "presence_penalty": "Makes tokens that were used at all less likely; 0 = off.",
    "typical_p": "Only tokens that are about as surprising as usual; 1 = off.",
    "top_n_sigma": "Only tokens within so many deviations of the likeliest; negative = off.",
    "xtc_probability": "How often the likeliest tokens are left out on purpose; 0 = never.",
    "xtc_threshold": "From which likelihood on tokens count as the likeliest for that.",
    "dry_multiplier": "Makes going on with a repetition less likely; 0 = off.",
    "dry_base": "How much faster that grows with each repeated token.",
    "dry_allowed_length": "How long a repetition may be before it counts.",
    "dry_last_n": "In how many of the last tokens repetitions are looked for.",
    "mirostat": "Steers the surprise of the answer; 0 = off, 1 and 2 = its versions.",
    "mirostat_tau": "The surprise that mirostat aims at.",
    "mirostat_eta": "How quickly mirostat corrects.",
    "dynatemp_range": "How far the temperature may move by itself; 0 = off.",
    "dynatemp_exponent": "How strongly it follows the surprise.",
    "ignore_eos": "Whether the model is kept from ending its answer.",
    "grammar": "A grammar (GBNF) that the answer must follow; excludes json_schema.",
    "json_schema": "A JSON schema, as text, that the answer must follow.",
}


class Source(StrEnum):
    """Who says what a value is, the strongest first."""

    CHAT = "chat"
    MODEL = "model"
    """A person, in library.toml."""
    DESCRIBED = "described"
    """models.toml, or luci itself about its own model."""
    DEFAULT = "default"


@dataclass(frozen=True)
class Parameter:
    """What there is to know about one of them."""

    name: str
    type_words: str
    """Its type and bounds, for a person."""
    meaning: str
    default: JsonValue
    is_of_model: bool
    """It can be kept for a model, too."""


@dataclass(frozen=True)
class Layers:
    """What each source says, by name of the parameter."""

    chat: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    model: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    described: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    described_in: str = ""
    """What a person calls the source of `described`."""


@dataclass(frozen=True)
class Value:
    """One parameter as it counts."""

    parameter: Parameter
    value: JsonValue
    source: Source
    source_words: str
    others: tuple[tuple[str, JsonValue], ...]
    """(source, value) of all weaker sources that say something, the default included."""


@cache
def parameters() -> tuple[Parameter, ...]:
    """List all that a person can change, those that are changed most often first."""
    return tuple(_parameter(name) for name in _SHOWN)


def parameter(name: str) -> Parameter:
    """Return one of them.

    Raises:
        ConfigError: there is none of this name.
    """
    for one in parameters():
        if one.name == name:
            return one
    msg = f'There is no parameter "{name[:80]}". There are: {", ".join(_SHOWN)}.'
    raise ConfigError(msg, code="parameter")


def resolved(layers: Layers) -> tuple[Value, ...]:
    """Say of each parameter what counts and who says so."""
    return tuple(_resolve(one, layers) for one in parameters())


def read_words(name: str, words: str) -> JsonValue:
    """Read what a person typed for a parameter.

    Raises:
        ConfigError: there is no such parameter, or it cannot have this value.
    """
    what = parameter(name)
    if name == SYSTEM:
        return words
    model = _model(name)
    value = value_from_words(model, name, words.strip())
    try:
        checked = model.model_validate({name: value})
        read: object = getattr(checked, name)
        if isinstance(read, float) and not math.isfinite(read):
            msg = "no finite number"
            raise ValueError(msg)  # ValidationError is one, too
    except ValueError as error:
        msg = f'{name} cannot be "{words.strip()[:80]}". It wants: {what.type_words}.'
        raise ConfigError(msg, code="parameter") from error
    return checked.model_dump(mode="json")[name]


def chat_layer(system: str, kept: Parameters) -> dict[str, JsonValue]:
    """Return what a chat says itself."""
    found: dict[str, JsonValue] = {SYSTEM: system} if system else {}
    if kept.sampling is not None:
        found |= kept.sampling.model_dump(mode="json", include=set(_SAMPLING))
    found |= {name: one for name, one in kept.sampling_changes.items() if name in _SAMPLING}
    own = kept.model_dump(mode="json", include=set(_OF_CHAT), exclude_defaults=True)
    return found | own


def with_value(kept: Parameters, name: str, value: JsonValue) -> Parameters:
    """Return a chat's parameters with another value for one; None = it has none of its own.

    Args:
        kept: As they were.
        name: Any but the system prompt, which is no part of them.
        value: As `read_words` gives it.
    """
    if name in _OF_CHAT:
        default = plain_value(Parameters.model_fields[name].get_default())
        return Parameters.model_validate(
            {**kept.model_dump(mode="json"), name: default if value is None else value}
        )
    changes = dict(kept.sampling_changes)
    if kept.sampling is not None:
        # A whole chain, as programs give it, becomes one change for each of its fields.
        changes = kept.sampling.model_dump(mode="json") | changes
    changes.pop(name, None)
    if value is not None:
        changes[name] = value
    return Parameters.model_validate(
        {**kept.model_dump(mode="json"), "sampling": None, "sampling_changes": changes}
    )


def value_words(value: JsonValue) -> str:
    """Write a value for a person, on one line."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case _:
            return " ".join(str(value).split())


def _resolve(one: Parameter, layers: Layers) -> Value:
    found: list[tuple[Source, str, JsonValue]] = []
    for source, words, values in (
        (Source.CHAT, Source.CHAT.value, layers.chat),
        (Source.MODEL, Source.MODEL.value, layers.model),
        (Source.DESCRIBED, layers.described_in, layers.described),
    ):
        if one.name in values:
            found.append((source, words, values[one.name]))
    found.append((Source.DEFAULT, Source.DEFAULT.value, one.default))
    source, words, value = found[0]
    others = tuple((words, value) for _, words, value in found[1:])
    return Value(one, value, source, words, others)


def _parameter(name: str) -> Parameter:
    meaning = _MEANINGS[name]
    if name == SYSTEM:
        return Parameter(name, "text", meaning, "", is_of_model=True)
    model = _model(name)
    type_words = field_words(model, name).replace("`", "")
    default = plain_value(model.model_fields[name].get_default())
    return Parameter(name, type_words, meaning, default, is_of_model=name in _SAMPLING)


def _model(name: str) -> type[BaseModel]:
    return SamplingParams if name in _SAMPLING else Parameters
