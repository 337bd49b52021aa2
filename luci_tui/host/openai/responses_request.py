"""What POST /v1/responses takes: its fields, their ranges, and what luci makes of each.

The items of `input` are in responses_items.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from luci_tui.engine import frames
from luci_tui.host.openai.answers import ToolChoice
from luci_tui.host.openai.errors import ApiError, invalid_request
from luci_tui.host.openai.strict import (
    JsonObject,
    Strict,
    check,
    check_kind,
    check_list,
    kind_of,
    shown,
)

MAX_TOOLS = 256
MAX_ITEMS = 4096
MAX_TOKENS = 2**31 - 1
MAX_ID_CHARS = 256
MAX_NOTE_CHARS = 512
"""Length of a value of `metadata`."""

LOGPROBS = "message.output_text.logprobs"

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]


class ReasoningOptions(Strict):
    """`reasoning`."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    """The older name of `summary`."""
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    mode: Literal["standard"] | None = None


class TextFormat(Strict):
    """Plain text."""

    type: Literal["text"]


class JsonObjectFormat(Strict):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaFormat(Strict):
    """JSON that follows a schema."""

    type: Literal["json_schema"]
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    schema_: dict[str, JsonValue] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class TextOptions(Strict):
    """`text`."""

    format: JsonValue = None
    verbosity: Literal["low", "medium", "high"] | None = None


class FunctionTool(Strict):
    """A tool that the client runs."""

    type: Literal["function"]
    name: Name
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    output_schema: dict[str, JsonValue] | None = None
    allowed_callers: list[Literal["direct", "programmatic"]] | None = None
    is_async: bool | None = Field(default=None, alias="async")


class StreamOptions(Strict):
    """`stream_options`."""

    include_obfuscation: bool | None = None


class NamedTool(Strict):
    """A tool choice that names one function."""

    type: Literal["function"]
    name: Name


class AllowedTools(Strict):
    """A tool choice that names several."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[dict[str, JsonValue]]


class ResponsesRequest(Strict):
    """The body of POST /v1/responses."""

    model: Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
    input: JsonValue = None
    instructions: str | None = None
    previous_response_id: Annotated[str, Field(max_length=MAX_ID_CHARS)] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[JsonValue] | None = None
    tool_choice: JsonValue = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 2)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None
    include: list[str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    prompt_cache_options: dict[str, JsonValue] | None = None
    service_tier: Literal["auto", "default"] | None = None
    background: Literal[False] | None = None
    client_metadata: dict[str, JsonValue] | None = None
    """What Codex says about itself."""


@dataclass(frozen=True)
class ToolPlan:
    """The tools of a request as the engine takes them."""

    tools: tuple[JsonObject, ...]
    """Chat tools that may be called now."""
    choice: ToolChoice
    skipped: tuple[str, ...]
    """Kinds and names of tools that luci cannot offer."""


@dataclass(frozen=True)
class Options:
    """Everything of a request but its input, checked."""

    body: ResponsesRequest
    tools: ToolPlan
    sampling: frames.SamplingParams
    wants_logprobs: bool
    wants_summary: bool
    notes: dict[str, str]
    """For `metadata` of the response: what was asked for and has no effect."""


def parse_options(body: JsonValue) -> Options:
    """Check a request.

    Raises:
        ApiError: 400 that names the field.
    """
    request = check(ResponsesRequest, body)
    _check_metadata(request.metadata or {})
    includes = request.include or []
    wants_logprobs = LOGPROBS in includes or bool(request.top_logprobs)
    tools = plan_tools(request.tools or [], request.tool_choice)
    reasoning = request.reasoning or ReasoningOptions()
    return Options(
        body=request,
        tools=tools,
        sampling=_sampling(request, wants_logprobs=wants_logprobs),
        wants_logprobs=wants_logprobs,
        wants_summary=bool(reasoning.summary or reasoning.generate_summary),
        notes=_notes(request, tools.skipped, includes),
    )


def enables_thinking(request: ResponsesRequest) -> bool:
    """Tell whether the template is asked to let the model think."""
    effort = request.reasoning.effort if request.reasoning else None
    return effort not in {"none", "minimal"}


def plan_tools(tools: list[JsonValue], tool_choice: JsonValue) -> ToolPlan:
    """Turn tools and tool_choice into what the engine takes.

    Raises:
        ApiError: 400; a function is wrong, or the choice names what is not there.
    """
    functions: dict[str, JsonObject] = {}
    skipped: list[str] = []
    for index, tool in enumerate(check_list(tools, "tools", MAX_TOOLS)):
        at = f"tools[{index}]"
        kind = kind_of(tool, at)
        if kind != "function":
            name = tool.get("name") if isinstance(tool, dict) else None
            skipped.append(shown(f"{kind} {name}" if isinstance(name, str) else kind))
            continue
        function = check(FunctionTool, tool, at)
        if function.name in functions:
            msg = f"'{at}.name' is {function.name!r}, as is another tool's. Name each only once."
            raise invalid_request(msg, param=f"{at}.name")
        functions[function.name] = _chat_tool(function)
    return _choose(functions, tool_choice, tuple(skipped))


def _chat_tool(function: FunctionTool) -> JsonObject:
    described: JsonObject = {"name": function.name}
    if function.description is not None:
        described["description"] = function.description
    described["parameters"] = function.parameters or {"type": "object", "properties": {}}
    if function.strict is not None:
        described["strict"] = function.strict
    return {"type": "function", "function": described}


def _choose(
    functions: dict[str, JsonObject], choice: JsonValue, skipped: tuple[str, ...]
) -> ToolPlan:
    every = tuple(functions.values())
    if choice is None or choice in ("auto", "none"):
        return ToolPlan(every, "none" if choice == "none" else "auto", skipped)
    if choice == "required":
        if not every:
            raise _no_such_tool(skipped, "required")
        return ToolPlan(every, "required", skipped)
    if isinstance(choice, str):
        msg = f"'tool_choice' is {shown(choice)!r}. Use auto, none, required, or name a function."
        raise invalid_request(msg, param="tool_choice")
    named = check_kind(
        choice, "tool_choice", {"function": NamedTool, "allowed_tools": AllowedTools}
    )
    if isinstance(named, NamedTool):
        if named.name not in functions:
            raise _no_such_tool(skipped, named.name)
        return ToolPlan((functions[named.name],), "required", skipped)
    assert isinstance(named, AllowedTools)
    return _allowed(functions, named, skipped)


def _allowed(
    functions: dict[str, JsonObject], allowed: AllowedTools, skipped: tuple[str, ...]
) -> ToolPlan:
    chosen: list[JsonObject] = []
    for index, tool in enumerate(allowed.tools):
        at = f"tool_choice.tools[{index}]"
        if kind_of(tool, at) != "function":
            continue  # it is among the skipped ones, which are reported
        named = check(NamedTool, tool, at)
        if named.name not in functions:
            raise _no_such_tool(skipped, named.name)
        chosen.append(functions[named.name])
    if not chosen and allowed.mode == "required":
        raise _no_such_tool(skipped, "required")
    return ToolPlan(tuple(chosen), allowed.mode, skipped)


def _no_such_tool(skipped: tuple[str, ...], name: str) -> ApiError:
    hint = f" luci cannot offer {', '.join(skipped[:8])}." if skipped else ""
    msg = f"'tool_choice' asks for {shown(name)!r}, and no function in 'tools' fits.{hint} Send it."
    return invalid_request(msg, param="tool_choice")


def _sampling(request: ResponsesRequest, *, wants_logprobs: bool) -> frames.SamplingParams:
    """Set only what was asked for, so that the rest stays the model's own."""
    fields: dict[str, object] = {}
    if request.temperature is not None:
        fields["temperature"] = request.temperature
    if request.top_p is not None:
        fields["top_p"] = request.top_p
    if request.seed is not None:
        fields["seed"] = request.seed
    if wants_logprobs:
        # The engine gives a token's own logprob together with at least one rival.
        fields["n_logprobs"] = max(1, request.top_logprobs or 0)
    schema = output_schema(request)
    if schema is not None:
        fields["json_schema"] = json.dumps(schema, ensure_ascii=False)
    return frames.SamplingParams.model_validate(fields)


def output_schema(request: ResponsesRequest) -> JsonObject | None:
    """Return the JSON schema that the text has to follow; None = any text.

    Raises:
        ApiError: 400; `text.format` is wrong.
    """
    if request.text is None or request.text.format is None:
        return None
    models: dict[str, type[Strict]] = {
        "text": TextFormat,
        "json_object": JsonObjectFormat,
        "json_schema": JsonSchemaFormat,
    }
    wanted = check_kind(request.text.format, "text.format", models)
    if isinstance(wanted, JsonSchemaFormat):
        return wanted.schema_
    return {"type": "object"} if isinstance(wanted, JsonObjectFormat) else None


def _check_metadata(metadata: dict[str, str]) -> None:
    if len(metadata) > 16:
        msg = f"'metadata' has {len(metadata)} pairs; 16 are the most. Send fewer."
        raise invalid_request(msg, param="metadata")
    for key, value in metadata.items():
        if len(key) > 64 or len(value) > MAX_NOTE_CHARS:
            msg = (
                f"'metadata.{shown(key)}' is too long: keys may have 64 characters "
                f"and values {MAX_NOTE_CHARS}. Shorten it."
            )
            raise invalid_request(msg, param="metadata")
        if key.startswith("luci_"):
            msg = (
                f"'metadata.{shown(key)}' begins with luci_, which luci's own notes do. Rename it."
            )
            raise invalid_request(msg, param="metadata")


def _notes(
    request: ResponsesRequest, skipped: tuple[str, ...], includes: list[str]
) -> dict[str, str]:
    """Name what has no effect here, so that nobody waits for it."""
    notes: dict[str, str] = {}
    if skipped:
        notes["luci_skipped_tools"] = note(", ".join(skipped))
    ignored = [name for name in ("max_tool_calls", "prompt_cache_options") if _has(request, name)]
    ignored += [f"include {shown(name)}" for name in includes if name != LOGPROBS]
    if request.text is not None and request.text.verbosity not in (None, "medium"):
        ignored.append("text.verbosity")
    if request.stream_options is not None and request.stream_options.include_obfuscation:
        ignored.append("stream_options.include_obfuscation")
    if ignored:
        notes["luci_ignored"] = note(", ".join(ignored))
    return notes


def _has(request: ResponsesRequest, name: str) -> bool:
    return getattr(request, name) is not None


def note(text: str) -> str:
    """Cut a note to what a value of `metadata` may hold; the cut shows."""
    return text if len(text) <= MAX_NOTE_CHARS else text[: MAX_NOTE_CHARS - 1] + "…"
