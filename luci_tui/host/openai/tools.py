"""The tools of a chat request, and which of them an answer may or must use."""

from __future__ import annotations

from typing import Literal, cast

from pydantic import Field, JsonValue

from luci_tui.host.openai.answers import ToolChoice
from luci_tui.host.openai.errors import invalid_request
from luci_tui.host.openai.messages import FUNCTION_NAME
from luci_tui.host.openai.parameters import RequestModel

MAX_TOOLS = 128


class Function(RequestModel):
    """What a tool is."""

    name: str
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: bool | None = None
    """Without effect: arguments are always held to the schema."""


class Tool(RequestModel):
    """A function that the model may call."""

    type: Literal["function"]
    function: Function


class NamedFunction(RequestModel):
    """A function by name."""

    name: str


class NamedTool(RequestModel):
    """A tool by name."""

    type: Literal["function"]
    function: NamedFunction


class AllowedTools(RequestModel):
    """Some of the tools."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool] = Field(min_length=1, max_length=MAX_TOOLS)


class AllowedToolsChoice(RequestModel):
    """A choice of some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


Choice = Literal["none", "auto", "required"] | NamedTool | AllowedToolsChoice


def chosen_tools(
    tools: list[Tool], choice: Choice | None
) -> tuple[tuple[dict[str, JsonValue], ...], ToolChoice]:
    """Return (the tools for the engine, whether one must be called).

    Raises:
        ApiError: 400; a tool has a bad name or comes twice, or the choice names none of them.
    """
    by_name: dict[str, Tool] = {}
    for number, tool in enumerate(tools):
        name, param = tool.function.name, f"tools[{number}].function.name"
        if not FUNCTION_NAME.fullmatch(name):
            raise invalid_request(
                f"{param} {name[:64]!r} is not made of 1 to 64 letters, digits, _ and -.",
                param=param,
            )
        if name in by_name:
            raise invalid_request(f"Two tools are named {name!r}. Rename one.", param=param)
        by_name[name] = tool
    match choice:
        case None | "auto":
            return _engine_tools(tools), "auto"
        case "none":
            return _engine_tools(tools), "none"
        case "required":
            _require(by_name, "")
            return _engine_tools(tools), "required"
        case NamedTool():
            return _engine_tools([_require(by_name, choice.function.name)]), "required"
        case AllowedToolsChoice():
            allowed = [_require(by_name, one.function.name) for one in choice.allowed_tools.tools]
            return _engine_tools(allowed), choice.allowed_tools.mode


def _require(by_name: dict[str, Tool], name: str) -> Tool:
    """Return the tool of that name; any, if the name is empty."""
    found = by_name.get(name) if name else next(iter(by_name.values()), None)
    if found is None:
        told = f"names {name[:64]!r}, which is none of the tools" if name else "needs a tool"
        raise invalid_request(f"tool_choice {told}. Send it in tools.", param="tool_choice")
    return found


def _engine_tools(tools: list[Tool]) -> tuple[dict[str, JsonValue], ...]:
    made: list[dict[str, JsonValue]] = []
    for tool in tools:
        function: dict[str, JsonValue] = {
            "name": tool.function.name,
            "description": tool.function.description or "",
            # A function without parameters takes an empty object.
            "parameters": cast("JsonValue", tool.function.parameters)
            or {"type": "object", "properties": {}},
        }
        made.append({"type": "function", "function": function})
    return tuple(made)
