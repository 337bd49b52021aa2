"""How large a JSON schema may be, before native code makes a grammar of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

from pydantic import JsonValue

from luci_tui.host.openai.errors import invalid_request

MAX_PROPERTIES = 1000
"""Of one object. The grammar's size grows with their square, the time to make it with their cube,
and nobody else is answered meanwhile."""
MAX_ALTERNATIVES = 5000
"""Of one enum, anyOf, oneOf or allOf."""

_LISTS = ("enum", "anyOf", "oneOf", "allOf", "required")


def check_schemas(tools: Sequence[dict[str, JsonValue]], schema: str) -> None:
    """Refuse schemas that would keep the model busy for minutes.

    Args:
        tools: OpenAI tools.
        schema: A JSON schema as text; empty = none.

    Raises:
        ApiError: 400.
    """
    for tool in tools:
        _check(tool, "tools")
    if schema:
        _check(cast("JsonValue", json.loads(schema)), "response_format")


def _check(schema: JsonValue, param: str) -> None:
    pending: list[JsonValue] = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, dict):
            pending.extend(value.values())
            _check_object(value, param)


def _check_object(value: dict[str, JsonValue], param: str) -> None:
    properties = value.get("properties")
    if isinstance(properties, dict) and len(properties) > MAX_PROPERTIES:
        _refuse(f"an object of {len(properties)} properties", MAX_PROPERTIES, param)
    for name in _LISTS:
        found = value.get(name)
        if isinstance(found, list) and len(found) > MAX_ALTERNATIVES:
            _refuse(f"{name} of {len(found)}", MAX_ALTERNATIVES, param)


def _refuse(what: str, most: int, param: str) -> None:
    msg = f"A schema has {what}; {most} are allowed. Make it smaller."
    raise invalid_request(msg, param=param, code="invalid_schema")
