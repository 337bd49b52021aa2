"""Hostile and broken requests: each gets its 4xx in the right shape, and the next one an answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio
from fastapi.routing import APIRoute

from luci_tui.engine.echo import EchoEngine
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.host.openai.app import routers
from luci_tui.host.openai.server import ApiServer
from tests.support.api_server import KEY, Reply, Shelf, exchange, raw_post, services, serving

in_one_loop = pytest.mark.asyncio(loop_scope="module")

MAX_BODY_BYTES = 32 * 1024
MAX_HEADER_BYTES = 4096
HI = [{"role": "user", "content": "hi"}]
CHAT = "/v1/chat/completions"
PNG = "iVBORw0KGgo="


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[ApiServer]:
    shelf = Shelf()
    await shelf.add("echo", EchoEngine(), spec=LoadSpec(model_path="echo"))
    limits = {
        "max_body_bytes": MAX_BODY_BYTES,
        "max_header_bytes": MAX_HEADER_BYTES,
        "max_json_depth": 32,
        "max_choices": 4,
        "header_timeout_s": 0.2,
        "body_timeout_s": 0.2,
    }
    async with serving(shelf, **limits) as running:
        yield running


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[int], bytes]
    """Port -> what is sent; the connection then stays open until the server closes it."""
    status: int
    code: str


def chat(**fields: object) -> Callable[[int], bytes]:
    body = json.dumps({"model": "echo", "messages": HI, **fields})
    return lambda port: raw_post(port, CHAT, body)


def messages(*content: object) -> Callable[[int], bytes]:
    return chat(messages=list(content))


def part(**fields: object) -> Callable[[int], bytes]:
    return messages({"role": "user", "content": [fields]})


def image(url: object) -> Callable[[int], bytes]:
    return part(type="image_url", image_url={"url": url})


def body(content: str | bytes, path: str = CHAT) -> Callable[[int], bytes]:
    return lambda port: raw_post(port, path, content)


def to(path: str, **fields: object) -> Callable[[int], bytes]:
    return body(json.dumps({"model": "echo", **fields}), path)


def header(**headers: str) -> Callable[[int], bytes]:
    content = json.dumps({"model": "echo", "messages": HI})
    return lambda port: raw_post(
        port,
        CHAT,
        content,
        **{name: value.replace("PORT", str(port)) for name, value in headers.items()},
    )


def raw(text: str) -> Callable[[int], bytes]:
    return lambda port: text.replace("PORT", str(port)).replace("KEY", KEY).encode("latin-1")


def get(target: str, *lines: str) -> Callable[[int], bytes]:
    head = ("Host: 127.0.0.1:PORT", "Authorization: Bearer KEY", "Connection: close", *lines)
    return raw(f"GET {target} HTTP/1.1\r\n" + "".join(f"{line}\r\n" for line in head) + "\r\n")


def schema(value: object) -> Callable[[int], bytes]:
    named = {"name": "s", "schema": value}
    return chat(response_format={"type": "json_schema", "json_schema": named})


MANY = {"type": "object", "properties": {f"p{number}": {} for number in range(1001)}}
LONG_TOOL = {"type": "function", "function": {"name": "f", "parameters": MANY}}
TOOL = {"type": "function", "function": {"name": "count", "parameters": {"type": "object"}}}
NESTED = "[" * 40 + "]" * 40

CASES = [
    # Who asks, and under which name: DNS rebinding, foreign pages, keys.
    Case("rebinding", header(host="evil.example:PORT"), 403, "host_not_allowed"),
    Case("rebinding without a port", header(host="evil.example"), 403, "host_not_allowed"),
    Case("own address, other port", header(host="127.0.0.1:1"), 403, "host_not_allowed"),
    Case("own name as a prefix", header(host="localhost.evil:PORT"), 403, "host_not_allowed"),
    Case("user in the host", header(host="localhost:PORT@evil"), 403, "host_not_allowed"),
    Case("no host", header(host=""), 403, "host_not_allowed"),
    Case(
        "two hosts",
        get("/v1/models", "Host: evil.example"),
        403,
        "host_not_allowed",
    ),
    Case("HTTP/1.0 without a host", raw("GET /health HTTP/1.0\r\n\r\n"), 403, "host_not_allowed"),
    Case("foreign origin", header(origin="https://evil.example"), 403, "origin_not_allowed"),
    Case("origin null", header(origin="null"), 403, "origin_not_allowed"),
    Case(
        "origin that begins as loopback",
        header(origin="http://localhost.evil.example"),
        403,
        "origin_not_allowed",
    ),
    Case(
        "foreign preflight",
        raw(
            f"OPTIONS {CHAT} HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nOrigin: https://evil.example\r\n"
            "Access-Control-Request-Method: POST\r\n\r\n"
        ),
        403,
        "origin_not_allowed",
    ),
    Case("no key", header(authorization=""), 401, "invalid_api_key"),
    Case("wrong key", header(authorization="Bearer wrong"), 401, "invalid_api_key"),
    Case("half a key", header(authorization=f"Bearer {KEY[:-1]}"), 401, "invalid_api_key"),
    Case("key as Basic", header(authorization=f"Basic {KEY}"), 401, "invalid_api_key"),
    Case("key of bytes", header(authorization="Bearer \xff\xfe"), 401, "invalid_api_key"),
    Case("two keys", header(x_api_key="another-key"), 401, "invalid_api_key"),
    Case(
        "metrics without a key",
        raw("GET /metrics HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n"),
        401,
        "invalid_api_key",
    ),
    # What is sent as what.
    Case("a form", header(content_type="text/plain"), 415, "unsupported_media_type"),
    Case("no content type", header(content_type=""), 415, "unsupported_media_type"),
    Case(
        "multipart",
        header(content_type="multipart/form-data; boundary=x"),
        415,
        "unsupported_media_type",
    ),
    Case(
        "JSON in UTF-16",
        header(content_type="application/json; charset=utf-16"),
        415,
        "unsupported_media_type",
    ),
    Case("a packed body", header(content_encoding="gzip"), 415, "unsupported_media_type"),
    Case("a GET with a body", get("/v1/models", "Content-Length: 2"), 400, "unexpected_body"),
    Case(
        "a method nobody knows",
        raw(
            "PUT /v1/models HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nAuthorization: Bearer KEY\r\n"
            "Content-Length: 0\r\n\r\n"
        ),
        405,
        "method_not_allowed",
    ),
    Case("GET where POST is needed", get(CHAT), 405, "method_not_allowed"),
    Case("no such path", get("/v1/engines"), 404, "not_found"),
    Case("path with a traversal", get("/v1/../../etc/passwd"), 404, "not_found"),
    Case("model id with a traversal", get("/v1/models/../../etc/passwd"), 404, "model_not_found"),
    Case(
        "model id with an encoded traversal",
        get("/v1/models/..%2f..%2fetc%2fpasswd%00"),
        404,
        "model_not_found",
    ),
    Case("model that is a path", chat(model="/etc/passwd"), 404, "model_not_found"),
    Case("model that is a URL", chat(model="http://evil/x.gguf"), 404, "model_not_found"),
    Case("model of many letters", chat(model="m" * 2000), 400, "invalid_value"),
    # The connection.
    Case("absolute target", get("http://evil.example/v1/models"), 400, "invalid_target"),
    Case("authority target", get("evil.example:80"), 400, "invalid_http"),
    Case("CONNECT", raw("CONNECT evil:80 HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "invalid_target"),
    Case("asterisk", raw("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "invalid_target"),
    Case("no HTTP", raw("\x16\x03\x01\x02 hello\r\n\r\n"), 400, "invalid_http"),
    Case("HTTP/9.9", raw("GET / HTTP/9.9\r\nHost: x\r\n\r\n"), 400, "invalid_http"),
    Case(
        "line feed in a header's name",
        raw("GET / HTTP/1.1\r\nHo\nst: x\r\n\r\n"),
        400,
        "invalid_http",
    ),
    Case(
        "two lengths",
        header(content_length="5\r\ncontent-length: 9"),
        400,
        "invalid_http",
    ),
    Case("negative length", header(content_length="-1"), 400, "invalid_http"),
    Case("length beyond all numbers", header(content_length="9" * 40), 400, "invalid_http"),
    Case("length and chunks", header(transfer_encoding="chunked"), 400, "invalid_http"),
    Case(
        "chunk that is no chunk",
        lambda port: raw_post(
            port, CHAT, "zz\r\nhello\r\n", content_length="", transfer_encoding="chunked"
        ),
        400,
        "invalid_http",
    ),
    Case("long header", get("/health", "X: " + "x" * 5000), 431, "headers_too_large"),
    Case("long target", get("/" + "x" * 5000), 431, "headers_too_large"),
    Case("many headers", get("/health", *["A: b"] * 900), 431, "headers_too_large"),
    Case(
        "header without an end", raw("GET / HTTP/1.1\r\nX: " + "x" * 9000), 431, "headers_too_large"
    ),
    Case("silence", raw(""), 408, "request_timeout"),
    Case("slow headers", raw("GET /health HTTP/1.1\r\nHost: lo"), 408, "request_timeout"),
    Case("slow body", header(content_length="9000"), 408, "request_timeout"),
    Case("length over the cap", header(content_length="99999999"), 413, "request_too_large"),
    Case("body over the cap", body("[" + " " * MAX_BODY_BYTES + "]"), 413, "request_too_large"),
    Case(
        "chunks over the cap",
        lambda port: raw_post(
            port,
            CHAT,
            b"8000\r\n" + b" " * 0x8000 + b"\r\n" + b"8000\r\n" + b" " * 0x8000 + b"\r\n",
            content_length="",
            transfer_encoding="chunked",
        ),
        413,
        "request_too_large",
    ),
    # JSON.
    Case("no JSON", body("hello"), 400, "invalid_json"),
    Case("empty body", body(""), 400, "missing_required_parameter"),
    Case("half of JSON", body('{"model": "echo", "mess'), 400, "invalid_json"),
    Case("two JSONs", body("{}{}"), 400, "invalid_json"),
    Case("an array", body("[]"), 400, "invalid_json"),
    Case("no UTF-8", body(b'{"model": "\xff"}'), 400, "invalid_json"),
    Case("a byte order mark", body(b"\xef\xbb\xbf{}"), 400, "invalid_json"),
    Case("deep JSON", body('{"model": ' + NESTED + "}"), 400, "json_too_deep"),
    Case("deep JSON that never ends", body("[" * 30000), 400, "json_too_deep"),
    Case(
        "a key twice",
        body('{"model": "echo", "messages": [], "model": "other"}'),
        400,
        "duplicate_key",
    ),
    Case(
        "a key twice, further in",
        body('{"model": "echo", "messages": [{"role": "user", "role": "system"}]}'),
        400,
        "duplicate_key",
    ),
    Case("NaN", body('{"temperature": NaN}'), 400, "invalid_json"),
    Case("Infinity", body('{"temperature": -Infinity}'), 400, "invalid_json"),
    Case("a number of 5000 digits", body('{"n": ' + "9" * 5000 + "}"), 400, "invalid_json"),
    Case("half a surrogate", body('{"model": "\\ud800", "messages": []}'), 400, "invalid_unicode"),
    Case("half a surrogate as a key", body('{"\\uDFFF": 1}'), 400, "invalid_unicode"),
    Case("halves in the wrong order", body('["\\udc00\\ud800"]'), 400, "invalid_json"),
    Case(
        "half a surrogate further in",
        body('{"model": "echo", "messages": [{"role": "user", "content": "a\\udC00\\uD800b"}]}'),
        400,
        "invalid_unicode",
    ),
    Case(
        "half a surrogate in what is ignored",
        chat(metadata={"note": "\ud800"}),
        400,
        "invalid_unicode",
    ),
    Case("model id of half a surrogate", get("/v1/models/%ed%a0%80"), 404, "model_not_found"),
    # Numbers.
    Case("float beyond floats", body('{"temperature": 1e999}'), 400, "invalid_value"),
    Case("n of zero", chat(n=0), 400, "invalid_value"),
    Case("n over the limit", chat(n=5), 400, "invalid_value"),
    Case("n as a float", chat(n=1.5), 400, "invalid_type"),
    Case("n as a bool", chat(n=True), 400, "invalid_type"),
    Case("n as a text", chat(n="1"), 400, "invalid_type"),
    Case("max_tokens negative", chat(max_tokens=-1), 400, "invalid_value"),
    Case("max_tokens huge", chat(max_tokens=2**31), 400, "invalid_value"),
    Case("max_tokens beyond 64 bits", chat(max_tokens=2**80), 400, "invalid_value"),
    Case("seed beyond 64 bits", chat(seed=2**63), 400, "invalid_value"),
    Case("temperature negative", chat(temperature=-0.1), 400, "invalid_value"),
    Case("temperature as a text", chat(temperature="hot"), 400, "invalid_type"),
    Case("top_p over 1", chat(top_p=1.1), 400, "invalid_value"),
    Case("top_logprobs over 20", chat(logprobs=True, top_logprobs=21), 400, "invalid_value"),
    Case("top_logprobs alone", chat(top_logprobs=2), 400, "invalid_value"),
    Case("top_k negative", chat(top_k=-40), 400, "invalid_value"),
    Case("n_discard", chat(n_discard=-1), 400, "unknown_parameter"),
    Case("bias of a word", chat(logit_bias={"hello": 1}), 400, "invalid_value"),
    Case("bias out of range", chat(logit_bias={"1": 101}), 400, "invalid_value"),
    Case("stop of nothing", chat(stop=""), 400, "invalid_value"),
    Case("17 stops", chat(stop=["a"] * 17), 400, "invalid_value"),
    # What a request may not ask for.
    Case("no messages", to(CHAT), 400, "missing_required_parameter"),
    Case("no model", body(json.dumps({"messages": HI})), 400, "missing_required_parameter"),
    Case("empty messages", messages(), 400, "invalid_value"),
    Case("role of nobody", messages({"role": "root", "content": "x"}), 400, "invalid_value"),
    Case("message that is a text", messages("hi"), 400, "invalid_type"),
    Case("content that is a number", messages({"role": "user", "content": 1}), 400, "invalid_type"),
    Case("no content", messages({"role": "user"}), 400, "missing_required_parameter"),
    Case(
        "tool answer to no call",
        messages({"role": "tool", "content": "x", "tool_call_id": "call_1"}),
        400,
        "invalid_value",
    ),
    Case(
        "user with tool calls",
        messages(
            {
                "role": "user",
                "content": "x",
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
            }
        ),
        400,
        "invalid_value",
    ),
    Case("unknown parameter", chat(model_path="/etc/passwd"), 400, "unknown_parameter"),
    Case("unknown parameter in a message", messages({**HI[0], "x": 1}), 400, "unknown_parameter"),
    Case("web search", chat(web_search_options={}), 400, "unsupported_parameter"),
    Case("sound as an answer", chat(modalities=["audio"]), 400, "unsupported_parameter"),
    Case("schema of many properties", schema(MANY), 400, "invalid_schema"),
    Case("tool of many properties", chat(tools=[LONG_TOOL]), 400, "invalid_schema"),
    Case("schema of many choices", schema({"enum": [*range(5001)]}), 400, "invalid_schema"),
    Case("suffix", to("/v1/completions", prompt="x", suffix="y"), 400, "no_fill_in"),
    Case("best_of", to("/v1/completions", prompt="x", best_of=3), 400, "unsupported_parameter"),
    Case("tool of another type", chat(tools=[{"type": "shell"}]), 400, "invalid_value"),
    Case(
        "tool with a path as its name",
        chat(tools=[{"type": "function", "function": {"name": "../../bin/sh"}}]),
        400,
        "invalid_value",
    ),
    Case("the same tool twice", chat(tools=[TOOL, TOOL]), 400, "invalid_value"),
    Case(
        "choice of an unknown tool",
        chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "rm"}}),
        400,
        "invalid_value",
    ),
    Case("tools required and none there", chat(tool_choice="required"), 400, "invalid_value"),
    Case(
        "schema that is missing",
        chat(response_format={"type": "json_schema"}),
        400,
        "missing_required_parameter",
    ),
    Case("grammar without a root", chat(grammar="a ::= b"), 400, "invalid_grammar"),
    # Media.
    Case("image from a file", image("file:///etc/passwd"), 400, "invalid_image_url"),
    Case("image from the network", image("http://169.254.169.254/x.png"), 400, "invalid_image_url"),
    Case("image from https", image("https://evil.example/x.png"), 400, "invalid_image_url"),
    Case("image that is a page", image("data:text/html;base64,PGI+"), 400, "invalid_image_format"),
    Case("image that is no base64", image("data:image/png;base64,@@@"), 400, "invalid_image"),
    Case("image of nothing", image("data:image/png;base64,"), 400, "invalid_image"),
    Case("JPEG that is a PNG", image(f"data:image/jpeg;base64,{PNG}"), 400, "invalid_image"),
    Case("image nobody can see", image(f"data:image/png;base64,{PNG}"), 400, "media_not_supported"),
    Case(
        "sound that is no sound",
        part(type="input_audio", input_audio={"data": "aGk=", "format": "wav"}),
        400,
        "invalid_audio",
    ),
    Case("a file", part(type="file", file={"file_id": "/etc/passwd"}), 400, "unknown_parameter"),
    Case("part of another type", part(type="video_url"), 400, "invalid_value"),
    # The other endpoints.
    Case("prompt of nothing", to("/v1/completions", prompt=[]), 400, "invalid_value"),
    Case("token below zero", to("/v1/completions", prompt=[-1]), 400, "invalid_value"),
    Case("tokens and texts", to("/v1/completions", prompt=[1, "a"]), 400, "invalid_type"),
    Case("many prompts", to("/v1/completions", prompt=["a"] * 5), 400, "invalid_value"),
    Case("embedding of nothing", to("/v1/embeddings", input=""), 400, "invalid_value"),
    Case(
        "embedding of tokens below zero", to("/v1/embeddings", input=[[-1]]), 400, "invalid_value"
    ),
    Case("embedding of no tokens", to("/v1/embeddings", input=[[1], []]), 400, "invalid_value"),
    Case("embedding of a mixture", to("/v1/embeddings", input=[1, "a"]), 400, "invalid_type"),
    Case("many texts", to("/v1/embeddings", input=["a"] * 2049), 400, "too_many_inputs"),
    Case("no documents", to("/v1/rerank", query="a", documents=[]), 400, "invalid_value"),
    Case("nothing to tokenize", to("/tokenize"), 400, "missing_required_parameter"),
    Case(
        "two words for one thing",
        to("/tokenize", content="a", add_special=True, add_special_tokens=True),
        400,
        "invalid_value",
    ),
    Case("no tokens to read", to("/detokenize"), 400, "missing_required_parameter"),
    Case("tokens that are text", to("/detokenize", tokens=["a"]), 400, "invalid_type"),
    Case("token nobody has", to("/detokenize", tokens=[2**31 - 1]), 400, "invalid_token"),
    Case("token beyond 32 bits", to("/detokenize", tokens=[2**31]), 400, "invalid_value"),
    Case(
        "echo of such a token", to("/v1/completions", prompt=[999], echo=True), 400, "invalid_token"
    ),
    Case("a model that does not embed", to("/v1/embeddings", input="a"), 400, "invalid_request"),
]


def test_table_then_it_has_at_least_sixty_cases_with_names_of_their_own() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


@in_one_loop
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_hostile_request_then_a_clear_refusal_and_the_next_is_answered(
    server: ApiServer, case: Case
) -> None:
    reply = await exchange(server.port, case.make(server.port))
    assert (reply.status, _code(reply)) == (case.status, case.code), reply.body
    good = await exchange(server.port, chat()(server.port))
    assert good.status == 200
    assert b'"content":"hi"' in good.body


@in_one_loop
async def test_half_a_surrogate_then_every_endpoint_refuses_it(server: ApiServer) -> None:
    content = '{"model": "echo", "text": ["\\ud83d and no more"]}'
    paths = post_paths()
    replies = {
        path: await exchange(server.port, raw_post(server.port, path, content)) for path in paths
    }
    assert len(replies) >= 9
    for path, reply in replies.items():
        error = reply.json["error"]
        assert isinstance(error, dict)
        assert (reply.status, path) == (400, path)
        assert "half of a surrogate pair" in error["message"]


@in_one_loop
async def test_whole_surrogate_pair_then_it_is_one_character(server: ApiServer) -> None:
    whole = '{"model": "echo", "messages": [{"role": "user", "content": "\\ud83d\\ude00"}]}'
    reply = await exchange(server.port, raw_post(server.port, CHAT, whole))
    assert (reply.status, "\U0001f600" in reply.body.decode()) == (200, True)


def post_paths() -> list[str]:
    """Every path that takes a body."""
    made = [route for router in routers(services(Shelf())) for route in router.routes]
    return [one.path for one in made if isinstance(one, APIRoute) and "POST" in one.methods]


def _code(reply: Reply) -> str:
    """The error's code, once its shape is right."""
    assert reply.headers["content-type"] == "application/json"
    error = reply.json["error"]
    assert isinstance(error, dict)
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"].endswith(".")
    assert isinstance(error["type"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert "access-control-allow-origin" not in reply.headers
    return error["code"]
