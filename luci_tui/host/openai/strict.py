"""Check one piece of a request at a time, and say in one sentence which field is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeVar, cast

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from luci_tui.host.openai.errors import ApiError, invalid_request

JsonObject = dict[str, JsonValue]

MAX_DEPTH = 64
"""Of JSON inside a string."""

_SHOWN_CHARS = 40


class Strict(BaseModel):
    """Base of what a client sends: no field too many, no value bent into shape."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        # What a request says does not come again, and need not stay in memory.
        cache_strings="keys",
    )


StrictT = TypeVar("StrictT", bound=Strict)


def check(model: type[StrictT], value: JsonValue, at: str = "") -> StrictT:
    """Return `value` as a `model`.

    Args:
        model: What it should be.
        value: What was sent.
        at: Where it stood in the request, e.g. "input[2]"; empty = the request itself.

    Raises:
        ApiError: 400 with the path of the first field that is wrong.
    """
    if not isinstance(value, dict):
        kind = json_kind(value)
        what = f"'{at}'" if at else "The request"
        msg = f"{what} has to be a JSON object and is {kind}."
        raise invalid_request(msg, param=at or None, code="invalid_type")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _field_error(error, at) from error


def check_list(value: JsonValue, at: str, most: int) -> list[JsonValue]:
    """Return `value` as a list of at most `most` things.

    Raises:
        ApiError: 400.
    """
    if not isinstance(value, list):
        msg = f"'{at}' has to be a list and is {json_kind(value)}."
        raise invalid_request(msg, param=at, code="invalid_type")
    if len(value) > most:
        msg = f"'{at}' holds {len(value)} things, and no more than {most} are taken. Send fewer."
        raise invalid_request(msg, param=at, code="array_above_max_length")
    return value


def check_kind(value: JsonValue, at: str, models: Mapping[str, type[Strict]]) -> Strict:
    """Return `value` as the model that its `type` names.

    Raises:
        ApiError: 400; no object, an unknown type, or a wrong field.
    """
    kind = kind_of(value, at)
    if kind not in models:
        msg = (
            f"'{at}.type' is '{shown(kind)}', which luci does not take. "
            f"Use {' or '.join(sorted(models))}."
        )
        raise invalid_request(msg, param=f"{at}.type")
    return check(models[kind], value, at)


def kind_of(value: JsonValue, at: str, otherwise: str = "") -> str:
    """Return the `type` of an object; `otherwise` stands for a missing one.

    Raises:
        ApiError: 400; no object, or no type.
    """
    if not isinstance(value, dict):
        msg = f"'{at}' has to be a JSON object and is {json_kind(value)}."
        raise invalid_request(msg, param=at, code="invalid_type")
    kind = value.get("type", otherwise)
    if not isinstance(kind, str) or not kind:
        msg = f"'{at}.type' is missing. Say what this is."
        raise invalid_request(msg, param=f"{at}.type", code="missing_required_parameter")
    return kind


def json_object(text: str, at: str) -> JsonObject:
    """Return the JSON object that a text holds, as templates will read it.

    Raises:
        ApiError: 400; it is none, or too deep.
    """
    try:
        value = cast("JsonValue", json.loads(text))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        msg = f"'{at}' is no JSON object. Send the arguments as the model wrote them."
        raise invalid_request(msg, param=at)
    check_depth(value, at)
    return value


def check_depth(value: JsonValue, at: str) -> None:
    """Refuse what is nested more than MAX_DEPTH deep; native code reads it by recursion.

    Raises:
        ApiError: 400.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    msg = f"'{at}' is nested more than {MAX_DEPTH} deep. Send it flatter."
    raise invalid_request(msg, param=at, code="too_deep")


def shown(text: str) -> str:
    """Return the start of a client's word, fit for an error message."""
    cut = text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
    return "".join(char if char.isprintable() else "?" for char in cut)


def json_kind(value: JsonValue) -> str:
    """Name a JSON value's type."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "an object"


def _field_error(error: ValidationError, at: str) -> ApiError:
    first = error.errors(include_url=False, include_input=False)[0]
    path = at
    for part in first["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{shown(part)}" if path else shown(part)
    match first["type"]:
        case "missing":
            msg, code = f"'{path}' is missing. Send it.", "missing_required_parameter"
        case "extra_forbidden":
            msg, code = f"'{path}' is unknown here. Leave it out.", "unknown_parameter"
        case kind:
            # Pydantic's words name the type or the bound, never the value.
            wish = first["msg"].removeprefix("Value error, ").rstrip(".")
            msg = f"'{path}' cannot be used: {wish[:1].lower()}{wish[1:]}. Correct it."
            code = "invalid_type" if kind.endswith("_type") else "invalid_value"
    return invalid_request(msg, param=path or None, code=code)
