"""/v1/responses: OpenAI's Responses API, with conversations that are kept when asked for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from luci_tui import paths
from luci_tui.engine import frames
from luci_tui.errors import LuciError
from luci_tui.host.openai.answers import Answering, Prompt, answer
from luci_tui.host.openai.deltas import fallback_name, renamed
from luci_tui.host.openai.errors import ApiError, from_luci, invalid_request
from luci_tui.host.openai.event_stream import (
    as_api_error,
    beats,
    encode_event,
    feed,
    peek,
)
from luci_tui.host.openai.prompt_tokens import count_prompt_tokens
from luci_tui.host.openai.responses_items import cut_points, leave_out, parse_input, to_messages
from luci_tui.host.openai.responses_request import (
    MAX_ITEMS,
    Options,
    enables_thinking,
    note,
    parse_options,
)
from luci_tui.host.openai.responses_store import (
    MAX_CHAIN,
    BrokenChainError,
    ResponseStore,
    StoredResponse,
)
from luci_tui.host.openai.responses_stream import Event, ResponseStream
from luci_tui.host.openai.security import client_of, owner_of
from luci_tui.host.openai.services import Services
from luci_tui.host.openai.sse import EventStream
from luci_tui.host.openai.strict import JsonObject, shown

logger = logging.getLogger(__name__)

MAX_TRIES = 16
"""How often a conversation is shortened before it is given up."""
_HEARTBEAT = b": still here\n\n"

_PARAMS = {"messages": "input", "response_format": "text.format"}
"""What the fields of chat completions are called here."""

T = TypeVar("T")


def router(services: Services, store_path: Path | None = None) -> APIRouter:
    """Return the routes of /v1/responses.

    Args:
        services: What the API stands on.
        store_path: Where stored responses lie; None = the file in LUCI_HOME.
    """
    store = ResponseStore(store_path or paths.responses_file())
    routes = APIRouter()
    endpoint = _Endpoint(services, store)
    at = "/v1/responses"
    add = routes.add_api_route
    add(at, endpoint.create, methods=["POST"], response_model=None)
    add(f"{at}/input_tokens", endpoint.count, methods=["POST"], response_model=None)
    add(f"{at}/{{response_id}}", endpoint.retrieve, methods=["GET"], response_model=None)
    add(f"{at}/{{response_id}}", endpoint.delete, methods=["DELETE"], response_model=None)
    add(f"{at}/{{response_id}}/cancel", endpoint.cancel, methods=["POST"], response_model=None)
    add(f"{at}/{{response_id}}/input_items", endpoint.items, methods=["GET"], response_model=None)
    return routes


@dataclass(frozen=True)
class _Asked:
    """One request, checked and with the conversation that it goes on."""

    options: Options
    history: list[JsonObject]
    """Items of the stored conversation, oldest first."""
    items: list[JsonObject]
    """Items of this request."""
    client: str
    owner: str
    """Whose key asks."""

    def prompt(self, items: list[JsonObject]) -> tuple[Prompt, list[str]]:
        """Return (the prompt of these items, what of them could not be shown to the model)."""
        body = self.options.body
        n_history = len(items) - len(self.items)
        named = [
            (f"input[{index - n_history}]" if index >= n_history else "previous_response_id", item)
            for index, item in enumerate(items)
        ]
        transcript = to_messages(named)
        messages = tuple(transcript.messages)
        if body.instructions:
            rules: JsonObject = {"role": "system", "content": body.instructions}
            messages = (rules, *messages)
        prompt = Prompt(
            model=body.model,
            messages=messages,
            tools=self.options.tools.tools,
            tool_choice=self.options.tools.choice,
            parallel_tool_calls=body.parallel_tool_calls is not False,
            sampling=self.options.sampling,
            max_tokens=body.max_output_tokens or -1,
            enable_thinking=enables_thinking(body),
            client=self.client,
        )
        return prompt, transcript.notes


class _Endpoint:
    """The routes; each method is one."""

    def __init__(self, services: Services, store: ResponseStore) -> None:
        self._services = services
        self._store = store

    async def create(self, request: Request) -> Response:
        """POST /v1/responses."""
        asked = await self._parse(request)
        stream = ResponseStream(asked.options, int(time.time()))
        # What is wrong with the request is said before anything is queued.
        prompt, unseen = asked.prompt([*asked.history, *asked.items])
        if unseen:
            stream.notes["luci_unreadable_items"] = note(", ".join(unseen))
        if asked.options.body.stream:
            return await EventStream.opened(self._pieces(asked, prompt, stream))
        async with aclosing(self._fitted(asked, prompt, stream)) as events:
            async for event in events:
                self._advance(stream, event)
        await self._keep(asked, stream)
        return JSONResponse(stream.response())

    async def count(self, request: Request) -> Response:
        """POST /v1/responses/input_tokens."""
        asked = await self._parse(request)
        prompt, _ = asked.prompt([*asked.history, *asked.items])
        n_tokens = await count_prompt_tokens(self._services, prompt)
        return JSONResponse({"object": "response.input_tokens", "input_tokens": n_tokens})

    async def retrieve(self, request: Request, response_id: str) -> Response:
        """GET /v1/responses/{id}."""
        _check_query(request, {"include", "include[]", "include_obfuscation", "stream"})
        if request.query_params.get("stream", "false") != "false":
            msg = "A stored response is not streamed again. Leave 'stream' out."
            raise invalid_request(msg, param="stream")
        stored = await self._stored(request, response_id)
        return JSONResponse(stored.response)

    async def delete(self, request: Request, response_id: str) -> Response:
        """DELETE /v1/responses/{id}."""
        if not await _in_thread(lambda: self._store.delete(response_id, owner_of(request))):
            raise _not_found(response_id)
        gone = {"id": response_id, "object": "response", "deleted": True}
        return JSONResponse(gone)

    async def cancel(self, request: Request, response_id: str) -> Response:
        """POST /v1/responses/{id}/cancel; only background responses could be, and none is."""
        await self._stored(request, response_id)
        msg = f"{shown(response_id)} is no background response. Close its stream to cancel it."
        raise invalid_request(msg, param="response_id")

    async def items(self, request: Request, response_id: str) -> Response:
        """GET /v1/responses/{id}/input_items: all that the response was made from."""
        _check_query(request, {"limit", "order", "after", "include", "include[]"})
        query = request.query_params
        limit = query.get("limit", "20")
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= 100:
            msg = f"'limit' is {shown(limit)!r}. Send a number from 1 to 100."
            raise invalid_request(msg, param="limit")
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            msg = f"'order' is {shown(order)!r}. Use asc or desc."
            raise invalid_request(msg, param="order")
        await self._stored(request, response_id)
        turns = await self._chain(response_id, owner_of(request))
        every = [*_said(turns[:-1]), *turns[-1].items]
        if order == "desc":
            every.reverse()
        after = query.get("after")
        if after is not None:
            places = [index for index, item in enumerate(every) if item["id"] == after]
            if not places:
                msg = f"'after' is {shown(after)!r}, which is no item of this response."
                raise invalid_request(msg, param="after")
            every = every[places[0] + 1 :]
        page = every[: int(limit)]
        return JSONResponse(
            {
                "object": "list",
                "data": [_shown_item(item) for item in page],
                "first_id": page[0]["id"] if page else None,
                "last_id": page[-1]["id"] if page else None,
                "has_more": len(every) > len(page),
            }
        )

    async def _parse(self, request: Request) -> _Asked:
        body = cast("JsonObject", request.scope["luci.json"])
        options = parse_options(body)
        wanted, owner = options.body, owner_of(request)
        history: list[JsonObject] = []
        if wanted.previous_response_id is not None:
            history = _said(await self._chain(wanted.previous_response_id, owner))
        items = parse_input(wanted.input)
        if not history and not items:
            msg = "'input' is empty. Send a text or an item."
            raise invalid_request(msg, param="input")
        if len(history) + len(items) > MAX_ITEMS:
            msg = (
                f"The conversation has {len(history) + len(items)} items; {MAX_ITEMS} are the "
                "most. Begin another one."
            )
            raise invalid_request(msg, param="input", code="array_above_max_length")
        user = wanted.safety_identifier or wanted.user
        return _Asked(options, history, items, client_of(request, user), owner)

    async def _pieces(
        self, asked: _Asked, prompt: Prompt, stream: ResponseStream
    ) -> AsyncGenerator[bytes]:
        """Make the stream; an error before its first event is raised."""
        async with feed(self._fitted(asked, prompt, stream)) as events:
            early = await peek(events)
            if early and isinstance(early[0], Answering):
                self._advance(stream, early.pop(0))
            for event in stream.begin():
                yield encode_event(event)
            try:
                async for item in beats(events, early):
                    if item is None:
                        yield _HEARTBEAT
                        continue
                    for event in self._advance(stream, item):
                        yield encode_event(event)
            except Exception as error:
                for event in stream.fail(as_api_error(error)):
                    yield encode_event(event)
            await self._keep(asked, stream)
            for event in stream.end():
                yield encode_event(event)

    async def _fitted(
        self, asked: _Asked, prompt: Prompt, stream: ResponseStream
    ) -> AsyncGenerator[Answering | frames.GenerateEvent]:
        """Answer; with truncation "auto" leave the oldest items out until the rest fits."""
        items = [*asked.history, *asked.items]
        n_oldest = 0
        for _ in range(MAX_TRIES):
            try:
                # A prompt that is too long is refused before the first event of the answer.
                async with aclosing(answer(self._services, prompt)) as events:
                    async for event in events:
                        yield event
                    return
            except ApiError as error:
                is_too_long = error.code == "context_length_exceeded"
                if is_too_long and asked.options.body.truncation == "auto":
                    n_oldest = _next_cut(items, n_oldest)
                if not is_too_long or not n_oldest:
                    raise renamed(error, _PARAMS) from error
            kept, n_dropped = leave_out(items, n_oldest)
            prompt, _ = asked.prompt(kept)
            stream.notes["luci_left_out"] = f"the oldest {n_dropped} of {len(items)} items"
        raise RuntimeError(f"a conversation did not fit after {MAX_TRIES} cuts")

    def _advance(
        self, stream: ResponseStream, item: Answering | frames.GenerateEvent
    ) -> list[Event]:
        match item:
            case Answering():
                other = fallback_name(self._services, stream.asked_model, item)
                if other is not None:
                    stream.model = other
                    told = f"{other} answers in place of {stream.asked_model}"
                    stream.notes["luci_fell_back"] = note(told)
                return []
            case frames.Delta():
                return stream.take(item)
            case frames.Done():
                return stream.finish(item, int(time.time()))
            case frames.PromptProgress():
                return []

    async def _keep(self, asked: _Asked, stream: ResponseStream) -> None:
        """Store a response that is complete, if that is wanted; a failure of it is a note."""
        if asked.options.body.store is False:
            return
        stored = StoredResponse(
            id=stream.id,
            previous_id=asked.options.body.previous_response_id,
            created_at=stream.created_at,
            items=asked.items,
            response=stream.response(),
            owner=asked.owner,
        )
        try:
            await asyncio.to_thread(self._store.put, stored)
        except LuciError as error:
            logger.warning("%s", error.message)
            stream.is_stored = False
            stream.notes["luci_not_stored"] = note(error.message)

    async def _stored(self, request: Request, response_id: str) -> StoredResponse:
        stored = await _in_thread(lambda: self._store.get(response_id, owner_of(request)))
        if stored is None:
            raise _not_found(response_id)
        return stored

    async def _chain(self, response_id: str, owner: str) -> list[StoredResponse]:
        try:
            return await _in_thread(lambda: self._store.chain(response_id, owner))
        except BrokenChainError as error:
            lost = shown(error.missing_id)
            msg = (
                f"The conversation needs the response {lost}, which is not stored: it was never "
                f"there, was deleted, is too old, or lies more than {MAX_CHAIN} turns back. "
                "Send the items themselves."
            )
            raise invalid_request(
                msg, param="previous_response_id", code="previous_response_not_found"
            ) from error


def _next_cut(items: list[JsonObject], n_oldest: int) -> int:
    """Return how many of the oldest items to leave out next; 0 = no more can go.

    About a quarter of what is left goes each time, so that a few tries are enough; how many tokens
    an item has is known to the engine alone, and a refusal costs it next to nothing.
    """
    points = [point for point in cut_points(items) if point > n_oldest]
    if not points:
        return 0
    sizes = [len(str(item)) for item in items]
    wanted = sum(sizes[n_oldest:]) / 4
    return next((point for point in points if sum(sizes[n_oldest:point]) >= wanted), points[-1])


def _said(turns: list[StoredResponse]) -> list[JsonObject]:
    """Return all items of some turns, in order."""
    return [item for turn in turns for item in (*turn.items, *turn.output)]


def _shown_item(item: JsonObject) -> JsonObject:
    """Return an item as the API lists it: text in parts, whatever the client had sent."""
    content = item.get("content")
    if item.get("type") != "message" or not isinstance(content, str):
        return item
    kind = "output_text" if item.get("role") == "assistant" else "input_text"
    part: JsonObject = {"type": kind, "text": content}
    return {**item, "content": [part | ({"annotations": []} if kind == "output_text" else {})]}


def _not_found(response_id: str) -> ApiError:
    msg = (
        f"There is no stored response {shown(response_id)!r}. It may have been deleted, or too old."
    )
    return ApiError(404, "not_found", msg, param="response_id")


def _check_query(request: Request, known: set[str]) -> None:
    for name in request.query_params:
        if name not in known:
            msg = f"The query names {shown(name)!r}, which is unknown here. Leave it out."
            raise invalid_request(msg, param=shown(name), code="unknown_parameter")


async def _in_thread(call: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(call)
    except LuciError as error:
        raise from_luci(error) from error
