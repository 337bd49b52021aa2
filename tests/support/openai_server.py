"""A small real server that speaks OpenAI's protocol, with one thing wrong when a test wants it.

Faults, each for one request: `status:429` (any status; `status:429:7` with Retry-After 7),
`redirect`, `html`, `wrong_json`, `broken_sse`, `sse_error`, `no_finish`, `disconnect` (after two
words), `slow` (waits for the gate before its first word), `slow_middle` (after two words),
`endless_event`, `filtered`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

import uvicorn
from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.responses import StreamingResponse as Streaming
from starlette.routing import Route

MODEL = "far-model"
KEY = "sk-test-1234567890"
Json = dict[str, JsonValue]


@dataclass
class OpenAiServer:
    """What the server was asked, and what is to go wrong next."""

    name: str = "a"
    """Is part of every answer."""
    port: int = 0
    needs_key: bool = False
    has_extras: bool = True
    """Rerank and tokenize, which OpenAI's own server does not have."""
    faults: list[str] = field(default_factory=list[str])
    bodies: list[Json] = field(default_factory=list[Json])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    n_disconnects: int = 0
    """Clients that went before their answer was complete."""
    n_running: int = 0
    n_model_lists: int = 0
    logprobs: bool = True

    @property
    def base_url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def models(self, request: Request) -> Response:
        """List the one model."""
        self.n_model_lists += 1
        fault = self._fault(request)
        if fault is not None:
            return fault
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "max_model_len": 4096}]})

    async def chat(self, request: Request) -> Response:
        """Say the last message back, word by word, as a stream."""
        fault = self.faults[0] if self.faults else ""
        refused = self._fault(request)
        body: Json = json.loads(await request.body())
        self.bodies.append(body)
        if refused is not None:
            return refused
        messages = body.get("messages")
        last = messages[-1] if isinstance(messages, list) else None
        text = str(last["content"] if isinstance(last, dict) else body["prompt"])
        return Streaming(
            self._stream(f"{self.name}: {text}", body, fault), media_type="text/event-stream"
        )

    async def embeddings(self, request: Request) -> Response:
        """Make a vector from the length of each text, the last one first."""
        body: Json = json.loads(await request.body())
        self.bodies.append(body)
        refused = self._fault(request)
        if refused is not None:
            return refused
        texts = body["input"]
        assert isinstance(texts, list)
        data = [
            {"index": n, "embedding": [float(len(str(text))), 3.0]} for n, text in enumerate(texts)
        ]
        return JSONResponse({"data": data[::-1], "usage": {"prompt_tokens": 5}})

    async def rerank(self, request: Request) -> Response:
        """Score each document by its length."""
        body: Json = json.loads(await request.body())
        self.bodies.append(body)
        refused = self._fault(request)
        if refused is not None:
            return refused
        documents = body["documents"]
        assert isinstance(documents, list)
        found = [{"index": n, "relevance_score": len(str(one))} for n, one in enumerate(documents)]
        return JSONResponse({"results": found[::-1], "usage": {"total_tokens": 9}})

    async def tokenize(self, request: Request) -> Response:
        """Give the bytes of a text."""
        body: Json = json.loads(await request.body())
        self.bodies.append(body)
        text = str(body.get("content", body.get("prompt")))
        return JSONResponse({"tokens": list(text.encode())})

    def _fault(self, request: Request) -> Response | None:
        self.headers.append(dict(request.headers))
        if self.needs_key and request.headers.get("authorization") != f"Bearer {KEY}":
            error: Json = {"message": f"bad key {KEY[:3]}", "code": "invalid_api_key"}
            return JSONResponse({"error": error}, status_code=401)
        kind, *arguments = (self.faults.pop(0) if self.faults else "").split(":")
        match kind:
            case "status":
                after = {"Retry-After": arguments[1]} if len(arguments) > 1 else {}
                error = {"message": "no\x1b[31m luck", "code": "context_length_exceeded"}
                return JSONResponse({"error": error}, int(arguments[0]), headers=after)
            case "redirect":
                return RedirectResponse("http://127.0.0.1:9/steal")
            case "html":
                return HTMLResponse("<html>Welcome</html>")
            case "wrong_json":
                return JSONResponse({"data": 3, "choices": "none", "results": {}})
            case _:
                return None

    async def _stream(self, text: str, body: Json, fault: str) -> AsyncGenerator[bytes]:
        self.n_running += 1
        is_complete = False
        try:
            async for event in self._events(text, body, fault):
                yield event
            is_complete = True
        finally:
            self.n_running -= 1
            self.n_disconnects += not is_complete

    async def _events(self, text: str, body: Json, fault: str) -> AsyncIterator[bytes]:
        yield b": a comment\n\n"
        if fault == "slow":
            await self.gate.wait()
        is_chat = "messages" in body
        for number, word in enumerate(text.split(" ")):
            if number == 2:
                async for event in self._misbehave(fault):
                    yield event
            yield _event({"choices": [_choice(word + " ", body, is_chat=is_chat)]})
        if fault == "no_finish":
            return
        reason = "content_filter" if fault == "filtered" else "stop"
        if body.get("tools"):
            for piece in ('{"city": ', '"Bern"}'):
                yield _event({"choices": [{"index": 0, "delta": {"tool_calls": [_call(piece)]}}]})
            reason = "tool_calls"
        yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        usage: Json = {
            "prompt_tokens": 7,
            "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 2},
        }
        yield _event({"choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    async def _misbehave(self, fault: str) -> AsyncIterator[bytes]:
        """Do what goes wrong after two words."""
        match fault:
            case "disconnect":
                raise ConnectionError("a fault that the test put here")
            case "broken_sse":
                yield b'data: {"choices": [{"del\n\n'
            case "sse_error":
                yield _event({"error": {"message": "out of memory", "code": 500}})
            case "endless_event":
                for _ in range(10):
                    yield b"data: " + b"x" * 1024 * 1024
            case "slow_middle":
                await self.gate.wait()
            case _:
                pass


def _event(data: Json) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\r\n\r\n"


def _call(arguments: str) -> Json:
    return {
        "index": 0,
        "id": "call_1",
        "function": {"name": "weather", "arguments": arguments},
    }


def _choice(word: str, body: Json, *, is_chat: bool) -> Json:
    choice: Json = {"index": 0, "finish_reason": None}
    if not is_chat:
        choice["text"] = word
        if body.get("logprobs"):
            choice["logprobs"] = {
                "tokens": [word],
                "token_logprobs": [-0.5],
                "top_logprobs": [{word: -0.5, "other": -1.5}],
            }
        return choice
    is_thought = word.startswith("thinking")
    choice["delta"] = {"reasoning_content" if is_thought else "content": word}
    if body.get("logprobs"):
        rival: Json = {"token": "other", "logprob": -1.5}
        token: Json = {"token": word, "logprob": -0.5, "id": 11, "top_logprobs": [rival]}
        choice["logprobs"] = {"content": [token]}
    return choice


@contextlib.asynccontextmanager
async def openai_server(name: str = "a", **fields: object) -> AsyncGenerator[OpenAiServer]:
    """Run a server on a free port of this machine until the block is left."""
    server = OpenAiServer(name=name)
    for field_name, value in fields.items():
        setattr(server, field_name, value)
    routes = [
        Route("/v1/models", server.models),
        Route("/v1/chat/completions", server.chat, methods=["POST"]),
        Route("/v1/completions", server.chat, methods=["POST"]),
        Route("/v1/embeddings", server.embeddings, methods=["POST"]),
    ]
    if server.has_extras:
        routes += [
            Route("/v1/rerank", server.rerank, methods=["POST"]),
            Route("/tokenize", server.tokenize, methods=["POST"]),
        ]
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", server.port))
        server.port = listening.getsockname()[1]
        options = uvicorn.Config(
            Starlette(routes=routes), lifespan="off", ws="none", log_config=None, access_log=False
        )
        options.timeout_graceful_shutdown = 1
        runner = uvicorn.Server(options)
        task = asyncio.create_task(runner.serve(sockets=[listening]))
        while not runner.started:  # noqa: ASYNC110 - uvicorn tells it no other way
            await asyncio.sleep(0.002)
        try:
            yield server
        finally:
            server.gate.set()
            runner.should_exit = True
            await task
