"""From a request of any API to the events of an engine: queue, lease, generate, cancel.

Every endpoint that generates goes through `answer` or `run`; each of them translates its own
request into a `Prompt` (or a command), and the events into its own reply.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, cast

from pydantic import JsonValue

from luci_tui.engine import frames
from luci_tui.errors import LuciError
from luci_tui.host.openai.errors import RETRY_AFTER_S, ApiError, from_luci
from luci_tui.host.openai.schemas import check_schemas
from luci_tui.host.openai.services import EntryView, LeaseView, Services

ToolChoice = Literal["auto", "required", "none"]


@dataclass(frozen=True)
class Prompt:
    """One request for an answer, as every API translates it."""

    model: str
    messages: tuple[dict[str, JsonValue], ...]
    """OpenAI chat messages: system or developer, user, assistant (with tool_calls), tool."""
    tools: tuple[dict[str, JsonValue], ...] = ()
    """OpenAI tools: {"type": "function", "function": {…}}."""
    tool_choice: ToolChoice = "auto"
    """A named tool is that tool alone, and "required"."""
    parallel_tool_calls: bool = False
    sampling: frames.SamplingParams = field(default_factory=frames.SamplingParams)
    """Only the fields that were set count; the others are the model's own."""
    max_tokens: int = -1
    """-1 = until the model ends or the context is full."""
    stop: tuple[str, ...] = ()
    enable_thinking: bool = True
    client: str = ""
    """Whose turn it uses in the fair queue; see `client_of` in security.py."""


@dataclass(frozen=True)
class Answering:
    """The model that answers; always the first thing that comes."""

    name: str
    """The entry's name; a fallback's differs from what was asked for."""
    info: frames.ModelInfo


@dataclass(frozen=True)
class Session:
    """A place in the queue and a lease, held together."""

    answering: Answering
    lease: LeaseView
    services: Services
    text_param: str = "messages"
    """The field of the request that holds its text; a refusal of the engine names it."""

    async def generate(
        self, command: frames.Generate
    ) -> AsyncGenerator[frames.PromptProgress | frames.Delta | frames.Done]:
        """Stream one answer; closing the iterator cancels it.

        Raises:
            ApiError: the request is refused or failed.
        """
        metrics, name = self.services.metrics, self.answering.name
        is_complete = False
        try:
            async with aclosing(self.lease.engine.generate(command)) as events:
                async for event in events:
                    if isinstance(event, frames.Done):
                        is_complete = True
                        _require_end(event, name)
                        metrics.count_answer(name, event)
                    yield event
        except LuciError as error:
            is_complete = True
            raise from_luci(error, self.text_param) from error
        finally:
            if not is_complete:
                metrics.cancelled.labels(name).inc()

    async def ask(self, command: frames.Command) -> frames.Event:
        """Send a command that has one answer.

        Raises:
            ApiError: the request is refused or failed.
        """
        try:
            return await self.lease.engine.ask(command)
        except LuciError as error:
            raise from_luci(error, self.text_param) from error


def find_entry(services: Services, name: str) -> EntryView:
    """Return the model of that name or alias. Nothing but a listed name is ever looked up.

    Raises:
        ApiError: 404; there is none.
    """
    entries = services.models.names()
    for entry in entries:
        if name == entry.name or name in entry.aliases:
            return entry
    shown = name if len(name) <= 80 else name[:80] + "…"
    near = difflib.get_close_matches(name[:80], [entry.name for entry in entries], n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else "GET /v1/models lists what there is."
    raise ApiError(404, "model_not_found", f"There is no model {shown!r}. {hint}", param="model")


def only_model(services: Services) -> str:
    """Return the one model that a request without a name can mean: listed alone, or loaded alone.

    Raises:
        ApiError: 400; there are several, or none.
    """
    listed = [entry.name for entry in services.models.names()]
    loaded = [resident.name for resident in services.models.snapshot()]
    for names in (listed, loaded):
        if len(names) == 1:
            return names[0]
    msg = f"model is missing, and {len(listed)} models are served. Name one of /v1/models."
    raise ApiError(400, "missing_required_parameter", msg, param="model")


@asynccontextmanager
async def open_session(
    services: Services,
    model: str,
    client: str,
    places: int = 1,
    text_param: str = "messages",
) -> AsyncGenerator[Session]:
    """Wait for a turn and hold the model inside the `async with`.

    Args:
        services: What the API stands on.
        model: The name that was asked for.
        client: Whose turn it uses.
        places: Answers that will run at once.
        text_param: The field of the request that holds its text.

    Raises:
        ApiError: there is no such model, it cannot be loaded, or the queue is full.
    """
    entry = find_entry(services, model)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(services.gate.enter(entry.name, client, places))
        try:
            lease = await stack.enter_async_context(services.models.lease(entry.name))
        except LuciError as error:
            raise from_luci(error) from error
        n_places = lease.info.n_slots * max(1, lease.entry.max_workers)
        services.gate.set_capacity(entry.name, n_places)
        yield Session(Answering(lease.entry.name, lease.info), lease, services, text_param)


async def run(
    services: Services,
    model: str,
    client: str,
    command: Callable[[EntryView], frames.Generate],
) -> AsyncGenerator[Answering | frames.GenerateEvent]:
    """Stream one answer to a command that is made once the model is known.

    Closing the iterator cancels the answer and gives the place back.

    Raises:
        ApiError: the request is refused or failed.
    """
    async with open_session(services, model, client) as session:
        yield session.answering
        async with aclosing(session.generate(command(session.lease.entry))) as events:
            async for event in events:
                yield event


async def answer(
    services: Services, prompt: Prompt
) -> AsyncGenerator[Answering | frames.GenerateEvent]:
    """Stream the answer to a prompt: Answering, then what the engine says, last Done.

    Closing the iterator cancels the answer and gives the place back.

    Raises:
        ApiError: the request is refused or failed.
    """
    events = run(services, prompt.model, prompt.client, lambda entry: chat_command(prompt, entry))
    async with aclosing(events):
        async for event in events:
            yield event


def chat_command(prompt: Prompt, entry: EntryView) -> frames.Generate:
    """Return what the engine is asked, with the model's own system message and sampling.

    Raises:
        ApiError: 400; a schema is too large.
    """
    check_schemas(prompt.tools, prompt.sampling.json_schema)
    return frames.Generate(
        request_id=0,
        messages_json=json.dumps(_messages(prompt.messages, entry.system), ensure_ascii=False),
        tools_json=json.dumps(prompt.tools, ensure_ascii=False) if prompt.tools else "",
        tool_choice=prompt.tool_choice,
        parallel_tool_calls=prompt.parallel_tool_calls,
        enable_thinking=prompt.enable_thinking,
        max_tokens=prompt.max_tokens,
        stop=prompt.stop,
        sampling=merge_sampling(entry.sampling, prompt.sampling),
    )


def merge_sampling(
    own: frames.SamplingParams, asked: frames.SamplingParams
) -> frames.SamplingParams:
    """Return the model's own sampling with what the request names in its place."""
    return own.model_copy(update={name: getattr(asked, name) for name in asked.model_fields_set})


def _messages(
    messages: tuple[dict[str, JsonValue], ...], system: str
) -> list[dict[str, JsonValue]]:
    """Call developers system, join leading system messages, and add the model's own if none."""
    renamed = [
        {**message, "role": "system"} if message.get("role") == "developer" else message
        for message in messages
    ]
    n_leading = 0
    while n_leading < len(renamed) and renamed[n_leading].get("role") == "system":
        n_leading += 1
    # Many templates take one system message, and only at the start.
    texts = [text_of(message.get("content")) for message in renamed[:n_leading]]
    lead = "\n\n".join(text for text in texts if text) if texts else system
    first: list[dict[str, JsonValue]] = [{"role": "system", "content": lead}] if lead else []
    return first + renamed[n_leading:]


def text_of(content: JsonValue) -> str:
    """Return the text of a message's content: a string, or a list of text parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [cast("dict[str, JsonValue]", part) for part in content if isinstance(part, dict)]
    return "\n".join(text for part in parts if isinstance(text := part.get("text"), str))


def _require_end(done: frames.Done, name: str) -> None:
    """An answer that others cancelled (unload, shutdown) is no whole answer."""
    if done.finish_reason is frames.FinishReason.CANCELLED:
        raise ApiError(
            503,
            "cancelled",
            f"The answer of {name} was ended because the model is being unloaded. Try again.",
            retry_after_s=RETRY_AFTER_S,
        )
