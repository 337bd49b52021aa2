"""/v1/messages and /v1/messages/count_tokens: Anthropic's API over the same engines."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from fastapi import APIRouter, Request
from pydantic import JsonValue
from starlette.responses import JSONResponse, Response

from luci_tui.engine import frames
from luci_tui.host.openai.answers import Answering, answer
from luci_tui.host.openai.anthropic_request import (
    Parsed,
    check_version,
    parse_count,
    parse_message,
    user_of,
)
from luci_tui.host.openai.anthropic_stream import PING, Event, MessageStream
from luci_tui.host.openai.deltas import fallback_name, renamed
from luci_tui.host.openai.errors import ApiError, anthropic_body
from luci_tui.host.openai.event_stream import (
    as_api_error,
    beats,
    encode_event,
    feed,
    peek,
)
from luci_tui.host.openai.prompt_tokens import count_prompt_tokens
from luci_tui.host.openai.security import client_of
from luci_tui.host.openai.services import Services
from luci_tui.host.openai.sse import EventStream
from luci_tui.host.openai.strict import JsonObject

_PARAMS = {"response_format": "output_config.format"}
"""What the fields of chat completions are called here."""

IGNORED_HEADER = "luci-ignored"
"""Response header that names fields and blocks of the request without effect."""


def router(services: Services) -> APIRouter:
    """Return the routes of /v1/messages."""
    endpoint = _Endpoint(services)
    routes = APIRouter()
    add = routes.add_api_route
    add("/v1/messages", endpoint.create, methods=["POST"], response_model=None)
    add("/v1/messages/count_tokens", endpoint.count, methods=["POST"], response_model=None)
    return routes


class _Endpoint:
    """The routes; each method is one."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def create(self, request: Request) -> Response:
        """POST /v1/messages."""
        body = _body(request)
        parsed = parse_message(body, client_of(request, user_of(body)))
        stream = MessageStream(parsed)
        headers = _headers(parsed, stream)
        if parsed.is_stream:
            response = await EventStream.opened(self._pieces(parsed, stream))
            response.headers.update(headers)
            return response
        async with aclosing(self._answer(parsed)) as events:
            async for event in events:
                self._advance(stream, event)
        return JSONResponse(stream.message(), headers=headers)

    async def count(self, request: Request) -> Response:
        """POST /v1/messages/count_tokens."""
        body = _body(request)
        prompt = parse_count(body, client_of(request))
        n_tokens = await count_prompt_tokens(self._services, prompt)
        return JSONResponse({"input_tokens": n_tokens})

    async def _answer(self, parsed: Parsed) -> AsyncGenerator[Answering | frames.GenerateEvent]:
        try:
            async with aclosing(answer(self._services, parsed.prompt)) as events:
                async for event in events:
                    yield event
        except ApiError as error:
            raise renamed(error, _PARAMS) from error

    async def _pieces(self, parsed: Parsed, stream: MessageStream) -> AsyncGenerator[bytes]:
        """Make the stream; an error before its first event is raised."""
        async with feed(self._answer(parsed)) as events:
            early = await peek(events)
            for item in early:
                if not isinstance(item, frames.Delta | frames.Done):
                    self._advance(stream, item)
            for event in stream.begin():
                yield encode_event(event)
            try:
                async for item in beats(events, early):
                    if item is None:
                        yield encode_event(PING)
                        continue
                    for event in self._advance(stream, item):
                        yield encode_event(event)
            except Exception as error:
                yield encode_event(cast("JsonObject", anthropic_body(as_api_error(error))))

    def _advance(
        self, stream: MessageStream, item: Answering | frames.GenerateEvent
    ) -> list[Event]:
        match item:
            case Answering():
                stream.model = fallback_name(self._services, stream.model, item) or stream.model
                return []
            case frames.PromptProgress():
                stream.know_prompt(item)
                return []
            case frames.Delta():
                return stream.take(item)
            case frames.Done():
                return stream.finish(item)


def _body(request: Request) -> JsonValue:
    check_version(request.headers.get("anthropic-version"))
    return cast("JsonValue", request.scope["luci.json"])


def _headers(parsed: Parsed, stream: MessageStream) -> dict[str, str]:
    headers = {"request-id": stream.id.replace("msg_", "req_", 1)}
    if parsed.ignored:
        headers[IGNORED_HEADER] = ", ".join(parsed.ignored)[:1024]
    return headers
