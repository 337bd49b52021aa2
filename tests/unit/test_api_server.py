"""The HTTP server itself: where it listens, who is let in, and what happens when clients leave."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest

from luci_tui.engine import frames
from luci_tui.engine.echo import EchoEngine
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import ConfigError, LuciError, ModelLoadError, RequestError, WorkerLostError
from luci_tui.host.openai.server import ApiServer
from tests.support import api_server, scripted_engine
from tests.support.api_server import KEY, Shelf, exchange, raw_post, serving, serving_with
from tests.support.scripted_engine import ScriptedEngine, done, text
from tests.support.waiting import until

CHAT = "/v1/chat/completions"
SECRET = "zebra-crossing-in-a-prompt"
TIMEOUT_S = 10.0


class PacedEngine(EchoEngine):
    """Says one word for each permit, and knows when an answer was given up."""

    def __init__(self) -> None:
        self.permits = asyncio.Semaphore(0)
        self.is_asked = asyncio.Event()
        self.is_over = asyncio.Event()
        self.n_words = 0
        super().__init__(pause=self._pause)

    async def _pause(self) -> None:
        await self.permits.acquire()

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        self.is_asked.set()
        try:
            async for event in super().generate(request):
                self.n_words += isinstance(event, frames.Delta)
                yield event
        finally:
            self.is_over.set()


@dataclass
class Paced:
    """A shelf with a paced engine in it."""

    engine: PacedEngine = field(default_factory=PacedEngine)
    shelf: Shelf = field(default_factory=Shelf)

    async def load(self) -> Paced:
        for _ in range(3):
            self.engine.permits.release()
        await self.shelf.add("echo", self.engine, spec=LoadSpec(model_path="echo"))
        return self


async def echo_shelf() -> Shelf:
    shelf = Shelf()
    await shelf.add("echo", EchoEngine(), spec=LoadSpec(model_path="echo"))
    return shelf


async def scripted_shelf(*script: scripted_engine.Step) -> Shelf:
    shelf = Shelf()
    engine = ScriptedEngine(list(script))
    await shelf.add("echo", engine, spec=LoadSpec(model_path="script.gguf"))
    return shelf


def chat(port: int, content: str = "one two three", **fields: object) -> bytes:
    messages = [{"role": "user", "content": content}]
    return raw_post(port, CHAT, json.dumps({"model": "echo", "messages": messages, **fields}))


def get(port: int, path: str, **headers: str) -> bytes:
    return raw_post(port, path, "", content_type="", content_length="", **headers).replace(
        b"POST", b"GET", 1
    )


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"host": "0.0.0.0"}, "not_loopback"),
        ({"host": "::"}, "not_loopback"),
        ({"host": "192.168.0.1"}, "not_loopback"),
        ({"host": "0.0.0.0", "allow_remote": True, "require_key": False}, "no_key"),
        ({"host": "example.org"}, "bad_address"),
        ({"host": ""}, "bad_address"),
    ],
)
async def test_start_given_an_unsafe_address_then_refuses(
    settings: dict[str, object], code: str
) -> None:
    server = ApiServer(api_server.services(Shelf(), **settings))
    with pytest.raises(ConfigError) as caught:
        await server.start()
    assert caught.value.code == code


async def test_start_given_a_port_in_use_then_says_so() -> None:
    async with serving(Shelf()) as first:
        second = ApiServer(api_server.services(Shelf(), port=first.port))
        with pytest.raises(ConfigError, match=str(first.port)):
            await second.start()


async def test_health_given_no_key_then_answers() -> None:
    async with serving(Shelf()) as server:
        reply = await exchange(server.port, get(server.port, "/health", authorization=""))
    assert (reply.status, reply.json) == (200, {"status": "ok"})


async def test_key_given_as_x_api_key_then_is_let_in() -> None:
    async with serving(await echo_shelf()) as server:
        request = get(server.port, "/v1/models", authorization="", x_api_key=KEY)
        assert (await exchange(server.port, request)).status == 200


@pytest.mark.parametrize(
    ("host", "settings"),
    [
        ("localhost:PORT", {}),
        ("LOCALHOST:PORT", {}),
        ("[::1]:PORT", {}),
        ("luci.example", {"host_names": ("luci.example",)}),
        ("luci.example:443", {"host_names": ("luci.example",)}),
    ],
)
async def test_host_given_a_name_of_ours_then_is_let_in(
    host: str, settings: dict[str, object]
) -> None:
    async with serving(Shelf(), **settings) as server:
        request = get(server.port, "/health", host=host.replace("PORT", str(server.port)))
        assert (await exchange(server.port, request)).status == 200


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://app.example"])
async def test_origin_given_an_allowed_page_then_it_may_read(origin: str) -> None:
    async with serving(await echo_shelf(), origins=("https://app.example",)) as server:
        asked = await exchange(server.port, get(server.port, "/v1/models", origin=origin))
        preflight = get(server.port, CHAT, origin=origin, authorization="")
        told = await exchange(server.port, preflight.replace(b"GET", b"OPTIONS", 1))
    assert asked.headers["access-control-allow-origin"] == origin
    assert (told.status, told.headers["access-control-allow-origin"]) == (204, origin)
    allowed = told.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "x-api-key", "anthropic-version"} <= set(allowed)


@pytest.mark.parametrize(
    ("failure", "status", "code", "has_retry_after"),
    [
        (WorkerLostError("It ended."), 503, "worker_lost", True),
        (ModelLoadError("Too big.", code="out_of_memory"), 503, "out_of_memory", True),
        (ModelLoadError("Broken file."), 500, "model_load", False),
        (RequestError("No number.", code="nan_logits"), 500, "nan_logits", False),
    ],
)
async def test_failure_of_the_model_then_a_status_that_says_whose_it_is(
    failure: LuciError, status: int, code: str, *, has_retry_after: bool
) -> None:
    shelf = await echo_shelf()
    shelf.failure = failure
    async with serving(shelf) as server:
        reply = await exchange(server.port, chat(server.port))
    assert (reply.status, "retry-after" in reply.headers) == (status, has_retry_after)
    error = reply.json["error"]
    assert isinstance(error, dict)
    assert (error["code"], error["message"]) == (code, failure.message)


async def test_failure_in_a_stream_then_the_last_event_tells_of_it() -> None:
    failure = RequestError("The model computed NaN.", code="nan_logits")
    async with serving(await scripted_shelf(text("one"), failure)) as server:
        reply = await exchange(server.port, chat(server.port, stream=True))
    assert reply.status == 200
    assert b'"content":"one"' in reply.body
    assert b'"code":"nan_logits"' in reply.body
    assert b"[DONE]" not in reply.body


async def test_unload_in_an_answer_then_503_and_no_half_answer() -> None:
    cancelled = done(frames.FinishReason.CANCELLED)
    async with serving(await scripted_shelf(text("one"), cancelled)) as server:
        reply = await exchange(server.port, chat(server.port))
    assert (reply.status, b'"code":"cancelled"' in reply.body) == (503, True)


@pytest.mark.parametrize("stream", [True, False])
async def test_client_that_goes_then_the_answer_ends_before_its_next_word(*, stream: bool) -> None:
    paced = await Paced().load()
    async with serving(paced.shelf) as server, asyncio.timeout(TIMEOUT_S):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(chat(server.port, stream=stream))
        await paced.engine.is_asked.wait()
        paced.engine.permits.release()
        writer.close()
        await paced.engine.is_over.wait()
        assert paced.engine.n_words <= 1
        # Its place is free again: the next one is let in, and to its end.
        for _ in range(3):
            paced.engine.permits.release()
        reply = await exchange(server.port, chat(server.port))
    assert reply.status == 200
    assert paced.shelf.n_held == 0


async def test_client_that_goes_while_it_waits_then_it_is_never_asked() -> None:
    paced = await Paced().load()
    services = api_server.services(paced.shelf)
    async with serving_with(services) as server, asyncio.timeout(TIMEOUT_S):
        first = asyncio.create_task(exchange(server.port, chat(server.port)))
        await paced.engine.is_asked.wait()
        paced.engine.is_asked.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(chat(server.port))
        await until(lambda: services.gate.n_queued == 1)
        writer.close()
        await until(lambda: services.gate.n_queued == 0)
        for _ in range(3):
            paced.engine.permits.release()
        assert (await first).status == 200
    assert not paced.engine.is_asked.is_set()


async def test_full_queue_then_a_status_with_retry_after() -> None:
    paced = await Paced().load()
    limits = {"max_queued": 0, "max_queued_per_client": 9}
    async with serving(paced.shelf, **limits) as server, asyncio.timeout(TIMEOUT_S):
        first = asyncio.create_task(exchange(server.port, chat(server.port)))
        await paced.engine.is_asked.wait()
        reply = await exchange(server.port, chat(server.port))
        for _ in range(3):
            paced.engine.permits.release()
        await first
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")


async def test_client_that_does_not_read_then_its_place_is_taken_back() -> None:
    shelf = Shelf()
    engine = ScriptedEngine([text("x" * 1_000_000)] * 40, [text("hi"), done()])
    await shelf.add("echo", engine, spec=LoadSpec(model_path="script.gguf"))
    async with serving(shelf, write_timeout_s=0.05) as server, asyncio.timeout(TIMEOUT_S):
        with socket.create_connection(("127.0.0.1", server.port)) as deaf:
            deaf.sendall(chat(server.port, stream=True))
            reply = await exchange(server.port, chat(server.port))
    assert reply.status == 200
    assert engine.n_cancelled == 1


async def test_stop_given_a_running_answer_then_lets_it_end() -> None:
    paced = await Paced().load()
    server = ApiServer(api_server.services(paced.shelf, drain_s=TIMEOUT_S))
    await server.start()
    answer = asyncio.create_task(exchange(server.port, chat(server.port)))
    await paced.engine.is_asked.wait()
    stopping = asyncio.create_task(server.stop())
    for _ in range(3):
        paced.engine.permits.release()
    await stopping
    assert (await answer).status == 200


async def test_stop_given_an_answer_that_takes_too_long_then_503() -> None:
    paced = await Paced().load()
    server = ApiServer(api_server.services(paced.shelf, drain_s=0.01))
    await server.start()
    answer = asyncio.create_task(exchange(server.port, chat(server.port)))
    await paced.engine.is_asked.wait()
    await server.stop()
    assert (await answer).status == 503
    assert paced.engine.is_over.is_set()


async def test_connections_beyond_the_limit_then_503() -> None:
    async with serving(Shelf(), max_connections=1) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            reply = await exchange(server.port)
        finally:
            writer.close()
    assert (reply.status, b"too_many_connections" in reply.body) == (503, True)


async def test_garbage_behind_a_request_then_that_is_answered_first() -> None:
    async with serving(Shelf()) as server:
        request = get(server.port, "/health", connection="keep-alive")
        reply = await exchange(server.port, request + b"\x00garbage\r\n\r\n")
    assert reply.status == 200
    assert reply.body.startswith(b'{"status":"ok"}')


async def test_empty_lines_after_a_request_then_the_connection_still_ends() -> None:
    async with serving(Shelf(), header_timeout_s=0.1) as server, asyncio.timeout(TIMEOUT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(get(server.port, "/health", connection="keep-alive"))
        await reader.readuntil(b'"ok"}')
        writer.write(b"\r\n")
        assert b"request_timeout" in await reader.read()
        writer.close()


async def test_log_given_requests_of_all_kinds_then_holds_no_prompt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    shelf = await echo_shelf()
    # A script that has run out raises an error that the server does not know.
    await shelf.add("crash", ScriptedEngine(), spec=LoadSpec(model_path=SECRET))
    async with serving(shelf) as server:
        statuses = [
            (await exchange(server.port, request)).status
            for request in (
                chat(server.port, SECRET),
                chat(server.port, SECRET, stream=True),
                chat(server.port, SECRET, temperature=SECRET),
                chat(server.port, SECRET, **{SECRET: 1}),
                chat(server.port, SECRET, model=SECRET),
                chat(server.port, SECRET, model="crash"),
                get(server.port, f"/{SECRET}?q={SECRET}"),
                raw_post(server.port, CHAT, SECRET),
                raw_post(
                    server.port, "/v1/embeddings", json.dumps({"model": "echo", "input": SECRET})
                ),
                f"BAD {SECRET}\r\n\r\n".encode(),
            )
        ]
    assert statuses == [200, 200, 400, 400, 404, 500, 404, 400, 400, 400]
    assert f"POST {CHAT} 200" in caplog.text
    assert SECRET not in caplog.text


async def test_log_given_log_prompts_then_holds_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(await echo_shelf(), log_prompts=True) as server:
        await exchange(server.port, chat(server.port, SECRET))
    assert SECRET in caplog.text


async def test_requests_that_name_hosts_then_the_server_connects_to_none() -> None:
    connected: list[object] = []
    is_watching = True

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if is_watching and event in {"socket.connect", "socket.getaddrinfo"}:
            connected.append(arguments[1] if event == "socket.connect" else arguments[0])

    sys.addaudithook(watch)
    async with serving(await echo_shelf()) as server:
        port = server.port
        for url in ("http://192.0.2.1/a.png", "https://luci.invalid/a.png", "file:///etc/passwd"):
            content = [{"type": "image_url", "image_url": {"url": url}}]
            body = {"model": url, "messages": [{"role": "user", "content": content}]}
            reply = await exchange(server.port, raw_post(server.port, CHAT, json.dumps(body)))
            assert reply.status == 400
    is_watching = False
    assert connected == [("127.0.0.1", port)] * 3


async def test_metrics_given_an_answer_then_count_its_tokens() -> None:
    async with serving(await echo_shelf()) as server:
        await exchange(server.port, chat(server.port, "four"))
        shown = (await exchange(server.port, get(server.port, "/metrics"))).body.decode()
    assert 'luci_completion_tokens_total{model="echo"} 4.0' in shown
    assert f'luci_http_requests_total{{path="{CHAT}",status="200"}} 1.0' in shown
    assert "luci_queued_requests 0.0" in shown
