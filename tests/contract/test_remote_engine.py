from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import EndpointBusyError, ModelLoadError, RequestError, WorkerLostError
from luci_tui.manager.balance import BalancedEngine
from luci_tui.manager.engines import engine_maker
from luci_tui.manager.entries import Dialect, Endpoint, ModelEntry
from luci_tui.manager.manager import ModelManager
from luci_tui.manager.remote import RemoteEngine
from tests.support import engines
from tests.support.fake_clock import FakeClock
from tests.support.managers import Models
from tests.support.openai_server import KEY, MODEL, OpenAiServer, openai_server
from tests.support.waiting import until

SPEC = LoadSpec(model_path=MODEL)


@pytest.fixture
async def server() -> AsyncIterator[OpenAiServer]:
    async with openai_server() as running:
        yield running


def endpoint(server: OpenAiServer, **fields: object) -> Endpoint:
    values: dict[str, object] = {"base_url": server.base_url, "model": MODEL}
    return Endpoint.model_validate({**values, **fields})


async def connect(server: OpenAiServer, **fields: object) -> RemoteEngine:
    engine = RemoteEngine(endpoint(server, **fields))
    async for _ in engine.load(SPEC):
        pass
    return engine


def chat(text: str = "hello you", **fields: object) -> frames.Generate:
    messages = json.dumps([{"role": "user", "content": text}])
    return frames.Generate.model_validate({"request_id": 0, "messages_json": messages, **fields})


async def test_remote_given_a_chat_then_it_streams_with_usage(server: OpenAiServer) -> None:
    engine = await connect(server)
    try:
        answer = await engines.answer(engine, chat("thinking hello you"))
        reasoning = "".join(delta.reasoning for delta in answer.deltas)
        assert (answer.text, reasoning) == ("a: hello you ", "thinking ")
        assert answer.done.finish_reason is frames.FinishReason.STOP
        usage = answer.done.usage
        assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (7, 2, 3)
        assert usage.n_ctx == 4096
        assert answer.done.timings.ttft_ms > 0
        body = server.bodies[0]
        assert body["messages"] == [{"role": "user", "content": "thinking hello you"}]
        assert (body["model"], body["temperature"], body["top_p"]) == (MODEL, 0.8, 0.95)
        assert not set(body) & {"top_k", "min_p", "max_tokens", "seed", "frequency_penalty"}
        report = await engine.ask(frames.Status(request_id=0))
        assert isinstance(report, frames.StatusReport)
        assert (report.prompt_tokens_total, report.completion_tokens_total) == (5, 3)
    finally:
        await engine.close()


async def test_remote_given_an_image_then_it_arrives_as_it_is(server: OpenAiServer) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "what"}, image]}]
    engine = await connect(server)
    try:
        wanted = frames.Generate(request_id=0, messages_json=json.dumps(messages))
        await engines.answer(engine, wanted)
        assert server.bodies[0]["messages"] == messages
    finally:
        await engine.close()


async def test_remote_given_tools_logprobs_and_a_schema_then_they_arrive(
    server: OpenAiServer,
) -> None:
    engine = await connect(server)
    wanted = chat(
        tools_json='[{"type": "function", "function": {"name": "weather"}}]',
        tool_choice="required",
        max_tokens=9,
        stop=("x",),
        sampling={"n_logprobs": 1, "json_schema": '{"type": "object"}', "seed": 5},
    )
    answer = await engines.answer(engine, wanted)
    calls = [call for delta in answer.deltas for call in delta.tool_calls]
    assert "".join(call.arguments for call in calls) == '{"city": "Bern"}'
    assert {(call.id, call.name) for call in calls} == {("call_1", "weather")}
    assert answer.done.finish_reason is frames.FinishReason.TOOL_CALLS
    assert answer.done.seed == 5
    logprobs = [one for delta in answer.deltas for one in delta.logprobs]
    assert (logprobs[0].token, logprobs[0].text, logprobs[0].logprob) == (11, "a: ", -0.5)
    assert logprobs[0].top == ((-1, "other", -1.5),)
    body = server.bodies[0]
    assert (body["max_tokens"], body["stop"], body["seed"]) == (9, ["x"], 5)
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 1)
    schema = {"name": "answer", "strict": True, "schema": {"type": "object"}}
    assert body["response_format"] == {"type": "json_schema", "json_schema": schema}
    await engine.close()


async def test_remote_given_a_raw_prompt_then_completions_answer(server: OpenAiServer) -> None:
    engine = await connect(server)
    wanted = engines.request("one two", sampling={"temperature": 0, "n_logprobs": 2})
    answer = await engines.answer(engine, wanted)
    assert answer.text == "a: one two "
    logprobs = [one for delta in answer.deltas for one in delta.logprobs]
    assert logprobs[0].top == ((-1, "a: ", -0.5), (-1, "other", -1.5))
    assert server.bodies[0]["prompt"] == "one two"
    await engines.answer(engine, wanted.model_copy(update={"suffix": " three"}))
    assert server.bodies[1]["suffix"] == " three"
    await engine.close()


@pytest.mark.parametrize(
    ("dialect", "fields", "named"),
    [
        ("openai", {"sampling": {"top_k": 3}}, ["top_k"]),
        ("openai", {"sampling": {"min_p": 0.2, "ignore_eos": True}}, ["min_p", "ignore_eos"]),
        ("openai", {"sampling": {"grammar": "root ::= x"}}, ["grammar"]),
        ("openai", {"enable_thinking": False}, ["enable_thinking"]),
        ("openai", {"context_policy": "shift", "n_keep": 4}, ["context_policy", "n_keep"]),
        ("openai", {"cache_prompt": False, "loras": []}, ["cache_prompt", "loras"]),
        (
            "vllm",
            {"sampling": {"mirostat": 2, "dry_multiplier": 1}},
            ["mirostat", "dry_multiplier"],
        ),
        ("llama-server", {"context_policy": "shift"}, ["context_policy=shift"]),
        ("llama-server", {"prompt_logprobs": True, "suffix": "x"}, ["prompt_logprobs", "suffix"]),
    ],
)
async def test_remote_given_an_option_without_a_word_then_it_is_refused_by_name(
    server: OpenAiServer, dialect: str, fields: dict[str, object], named: list[str]
) -> None:
    engine = await connect(server, dialect=dialect)
    with pytest.raises(RequestError) as caught:
        await engines.answer(engine, chat(**fields))
    assert caught.value.code == "unsupported_by_endpoint"
    assert [name for name in named if name not in caught.value.message] == []
    assert server.bodies == []
    await engine.close()


async def test_remote_given_its_dialect_then_the_options_have_its_words(
    server: OpenAiServer,
) -> None:
    sampling = {"top_k": 0, "repeat_penalty": 1.5, "grammar": "root ::= x", "ignore_eos": True}
    wanted = chat(sampling=sampling, enable_thinking=False)
    for dialect in ("vllm", "llama-server"):
        engine = await connect(server, dialect=dialect)
        await engines.answer(engine, wanted)
        await engine.close()
    vllm, llama = server.bodies
    assert (vllm["top_k"], vllm["repetition_penalty"], vllm["ignore_eos"]) == (-1, 1.5, True)
    assert vllm["structured_outputs"] == {"grammar": "root ::= x"}
    assert (llama["top_k"], llama["repeat_penalty"], llama["grammar"]) == (0, 1.5, "root ::= x")
    assert llama["cache_prompt"] is True
    for body in (vllm, llama):
        assert body["chat_template_kwargs"] == {"enable_thinking": False}


async def test_remote_given_texts_then_embeds_reranks_and_tokenizes(server: OpenAiServer) -> None:
    engine = await connect(server, dialect=Dialect.LLAMA_SERVER)
    embedded = await engine.ask(frames.Embed(request_id=0, texts=("abcd", "")))
    assert isinstance(embedded, frames.Embedded)
    assert embedded.vectors[0] == pytest.approx((0.8, 0.6))
    assert [math.hypot(*vector) for vector in embedded.vectors] == pytest.approx([1, 1])
    plain = await engine.ask(frames.Embed(request_id=0, texts=("abcd",), normalize=False))
    assert isinstance(plain, frames.Embedded)
    assert plain.vectors == ((4.0, 3.0),)
    of_tokens = await engine.ask(frames.Embed(request_id=0, token_lists=((1, 2, 3), (4,))))
    assert isinstance(of_tokens, frames.Embedded)
    assert server.bodies[-1]["input"] == [[1, 2, 3], [4]]
    with pytest.raises(RequestError, match="with_pieces"):
        await engine.ask(frames.Tokenize(request_id=0, text="ab", with_pieces=True))
    ranked = await engine.ask(frames.Rerank(request_id=0, query="q", documents=("abc", "a")))
    assert isinstance(ranked, frames.Reranked)
    assert (ranked.scores, ranked.prompt_tokens) == ((3.0, 1.0), 9)
    tokens = await engine.ask(frames.Tokenize(request_id=0, text="ab"))
    assert isinstance(tokens, frames.Tokenized)
    assert tokens.tokens == (97, 98)
    await engine.close()


async def test_remote_given_a_server_without_extras_then_says_unsupported() -> None:
    async with openai_server(has_extras=False) as server:
        rerank = frames.Rerank(request_id=0, query="q", documents=("a",))
        tokenize = frames.Tokenize(request_id=0, text="a")
        for dialect in (Dialect.OPENAI, Dialect.LLAMA_SERVER):
            engine = await connect(server, dialect=dialect)
            for command in (rerank, tokenize, frames.Bench(request_id=0)):
                with pytest.raises(RequestError) as caught:
                    await engine.ask(command)
                assert caught.value.code == "unsupported_by_endpoint"
            await engine.close()


@pytest.mark.parametrize(
    ("fault", "error", "code", "words", "n_words"),
    [
        ("status:400", RequestError, "context_length_exceeded", "It says: no [31m luck", 0),
        ("status:401", RequestError, "unauthorized", "refuses the key", 0),
        ("status:404", RequestError, "context_length_exceeded", "refuses the request", 0),
        ("status:429:7", EndpointBusyError, "endpoint_busy", "Try again in 7 s", 0),
        ("status:503", EndpointBusyError, "endpoint_busy", "Try again later", 0),
        ("status:500", RequestError, "endpoint_failed", "failed (500)", 0),
        ("redirect", RequestError, "redirected", "does not follow", 0),
        ("html", RequestError, "broken_endpoint", "text/html", 0),
        ("wrong_json", RequestError, "broken_endpoint", "not a stream", 0),
        ("broken_sse", RequestError, "broken_endpoint", "in an event of the stream", 2),
        ("endless_event", RequestError, "broken_endpoint", "more than", 2),
        ("sse_error", RequestError, "endpoint_failed", "out of memory", 2),
        ("filtered", RequestError, "content_filter", "content_filter", 4),
        ("disconnect", WorkerLostError, "endpoint_lost", "broke off", 2),
        ("no_finish", WorkerLostError, "endpoint_lost", "in the middle", 4),
    ],
)
async def test_remote_given_a_fault_then_one_typed_sentence_and_the_text_so_far(
    server: OpenAiServer, fault: str, error: type[Exception], code: str, words: str, n_words: int
) -> None:
    engine = await connect(server)
    server.faults = [fault]
    answer = engines.Answer()
    with pytest.raises(error) as caught:
        await answer.collect(engine.generate(chat("one two three")))
    assert type(caught.value) is error
    assert caught.value.code == code  # type: ignore[attr-defined]
    assert words in str(caught.value)
    assert server.base_url in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(answer.text.split()) == n_words
    assert (await engines.answer(engine, chat())).text == "a: hello you "
    await engine.close()


@pytest.mark.parametrize("command", ["embed", "rerank"])
async def test_remote_given_wrong_json_then_names_the_field(
    server: OpenAiServer, command: str
) -> None:
    engine = await connect(server, dialect=Dialect.LLAMA_SERVER)
    server.faults = ["wrong_json"]
    wanted: frames.Command = frames.Embed(request_id=0, texts=("a",))
    if command == "rerank":
        wanted = frames.Rerank(request_id=0, query="q", documents=("a",))
    with pytest.raises(RequestError, match=r"(data|results): .* in its answer") as caught:
        await engine.ask(wanted)
    assert caught.value.code == "broken_endpoint"
    await engine.close()


async def test_remote_given_silence_then_gives_up_in_time(server: OpenAiServer) -> None:
    engine = await connect(server, idle_s=0.3)
    server.faults = ["slow"]
    with pytest.raises(WorkerLostError, match="said nothing") as caught:
        await engines.answer(engine, chat())
    assert caught.value.code == "endpoint_timeout"
    await engine.close()


async def test_remote_given_a_closed_iterator_or_a_cancel_then_the_server_sees_it(
    server: OpenAiServer,
) -> None:
    engine = await connect(server)
    server.faults = ["slow_middle", "slow_middle"]
    stream = engine.generate(chat("one two three"))
    await anext(stream)
    await stream.aclose()
    await until(lambda: server.n_disconnects == 1)
    stream = engine.generate(chat("one two three"))
    first = await anext(stream)
    await engine.ask(frames.Cancel(request_id=first.request_id))
    rest = [event async for event in stream]
    assert isinstance(rest[-1], frames.Done)
    assert rest[-1].finish_reason is frames.FinishReason.CANCELLED
    await until(lambda: server.n_disconnects == 2)
    await engine.close()


async def test_remote_given_a_key_then_only_the_configured_address_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    key_file.chmod(0o600)
    monkeypatch.setenv("FAR_KEY", KEY)
    # httpx would send requests and key to a proxy of the environment.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with openai_server(needs_key=True) as server:
        for fields in ({"api_key_file": str(key_file)}, {"api_key_env": "FAR_KEY"}):
            engine = await connect(server, **fields)
            assert (await engines.answer(engine, chat())).text == "a: hello you "
            assert KEY not in repr(engine.endpoint)
            await engine.close()
        assert server.headers[-1]["authorization"] == f"Bearer {KEY}"
        with pytest.raises(ModelLoadError, match="refuses the key") as caught:
            await connect(server)
        assert caught.value.code == "unauthorized"


async def test_remote_given_a_bad_key_then_says_what_to_do(
    server: OpenAiServer, tmp_path: Path
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY)
    key_file.chmod(0o640)
    with pytest.raises(ModelLoadError, match="chmod 600"):
        await connect(server, api_key_file=str(key_file))
    key_file.write_text("two keys")
    key_file.chmod(0o600)
    with pytest.raises(ModelLoadError, match="nothing else") as caught:
        await connect(server, api_key_file=str(key_file))
    assert "two keys" not in caught.value.message
    with pytest.raises(ModelLoadError, match="cannot be read"):
        await connect(server, api_key_file=str(tmp_path / "none"))
    with pytest.raises(ModelLoadError, match="UNSET_KEY"):
        await connect(server, api_key_env="UNSET_KEY")
    assert server.headers == []


async def test_remote_given_no_server_or_no_model_then_the_load_fails(
    server: OpenAiServer,
) -> None:
    with pytest.raises(ModelLoadError, match=f"It has {MODEL}") as caught:
        await connect(server, model="other")
    assert caught.value.code == "unknown_model"
    with pytest.raises(ModelLoadError, match="cannot be reached") as caught:
        await connect(OpenAiServer(port=1))
    assert caught.value.code == "endpoint_unreachable"
    with pytest.raises(ModelLoadError, match="Load one first"):
        await engines.answer(RemoteEngine(endpoint(server)), chat())
    server.faults = ["status:404"]
    engine = await connect(server)
    assert (await engines.answer(engine, chat())).text == "a: hello you "
    await engine.close()


async def test_balanced_given_two_servers_then_the_least_loaded_one_answers() -> None:
    async with openai_server("a") as a, openai_server("b") as b:
        engine = BalancedEngine([RemoteEngine(endpoint(one)) for one in (a, b)])
        assert [event.kind async for event in engine.load(SPEC)] == ["load_progress", "loaded"]
        a.faults, b.faults = ["slow_middle"] * 2, ["slow_middle"]
        running = [asyncio.create_task(engines.answer(engine, chat("1 2 3"))) for _ in range(3)]
        await until(lambda: (a.n_running, b.n_running) == (2, 1))
        assert (await engines.answer(engine, chat())).text.startswith("b: ")
        b.faults = ["slow_middle"]
        stream = engine.generate(chat("1 2 3"))
        first = await anext(stream)
        await engine.ask(frames.Cancel(request_id=first.request_id))
        ends = [event async for event in stream if isinstance(event, frames.Done)]
        assert [end.finish_reason for end in ends] == [frames.FinishReason.CANCELLED]
        a.gate.set()
        b.gate.set()
        answers = await asyncio.gather(*running)
        assert sorted(answer.text[0] for answer in answers) == ["a", "a", "b"]
        await engine.close()


@pytest.mark.parametrize(
    "fault", ["status:429:30", "status:503", "status:500", "html", "wrong_json"]
)
async def test_balanced_given_a_failure_before_the_first_token_then_another_answers(
    fault: str,
) -> None:
    async with openai_server("a") as a, openai_server("b") as b:
        clock = FakeClock()
        engine = BalancedEngine([RemoteEngine(endpoint(one)) for one in (a, b)], clock)
        async for _ in engine.load(SPEC):
            pass
        a.faults = [fault]
        answer = await engines.answer(engine, chat())
        assert answer.text == "b: hello you "
        assert (await engines.answer(engine, chat())).text == "b: hello you "
        assert len(a.bodies) == 1
        await clock.move(30)
        assert (await engines.answer(engine, chat())).text == "a: hello you "
        await engine.close()


async def test_balanced_given_a_loss_in_the_middle_then_it_fails_and_does_not_repeat() -> None:
    async with openai_server("a") as a, openai_server("b") as b:
        engine = BalancedEngine([RemoteEngine(endpoint(one)) for one in (a, b)], FakeClock())
        async for _ in engine.load(SPEC):
            pass
        a.faults = ["disconnect"]
        answer = engines.Answer()
        with pytest.raises(RequestError, match="broke off"):
            await answer.collect(engine.generate(chat("one two three")))
        assert answer.text == "a: one "
        assert b.bodies == []
        b.faults = ["disconnect"]
        with pytest.raises(WorkerLostError, match="broke off"):
            await engines.answer(engine, chat("one two three"))
        await engine.close()


async def test_balanced_given_a_refused_request_then_no_other_server_is_asked() -> None:
    async with openai_server("a") as a, openai_server("b") as b:
        engine = BalancedEngine([RemoteEngine(endpoint(one)) for one in (a, b)], FakeClock())
        async for _ in engine.load(SPEC):
            pass
        a.faults = ["status:400"]
        with pytest.raises(RequestError, match="refuses the request"):
            await engines.answer(engine, chat())
        assert b.bodies == []
        assert (await engines.answer(engine, chat())).text.startswith("a: ")
        await engine.close()


async def test_balanced_given_a_server_that_comes_later_then_it_joins() -> None:
    clock = FakeClock()
    async with openai_server("b") as b:
        async with openai_server("a") as a:
            port = a.port
        there = [RemoteEngine(endpoint(one)) for one in (OpenAiServer(port=port), b)]
        engine = BalancedEngine(there, clock)
        async for _ in engine.load(SPEC):
            pass
        assert (await engines.answer(engine, chat())).text.startswith("b: ")
        async with openai_server("a", port=port):
            await clock.move(60)
            assert (await engines.answer(engine, chat())).text.startswith("a: ")
        await engine.close()


async def test_balanced_given_no_server_then_every_reason_is_told() -> None:
    engine = BalancedEngine([RemoteEngine(endpoint(OpenAiServer(port=port))) for port in (1, 2)])
    with pytest.raises(ModelLoadError, match=r":1/v1 cannot be reached.*:2/v1 cannot be") as caught:
        async for _ in engine.load(SPEC):
            pass
    assert caught.value.code == "endpoint_unreachable"
    await engine.close()


async def test_manager_given_a_remote_model_that_is_lost_then_the_fallback_answers(
    tmp_path: Path,
) -> None:
    models = Models(tmp_path)
    async with openai_server("b") as b:
        async with openai_server("a") as a:
            models.entries["far"] = ModelEntry(
                name="far", endpoints=(endpoint(a),), fallbacks=("near",)
            )
            models.entries["near"] = ModelEntry(name="near", endpoints=(endpoint(b),))
            manager = ModelManager(models, engine_maker(tmp_path))
            async with manager.lease("far") as lease:
                assert (await engines.answer(lease.engine, chat())).text == "a: hello you "
                a.faults = ["disconnect"]
                with pytest.raises(WorkerLostError):
                    await engines.answer(lease.engine, chat("one two three"))
        async with manager.lease("far") as lease:
            assert lease.entry.name == "near"
            assert (await engines.answer(lease.engine, chat())).text == "b: hello you "
        await manager.close()
