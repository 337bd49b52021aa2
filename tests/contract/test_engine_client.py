from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.engine.echo import EchoEngine
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.process import WorkerEngine
from luci_tui.errors import ModelLoadError, RequestError
from luci_tui.host.host_engine import HostEngine
from tests.support import engines
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.hosts import TALKING, running_host
from tests.support.tiny_vocab import CHATML_TEMPLATE

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGINES = ["echo", pytest.param("worker", marks=pytest.mark.native), "host"]
NewEngine = Callable[[], EngineClient]
N_CTX = 1024


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return str(write_arch_model(TinyArch.LLAMA, path, chat_template=CHATML_TEMPLATE))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def new_engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[NewEngine]:
    folder = tmp_path_factory.mktemp("engine")
    if request.param == "echo":
        yield EchoEngine
    elif request.param == "worker":
        yield lambda: WorkerEngine(folder / "worker.log")
    else:
        async with running_host(folder / "home", TALKING) as client:
            yield lambda: HostEngine(client)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(new_engine: NewEngine, model_path: str) -> AsyncIterator[EngineClient]:
    client = new_engine()
    await engines.load(client, model_path, n_ctx=N_CTX, n_slots=2)
    yield client
    await client.close()


@pytest_asyncio.fixture(loop_scope="module")
async def empty_engine(new_engine: NewEngine) -> AsyncIterator[EngineClient]:
    client = new_engine()
    yield client
    await client.close()


async def test_load_given_a_model_then_progress_rises_and_loaded_is_last(
    empty_engine: EngineClient, model_path: str
) -> None:
    spec = LoadSpec(model_path=model_path, n_ctx=256, n_slots=3, n_threads=1)
    events = [event async for event in empty_engine.load(spec)]
    fractions = [event.fraction for event in events[:-1] if event.kind == "load_progress"]
    assert len(fractions) == len(events) - 1
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions)
    last = events[-1]
    assert isinstance(last, frames.Loaded)
    assert (last.info.n_ctx, last.info.n_slots) == (256, 3)
    assert last.info.model_path == model_path


async def test_load_given_a_loaded_engine_then_replaces_the_model(
    empty_engine: EngineClient, model_path: str
) -> None:
    await engines.load(empty_engine, model_path, n_ctx=256)
    info = await engines.load(empty_engine, model_path, n_ctx=512)
    assert info.n_ctx == 512
    answer = await engines.answer(empty_engine, engines.request())
    assert answer.done.usage.n_ctx == 512


async def test_engine_given_no_model_then_refuses(empty_engine: EngineClient) -> None:
    with pytest.raises(ModelLoadError, match="Load one first") as caught:
        await engines.answer(empty_engine, engines.request())
    assert caught.value.code == "not_loaded"
    with pytest.raises(ModelLoadError):
        await empty_engine.ask(frames.Status(request_id=0))


async def test_close_given_a_second_call_then_nothing_happens(
    empty_engine: EngineClient, model_path: str
) -> None:
    await engines.load(empty_engine, model_path)
    await empty_engine.close()
    await empty_engine.close()
    with pytest.raises(ModelLoadError):
        await engines.answer(empty_engine, engines.request())


async def test_close_given_a_running_request_then_it_ends_as_cancelled(
    empty_engine: EngineClient, model_path: str
) -> None:
    await engines.load(empty_engine, model_path)
    stream = empty_engine.generate(engines.endless(context_policy="shift"))
    answer = engines.Answer([await anext(stream)])
    await empty_engine.close()
    await answer.collect(stream)
    assert answer.done.finish_reason is frames.FinishReason.CANCELLED


async def test_generate_given_a_prompt_then_deltas_add_up_to_the_usage(
    engine: EngineClient,
) -> None:
    answer = await engines.answer(engine, engines.request(request_id=77))
    assert answer.text
    assert len({event.request_id for event in answer.events}) == 1
    assert len(answer.tokens) == answer.done.usage.completion_tokens
    assert answer.done.usage.prompt_tokens > 0
    assert answer.done.usage.n_ctx == N_CTX
    assert answer.done.timings.ttft_ms >= 0


async def test_generate_given_max_tokens_then_ends_with_length(engine: EngineClient) -> None:
    answer = await engines.answer(engine, engines.request(max_tokens=5))
    assert answer.done.finish_reason is frames.FinishReason.LENGTH
    assert 0 < answer.done.usage.completion_tokens <= 5


async def test_generate_given_a_stop_string_then_ends_before_it(engine: EngineClient) -> None:
    whole = (await engines.answer(engine, engines.request(max_tokens=40))).text
    stop = whole[10:12]
    answer = await engines.answer(engine, engines.request(max_tokens=40, stop=("#none#", stop)))
    assert answer.text == whole[: whole.find(stop)]
    assert answer.done.finish_reason is frames.FinishReason.STOP
    assert answer.done.stop_text == stop


async def test_generate_given_the_same_seed_then_says_the_same(engine: EngineClient) -> None:
    sampling = frames.SamplingParams(temperature=1.0, seed=123, ignore_eos=True)
    first = await engines.answer(engine, engines.request(sampling=sampling))
    second = await engines.answer(engine, engines.request(sampling=sampling))
    assert first.text == second.text
    assert first.done.seed == second.done.seed == 123


async def test_generate_given_messages_then_answers(engine: EngineClient) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say the letters."},
    ]
    wanted = engines.request(prompt=None, messages_json=json.dumps(messages))
    answer = await engines.answer(engine, wanted)
    assert answer.text
    assert answer.done.usage.prompt_tokens > 10


async def test_generate_given_tokens_then_counts_them(engine: EngineClient) -> None:
    tokenized = await engine.ask(frames.Tokenize(request_id=0, text="the letters"))
    assert isinstance(tokenized, frames.Tokenized)
    assert tokenized.tokens
    answer = await engines.answer(engine, engines.request(prompt=None, tokens=tokenized.tokens))
    assert answer.done.usage.prompt_tokens == len(tokenized.tokens)


async def test_generate_given_a_closed_iterator_then_the_slot_is_free(
    engine: EngineClient,
) -> None:
    wanted = engines.endless(context_policy="shift")
    async with aclosing(engine.generate(wanted)) as stream:
        assert isinstance(await anext(stream), frames.Delta)
    async with asyncio.timeout(10):
        while not await is_idle(engine):
            pass


async def test_generate_given_a_cancel_then_ends_with_cancelled(engine: EngineClient) -> None:
    stream = engine.generate(engines.endless(context_policy="shift"))
    first = await anext(stream)
    asked = await engine.ask(frames.Cancel(request_id=first.request_id))
    assert isinstance(asked, frames.Acknowledged)
    answer = await engines.Answer([first]).collect(stream)
    assert answer.done.finish_reason is frames.FinishReason.CANCELLED
    assert len(answer.tokens) == answer.done.usage.completion_tokens


async def test_generate_given_more_requests_than_slots_then_all_end(engine: EngineClient) -> None:
    answers = await asyncio.gather(
        *(engines.answer(engine, engines.request(f"number {n}")) for n in range(7))
    )
    assert [answer.done.finish_reason for answer in answers] == [frames.FinishReason.LENGTH] * 7
    assert len({answer.done.request_id for answer in answers}) == 7


async def test_generate_given_a_slow_consumer_then_others_go_on_and_no_text_is_lost(
    engine: EngineClient,
) -> None:
    slow = engine.generate(engines.request(max_tokens=300, delivery_ms=0))
    answer = engines.Answer([await anext(slow)])
    for _ in range(5):
        assert (await engines.answer(engine, engines.request())).text
    await answer.collect(slow)
    assert len(answer.tokens) == answer.done.usage.completion_tokens == 300


async def test_generate_given_too_long_a_prompt_then_refuses_only_this_one(
    engine: EngineClient,
) -> None:
    # The number of tokens is read from these words by the HTTP API's count_tokens.
    words = rf"^The prompt has \d+ tokens and the context .*\b{N_CTX}\b"
    with pytest.raises(RequestError, match=words) as caught:
        await engines.answer(engine, engines.request("the letters " * N_CTX))
    assert caught.value.code == "context_length_exceeded"
    assert (await engines.answer(engine, engines.request())).text


async def test_generate_given_too_long_a_prompt_and_shift_then_reports_what_was_dropped(
    engine: EngineClient,
) -> None:
    wanted = engines.request("the letters " * N_CTX, context_policy="shift")
    answer = await engines.answer(engine, wanted)
    assert answer.done.usage.dropped_tokens > 0
    assert answer.done.usage.prompt_tokens < N_CTX


async def test_generate_given_no_limit_then_the_context_ends_it(engine: EngineClient) -> None:
    answer = await engines.answer(engine, engines.endless())
    assert answer.done.finish_reason is frames.FinishReason.LENGTH
    usage = answer.done.usage
    assert N_CTX * 0.9 < usage.prompt_tokens + usage.completion_tokens <= N_CTX + 1


@pytest.mark.parametrize(
    ("sampling", "code"),
    [
        ({"grammar": "this is no grammar"}, "invalid_grammar"),
        ({"json_schema": "{"}, "invalid_schema"),
    ],
)
async def test_generate_given_a_bad_constraint_then_refuses(
    engine: EngineClient, sampling: dict[str, str], code: str
) -> None:
    with pytest.raises(RequestError) as caught:
        await engines.answer(engine, engines.request(sampling=sampling))
    assert caught.value.code == code


@pytest.mark.parametrize("sources", [{"prompt": None}, {"tokens": (1, 2)}])
async def test_generate_given_no_or_two_prompts_then_refuses(
    engine: EngineClient, sources: dict[str, Any]
) -> None:
    with pytest.raises(RequestError) as caught:
        await engines.answer(engine, engines.request(**sources))
    assert caught.value.code == "invalid_request"


async def test_ask_given_a_text_then_tokenizes_it_the_same_each_time(engine: EngineClient) -> None:
    command = frames.Tokenize(request_id=0, text="the é 漢字 🙂")
    first, second = await engine.ask(command), await engine.ask(command)
    assert isinstance(first, frames.Tokenized)
    assert isinstance(second, frames.Tokenized)
    assert first.tokens == second.tokens
    assert len(first.tokens) > 5
    assert first.request_id != second.request_id


async def test_ask_given_tokens_then_they_read_as_their_text(engine: EngineClient) -> None:
    text = "the letters é 漢字"
    command = frames.Tokenize(request_id=0, text=text, with_pieces=True)
    tokenized = await engine.ask(command)
    assert isinstance(tokenized, frames.Tokenized)
    assert len(tokenized.pieces) == len(tokenized.tokens)
    # Neither engine has a token for these characters, so their bytes come one by one.
    assert sum(isinstance(piece, tuple) for piece in tokenized.pieces) == 2 + 3 + 3
    whole = await engine.ask(frames.Detokenize(request_id=0, tokens=tokenized.tokens))
    assert isinstance(whole, frames.Detokenized)
    assert whole.text.removeprefix(" ") == text
    assert whole.invalid_bytes == ()
    joined = b"".join(
        piece.encode() if isinstance(piece, str) else bytes(piece) for piece in tokenized.pieces
    )
    assert joined.decode() == whole.text


async def test_ask_given_tokens_of_half_a_character_then_its_bytes_are_told(
    engine: EngineClient,
) -> None:
    tokenized = await engine.ask(frames.Tokenize(request_id=0, text="漢"))
    assert isinstance(tokenized, frames.Tokenized)
    half = await engine.ask(frames.Detokenize(request_id=0, tokens=tokenized.tokens[:-1]))
    assert isinstance(half, frames.Detokenized)
    assert half.text.endswith("\ufffd")
    assert bytes(half.invalid_bytes).endswith("漢".encode()[:-1])


@pytest.mark.parametrize("token", [-1, 10**6])
async def test_engine_given_a_token_beyond_the_vocabulary_then_refuses(
    engine: EngineClient, token: int
) -> None:
    with pytest.raises(RequestError, match="vocabulary ends at") as caught:
        await engine.ask(frames.Detokenize(request_id=0, tokens=(5, token)))
    assert caught.value.code == "invalid_token"
    with pytest.raises(RequestError, match="vocabulary ends at"):
        await engines.answer(engine, engines.request(prompt=None, tokens=(5, token)))


async def test_generate_given_prompt_logprobs_then_each_prompt_token_has_one(
    engine: EngineClient,
) -> None:
    sampling = frames.SamplingParams(n_logprobs=1, temperature=0.0, ignore_eos=True)
    answer = await engines.answer(
        engine, engines.request("the é", prompt_logprobs=True, max_tokens=3, sampling=sampling)
    )
    found = [one for delta in answer.deltas for one in delta.prompt_logprobs]
    assert len(found) == answer.done.usage.prompt_tokens
    assert [one.logprob is None for one in found] == [True] + [False] * (len(found) - 1)
    assert all(one.logprob <= 0 for one in found if one.logprob is not None)
    assert [len(one.top) for one in found] == [0] + [1] * (len(found) - 1)
    assert [one.offset for one in found[-2:]] == [4, 4]
    assert sum(len(delta.logprobs) for delta in answer.deltas) == len(answer.tokens)
    # They come before the answer.
    first = next(index for index, delta in enumerate(answer.deltas) if delta.tokens)
    assert not any(delta.prompt_logprobs for delta in answer.deltas[first + 1 :])


async def test_generate_given_no_tokens_to_say_then_the_prompt_is_all(
    engine: EngineClient,
) -> None:
    answer = await engines.answer(engine, engines.request(max_tokens=0))
    assert (answer.text, answer.tokens) == ("", ())
    assert answer.done.finish_reason is frames.FinishReason.LENGTH
    assert answer.done.usage.prompt_tokens > 0
    assert answer.done.usage.completion_tokens == 0


async def test_generate_given_a_suffix_and_no_marks_for_it_then_refuses(
    engine: EngineClient,
) -> None:
    with pytest.raises(RequestError) as caught:
        await engines.answer(engine, engines.request(suffix="end"))
    assert caught.value.code == "no_fill_in"


async def test_ask_given_status_then_counts_tokens(engine: EngineClient) -> None:
    before = await status_of(engine)
    answer = await engines.answer(engine, engines.request())
    after = await status_of(engine)
    assert len(after.slots) == 2
    new_tokens = after.completion_tokens_total - before.completion_tokens_total
    assert new_tokens == answer.done.usage.completion_tokens
    assert after.n_steps > before.n_steps


async def test_ask_given_a_bench_then_one_rate_per_repetition(engine: EngineClient) -> None:
    wanted = frames.Bench(request_id=0, n_prompt=16, n_gen=8, repetitions=2)
    result = await engine.ask(wanted)
    assert isinstance(result, frames.BenchResult)
    assert len(result.prefill_tokens_per_s) == len(result.decode_tokens_per_s) == 2
    assert min(result.prefill_tokens_per_s + result.decode_tokens_per_s) > 0


async def test_ask_given_texts_and_a_generating_model_then_refuses_to_embed(
    engine: EngineClient,
) -> None:
    with pytest.raises(RequestError) as caught:
        await engine.ask(frames.Embed(request_id=0, texts=("the letters",)))
    assert caught.value.code == "invalid_request"


async def test_ask_given_texts_and_an_embedding_model_then_vectors_of_length_one(
    empty_engine: EngineClient, model_path: str
) -> None:
    info = await engines.load(empty_engine, model_path, embedding=True, pooling="mean")
    texts = ("the letters", "other words", "the letters")
    result = await empty_engine.ask(frames.Embed(request_id=0, texts=texts))
    assert isinstance(result, frames.Embedded)
    assert [len(vector) for vector in result.vectors] == [info.n_embd] * 3
    assert result.prompt_tokens > 3
    for vector in result.vectors:
        assert math.hypot(*vector) == pytest.approx(1.0, abs=1e-4)
    assert result.vectors[0] == pytest.approx(result.vectors[2], abs=1e-4)
    assert result.vectors[0] != pytest.approx(result.vectors[1], abs=1e-3)
    tokenized = [await empty_engine.ask(frames.Tokenize(request_id=0, text=t)) for t in texts]
    lists = tuple(one.tokens for one in tokenized if isinstance(one, frames.Tokenized))
    by_tokens = await empty_engine.ask(frames.Embed(request_id=0, token_lists=lists))
    assert isinstance(by_tokens, frames.Embedded)
    assert by_tokens.prompt_tokens == sum(map(len, lists))
    assert by_tokens.vectors[0] == pytest.approx(by_tokens.vectors[2], abs=1e-4)
    with pytest.raises(RequestError) as caught:
        await empty_engine.ask(frames.Embed(request_id=0, token_lists=((5, 10**6),)))
    assert caught.value.code == "invalid_token"
    with pytest.raises(RequestError):
        await engines.answer(empty_engine, engines.request())


async def test_ask_given_a_command_with_its_own_method_then_value_error(
    engine: EngineClient,
) -> None:
    with pytest.raises(ValueError, match="method of its own"):
        await engine.ask(engines.request())


async def status_of(engine: EngineClient) -> frames.StatusReport:
    report = await engine.ask(frames.Status(request_id=0))
    assert isinstance(report, frames.StatusReport)
    return report


async def is_idle(engine: EngineClient) -> bool:
    return all(slot.state == "idle" for slot in (await status_of(engine)).slots)
