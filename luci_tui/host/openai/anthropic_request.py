"""What POST /v1/messages takes: its fields, their ranges, and what luci makes of each.

The messages themselves are in anthropic_blocks.py.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from luci_tui.engine import frames
from luci_tui.host.openai.answers import Prompt, ToolChoice
from luci_tui.host.openai.anthropic_blocks import (
    CacheControl,
    system_text,
    to_messages,
)
from luci_tui.host.openai.errors import invalid_request
from luci_tui.host.openai.strict import (
    JsonObject,
    Strict,
    check,
    check_kind,
    check_list,
    kind_of,
    shown,
)

OLDEST_VERSION = "2023-06-01"
"""Before it, streams had another form."""
NEWEST_VERSION = "2026-10-21"
"""Takes no temperature, top_p and top_k; local models need them, so luci takes them always."""

MAX_TOOLS = 256
MAX_STOPS = 64
MAX_TOKENS = 2**31 - 1

_DATE = re.compile(r"2\d{3}-\d{2}-\d{2}", re.ASCII)

ToolName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
StopText = Annotated[str, Field(min_length=1, max_length=1024)]


class Thinking(Strict):
    """`thinking`, whatever its type."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int, Field(ge=1024, le=MAX_TOKENS)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class JsonOutput(Strict):
    """An answer that follows a JSON schema."""

    type: Literal["json_schema"]
    schema_: dict[str, JsonValue] = Field(alias="schema")


class OutputConfig(Strict):
    """`output_config`."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonOutput | None = None


class Metadata(Strict):
    """`metadata`."""

    user_id: Annotated[str, Field(max_length=256)] | None = None


class Tool(Strict):
    """A tool that the client runs."""

    type: Literal["custom"] | None = None
    name: ToolName
    description: str | None = None
    input_schema: dict[str, JsonValue]
    cache_control: CacheControl | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    allowed_callers: list[str] | None = None
    input_examples: list[dict[str, JsonValue]] | None = None


class AnyChoice(Strict):
    """`tool_choice` that leaves open which tool."""

    type: Literal["auto", "any"]
    disable_parallel_tool_use: bool | None = None


class NoneChoice(Strict):
    """`tool_choice` that forbids tools."""

    type: Literal["none"]


class ToolChoiceTool(Strict):
    """`tool_choice` that names the tool."""

    type: Literal["tool"]
    name: ToolName
    disable_parallel_tool_use: bool | None = None


class _Asked(Strict):
    """What a message and a count of its tokens have in common."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    messages: JsonValue
    system: JsonValue = None
    tools: list[JsonValue] | None = None
    tool_choice: JsonValue = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    speed: Literal["standard"] | None = None
    context_management: dict[str, JsonValue] | None = None
    mcp_servers: Annotated[list[JsonValue], Field(max_length=0)] | None = None


class CountRequest(_Asked):
    """The body of POST /v1/messages/count_tokens."""


class MessageRequest(_Asked):
    """The body of POST /v1/messages."""

    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)]
    stream: bool | None = None
    stop_sequences: Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    diagnostics: dict[str, JsonValue] | None = None
    container: None = None
    inference_geo: None = None


@dataclass(frozen=True)
class Parsed:
    """A request, checked and translated."""

    prompt: Prompt
    stops: tuple[str, ...]
    max_tokens: int
    is_stream: bool
    hides_thinking: bool
    """The client does not want to see the thinking; how long it was is still told."""
    ignored: tuple[str, ...]
    """Fields and blocks that have no effect here."""


def parse_message(body: JsonValue, client: str) -> Parsed:
    """Check and translate POST /v1/messages.

    Raises:
        ApiError: 400 that names the field.
    """
    request = check(MessageRequest, body)
    _check_budget(request.thinking, request.max_tokens)
    ignored = _ignored(request)
    if request.diagnostics is not None:
        ignored.append("diagnostics")
    fields: dict[str, object] = {
        name: value
        for name in ("temperature", "top_p", "top_k")
        if (value := getattr(request, name)) is not None
    }
    stops = tuple(request.stop_sequences or ())
    prompt, unread = _prompt(request, fields, client)
    return Parsed(
        prompt=replace(prompt, max_tokens=request.max_tokens, stop=stops),
        stops=stops,
        max_tokens=request.max_tokens,
        is_stream=bool(request.stream),
        hides_thinking=request.thinking is not None and request.thinking.display == "omitted",
        ignored=(*ignored, *unread),
    )


def parse_count(body: JsonValue, client: str) -> Prompt:
    """Check and translate POST /v1/messages/count_tokens.

    Raises:
        ApiError: 400 that names the field.
    """
    prompt, _ = _prompt(check(CountRequest, body), {}, client)
    return prompt


def check_version(version: str | None) -> None:
    """Refuse what is no version of the API, or one with another form of streams.

    A version that luci does not know yet is answered as the newest: each client sends its own,
    and what a version adds to a request is refused by name where it stands.

    Raises:
        ApiError: 400.
    """
    if version is None:
        return
    if _DATE.fullmatch(version) is None or version < OLDEST_VERSION:
        msg = f"The header anthropic-version is {shown(version)!r}. Send {NEWEST_VERSION}."
        raise invalid_request(msg, param="anthropic-version")


def user_of(body: JsonValue) -> str | None:
    """Return `metadata.user_id`, which may still be anything."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
    return user_id if isinstance(user_id, str) else None


def _check_budget(thinking: Thinking | None, max_tokens: int) -> None:
    if thinking is None:
        return
    budget = thinking.budget_tokens
    if thinking.type == "enabled" and budget is None:
        msg = "'thinking.budget_tokens' is missing. Send it, or use the type adaptive."
        raise invalid_request(
            msg, param="thinking.budget_tokens", code="missing_required_parameter"
        )
    if budget is not None and budget >= max_tokens:
        msg = (
            f"'thinking.budget_tokens' is {budget} and has to be less than max_tokens, "
            f"which is {max_tokens}. Lower it."
        )
        raise invalid_request(msg, param="thinking.budget_tokens")


def _prompt(
    request: _Asked, sampling: dict[str, object], client: str
) -> tuple[Prompt, tuple[str, ...]]:
    conversation = to_messages(request.messages)
    messages = tuple(conversation.messages)
    system = system_text(request.system, "system")
    if system:
        rules: JsonObject = {"role": "system", "content": system}
        messages = (rules, *messages)
    tools, choice, is_parallel = _tools(request.tools or [], request.tool_choice)
    if request.output_config is not None and request.output_config.format is not None:
        schema = request.output_config.format.schema_
        sampling = {**sampling, "json_schema": json.dumps(schema, ensure_ascii=False)}
    prompt = Prompt(
        model=request.model,
        messages=messages,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=is_parallel,
        sampling=frames.SamplingParams.model_validate(sampling),
        enable_thinking=request.thinking is not None and request.thinking.type != "disabled",
        client=client,
    )
    return prompt, tuple(conversation.unread)


def _tools(
    tools: list[JsonValue], tool_choice: JsonValue
) -> tuple[tuple[JsonObject, ...], ToolChoice, bool]:
    """Return (chat tools, the engine's choice, whether several calls are allowed)."""
    functions: dict[str, JsonObject] = {}
    for index, value in enumerate(check_list(tools, "tools", MAX_TOOLS)):
        at = f"tools[{index}]"
        kind = kind_of(value, at, "custom") if not _has_null_type(value) else "custom"
        if kind != "custom":
            msg = (
                f"'{at}.type' is {shown(kind)!r}, a tool that Anthropic's own servers or models "
                "bring along. Send it as a custom tool with an input_schema."
            )
            raise invalid_request(msg, param=f"{at}.type")
        tool = check(Tool, value, at)
        if tool.name in functions:
            msg = f"'{at}.name' is {tool.name!r}, as is another tool's. Name each only once."
            raise invalid_request(msg, param=f"{at}.name")
        described: JsonObject = {"name": tool.name, "parameters": tool.input_schema}
        if tool.description is not None:
            described["description"] = tool.description
        functions[tool.name] = {"type": "function", "function": described}
    every = tuple(functions.values())
    if tool_choice is None:
        return every, "auto", True
    models: dict[str, type[Strict]] = {
        "auto": AnyChoice,
        "any": AnyChoice,
        "none": NoneChoice,
        "tool": ToolChoiceTool,
    }
    match check_kind(tool_choice, "tool_choice", models):
        case AnyChoice() as choice:
            if choice.type == "any" and not every:
                msg = "'tool_choice' is any, and there are no tools. Send some."
                raise invalid_request(msg, param="tool_choice")
            name: ToolChoice = "required" if choice.type == "any" else "auto"
            return every, name, not choice.disable_parallel_tool_use
        case ToolChoiceTool() as choice:
            if choice.name not in functions:
                msg = f"'tool_choice.name' is {choice.name!r}, which is none of the tools. Send it."
                raise invalid_request(msg, param="tool_choice.name")
            return (functions[choice.name],), "required", not choice.disable_parallel_tool_use
        case _:
            return every, "none", True


def _has_null_type(value: JsonValue) -> bool:
    return isinstance(value, dict) and "type" in value and value["type"] is None


def _ignored(request: _Asked) -> list[str]:
    """Name what has no effect here, so that nobody waits for it."""
    ignored: list[str] = []
    if request.thinking is not None and request.thinking.budget_tokens is not None:
        ignored.append("thinking.budget_tokens")
    if request.output_config is not None and request.output_config.effort is not None:
        ignored.append("output_config.effort")
    if request.context_management:
        ignored.append("context_management")
    return ignored
