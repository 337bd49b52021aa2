"""The body of POST /v1/chat/completions, and the Prompt that is made of it."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from fastapi import Request
from pydantic import Field, JsonValue

from luci_tui.engine import frames
from luci_tui.host.openai.answers import Prompt
from luci_tui.host.openai.errors import invalid_request
from luci_tui.host.openai.messages import MAX_MESSAGES, Message, engine_messages
from luci_tui.host.openai.parameters import (
    HARMLESS,
    Positive,
    Refused,
    RequestModel,
    SamplingFields,
    json_of,
    read_request,
)
from luci_tui.host.openai.security import client_of
from luci_tui.host.openai.tools import MAX_TOOLS, Choice, Tool, chosen_tools

MAX_STOPS = 16

StopText = Annotated[str, Field(min_length=1, max_length=1024)]
Stops = StopText | Annotated[list[StopText], Field(max_length=MAX_STOPS)]

IGNORED = HARMLESS | {"cache_prompt"}
REFUSED: Refused = {
    "audio": ("Ask for text.", ()),
    "function_call": ("Use tool_choice.", ("none", "auto")),
    "functions": ("Use tools.", ([],)),
    "modalities": ("Ask for text.", (["text"],)),
    "moderation": ("Leave it out.", ()),
    "verbosity": ("Say in the prompt how long the answer should be.", ("medium",)),
    "web_search_options": ("Search before, and send what was found.", ()),
}


class StreamOptions(RequestModel):
    """What a stream carries besides the answer."""

    include_usage: bool = False
    include_obfuscation: bool | None = None
    """Ignored: nothing is padded."""


class NamedSchema(RequestModel):
    """A JSON schema with a name."""

    name: str = Field(min_length=1, max_length=64)
    description: str | None = None
    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")
    strict: bool | None = None
    """Without effect: the answer is always held to the schema."""


class ResponseFormat(RequestModel):
    """What the answer is made of."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


class ChatRequest(SamplingFields):
    """The body of POST /v1/chat/completions."""

    model: str = Field(min_length=1, max_length=1024)
    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    n: Positive = 1
    stop: Stops | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[Tool] = Field(default_factory=list[Tool], max_length=MAX_TOOLS)
    tool_choice: Choice | None = None
    parallel_tool_calls: bool = True
    response_format: ResponseFormat | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None

    def json_schema(self) -> str:
        """Return the schema that the answer is held to; empty = none."""
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return ""
        if wanted.type == "json_object":
            return '{"type":"object"}'
        if wanted.json_schema is None or wanted.json_schema.schema_ is None:
            param = "response_format.json_schema"
            raise invalid_request(
                f"{param} has no schema. Add one.", param=param, code="missing_required_parameter"
            )
        return json.dumps(wanted.json_schema.schema_, ensure_ascii=False)

    def n_logprobs(self) -> int:
        """Return how many tokens the engine reports at each place; 0 = none."""
        if self.top_logprobs is not None and not self.logprobs:
            msg = 'top_logprobs needs logprobs. Send `"logprobs": true` too.'
            raise invalid_request(msg, param="top_logprobs")
        return max(1, self.top_logprobs or 0) if self.logprobs else 0


def read_chat(request: Request, max_choices: int) -> ChatRequest:
    """Return the request.

    Raises:
        ApiError: 400.
    """
    asked = read_request(request, ChatRequest, ignored=IGNORED, refused=REFUSED)
    check_choices(asked.n, max_choices, "n")
    if asked.stream_options is not None and not asked.stream:
        msg = 'stream_options needs a stream. Send `"stream": true` too.'
        raise invalid_request(msg, param="stream_options")
    return asked


def prompt_of(request: Request, asked: ChatRequest) -> Prompt:
    """Return what the engine is asked.

    Raises:
        ApiError: 400; a message, a tool or a combination of options is refused.
    """
    tools, tool_choice = chosen_tools(asked.tools, asked.tool_choice)
    schema = asked.json_schema()
    if schema and asked.grammar:
        msg = "grammar and response_format exclude each other. Send one."
        raise invalid_request(msg, param="grammar")
    sampling = asked.sampling(n_logprobs=asked.n_logprobs(), json_schema=schema)
    return Prompt(
        model=asked.model,
        messages=engine_messages(asked.messages),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=asked.parallel_tool_calls,
        sampling=sampling,
        max_tokens=max_tokens(asked),
        stop=stops(asked.stop),
        enable_thinking=asked.reasoning_effort != "none",
        client=client_of(request, user_of(request)),
    )


def max_tokens(asked: ChatRequest) -> int:
    """Return the smaller of the two limits; -1 = none was named."""
    named = [limit for limit in (asked.max_tokens, asked.max_completion_tokens) if limit]
    return min(named, default=-1)


def stops(stop: str | list[str] | None) -> tuple[str, ...]:
    """Return the stop strings."""
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(stop)


def user_of(request: Request) -> str | None:
    """Return the user that a request names, whom the fair queue tells apart from others."""
    body = json_of(request)
    user = body.get("safety_identifier") or body.get("user")
    return user if isinstance(user, str) else None


def check_choices(n: int, most: int, param: str) -> None:
    """Refuse more answers to one request than the server allows.

    Raises:
        ApiError: 400.
    """
    if n > most:
        raise invalid_request(
            f"{n} answers to one request are too many; {most} are allowed. Ask for fewer.",
            param=param,
        )


def numbered(command: frames.Generate, index: int) -> frames.Generate:
    """Return the command for one of several answers: a seed that was named counts up."""
    seed = command.sampling.seed
    if index == 0 or seed is None:
        return command
    sampling = command.sampling.model_copy(update={"seed": (seed + index) % (2**32 - 1)})
    return command.model_copy(update={"sampling": sampling})
