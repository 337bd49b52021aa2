"""RemoteEngine against real servers: luci's own, and llama-server from the pinned tree."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from luci_tui.engine import frames
from luci_tui.errors import ModelLoadError, RequestError
from luci_tui.manager.entries import Dialect, Endpoint
from luci_tui.manager.remote import RemoteEngine
from tests.support import engines
from tests.support.api_models import CALL, ENDLESS_N_CTX, N_CTX, TEMPLATE, TOOL, tiny_shelf
from tests.support.api_server import KEY, serving
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.llama_servers import LONG_CONTEXT, running, server_of

pytestmark = [pytest.mark.native, pytest.mark.asyncio(loop_scope="module")]

SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]  # it may have to be built first
PEERS = ["luci", pytest.param("llama-server", marks=SLOW)]
CALL_START = '<tool_call>\n{"name": "count", "arguments": {"n": '
CHOSEN = {
    "temperature": 0.7,
    "top_k": 30,
    "top_p": 0.9,
    "min_p": 0.01,
    "typical_p": 0.95,
    "repeat_penalty": 1.1,
    "repeat_last_n": 32,
    "frequency_penalty": 0.2,
    "presence_penalty": 0.1,
    "dry_multiplier": 0.5,
    "dry_last_n": 64,
    "xtc_probability": 0.1,
    "seed": 7,
    "logit_bias": ((65, -2.0),),
    "ignore_eos": True,
}
"""An option of each kind, none as it is by itself."""


@dataclass
class Peer:
    """Where the models of one kind of server are."""

    base_urls: dict[str, str] = field(default_factory=dict[str, str])
    """By the name of the model: tiny, tools, endless, embedder, ranker."""
    dialect: Dialect = Dialect.LLAMA_SERVER
    key_env: str = ""

    def endpoint(self, model: str, **fields: object) -> Endpoint:
        """Describe one of its models."""
        values: dict[str, object] = {
            "base_url": self.base_urls[model],
            "model": model,
            "dialect": self.dialect,
            "api_key_env": self.key_env,
        }
        return Endpoint.model_validate({**values, **fields})

    @asynccontextmanager
    async def engine(self, model: str, **fields: object) -> AsyncGenerator[RemoteEngine]:
        """Connect to one of its models."""
        engine = RemoteEngine(self.endpoint(model, **fields))
        try:
            await engines.load(engine, model, n_ctx=0)
            yield engine
        finally:
            await engine.close()


@asynccontextmanager
async def luci(folder: Path) -> AsyncGenerator[Peer]:
    """Serve the tiny models with luci's own HTTP API."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUCI_HOME", str(folder / "home"))
        patch.setenv("PEER_KEY", KEY)
        async with tiny_shelf(folder) as shelf, serving(shelf) as server:
            yield Peer(dict.fromkeys(shelf.leases, server.url), Dialect.LUCI, "PEER_KEY")


@asynccontextmanager
async def llama(folder: Path) -> AsyncGenerator[Peer]:
    """Serve the same models with llama-server, one process for each."""
    template = folder / "template.jinja"
    template.write_text(TEMPLATE)
    chat = write_arch_model(TinyArch.LLAMA, folder / "llama.gguf")
    # llama-server reads the start of an answer back from its text, which a space more would break.
    exact = ("--override-kv", "tokenizer.ggml.add_space_prefix=bool:false")
    with_template = ("--jinja", "--chat-template-file", str(template))
    servers = {
        "tiny": server_of(chat, folder, *with_template, *exact, "-c", str(3 * N_CTX), "-np", "3"),
        "tools": server_of(chat, folder, *with_template, *exact, "-c", str(N_CTX), "-np", "1"),
        "endless": server_of(
            chat, folder, *with_template, *LONG_CONTEXT, "-c", str(ENDLESS_N_CTX), "-np", "1"
        ),
        "embedder": server_of(
            write_arch_model(TinyArch.BERT, folder / "bert.gguf"), folder, "--embeddings"
        ),
        "ranker": server_of(
            write_arch_model(TinyArch.RERANKER, folder / "rank.gguf"), folder, "--rerank"
        ),
    }
    async with running(*servers.values()):
        yield Peer({name: server.base_url for name, server in servers.items()})


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PEERS)
async def peer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Peer]:
    start = luci if request.param == "luci" else llama
    async with start(tmp_path_factory.mktemp("peer")) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tiny(peer: Peer) -> AsyncIterator[RemoteEngine]:
    async with peer.engine("tiny") as engine:
        yield engine


def chat(text: str = "the letters", **fields: object) -> frames.Generate:
    messages = json.dumps([{"role": "user", "content": text}])
    return engines.request(prompt=None, messages_json=messages, **fields)


def sampled(**fields: object) -> dict[str, object]:
    return {"temperature": 0.0, "seed": 1, "ignore_eos": True, **fields}


async def test_server_given_a_chat_and_a_prompt_then_text_usage_and_timings_arrive(
    tiny: RemoteEngine,
) -> None:
    for wanted in (chat(), engines.request()):
        answer = await engines.answer(tiny, wanted)
        assert answer.text
        assert answer.done.finish_reason is frames.FinishReason.LENGTH
        usage, timings = answer.done.usage, answer.done.timings
        assert usage.completion_tokens == 24
        assert usage.prompt_tokens > 1
        assert usage.n_ctx == N_CTX
        assert 0 < timings.prefill_ms < 60_000
        assert 0 < timings.decode_ms < 60_000
        assert 0 < timings.ttft_ms < 60_000


async def test_server_given_the_same_prompt_again_then_its_cache_is_counted(
    tiny: RemoteEngine,
) -> None:
    text = "count the cached letters " * 8
    first = await engines.answer(tiny, chat(text))
    second = await engines.answer(tiny, chat(text))
    assert first.text == second.text
    assert second.done.usage.prompt_tokens == first.done.usage.prompt_tokens
    assert second.done.usage.cached_tokens > second.done.usage.prompt_tokens // 2


async def test_server_given_every_sampler_then_the_same_seed_says_the_same(
    tiny: RemoteEngine,
) -> None:
    for wanted in (chat(sampling=CHOSEN), engines.request(sampling=CHOSEN)):
        first = await engines.answer(tiny, wanted)
        assert (await engines.answer(tiny, wanted)).text == first.text
        assert first.done.seed == 7


async def test_server_given_a_tool_then_a_whole_call_arrives(peer: Peer) -> None:
    async with peer.engine("tools") as engine:
        messages = [{"role": "user", "content": "how many letters"}]
        wanted = engines.request(
            prompt=None,
            messages_json=json.dumps(messages),
            tools_json=json.dumps([TOOL]),
            max_tokens=200,
            sampling={"temperature": 0.0, "seed": 1, "grammar": CALL},
        )
        if peer.dialect is Dialect.LLAMA_SERVER:
            # It takes no grammar beside tools, so the answer begins with the call instead.
            messages.append({"role": "assistant", "content": CALL_START})
            fields = {"messages_json": json.dumps(messages), "tool_choice": "required"}
            fields["sampling"] = wanted.sampling.model_copy(update={"grammar": ""})
            wanted = wanted.model_copy(update=fields)
        answer = await engines.answer(engine, wanted)
        calls = [call for delta in answer.deltas for call in delta.tool_calls]
        assert "".join(call.name for call in calls) == "count"
        assert len({call.index for call in calls}) == 1
        assert any(call.id for call in calls)
        arguments: Any = json.loads("".join(call.arguments for call in calls))
        assert 0 <= arguments["n"] <= 9
        assert answer.done.finish_reason is frames.FinishReason.TOOL_CALLS


async def test_server_given_logprobs_then_each_token_has_its_rivals(tiny: RemoteEngine) -> None:
    for wanted in (
        chat(sampling=sampled(n_logprobs=3)),
        engines.request(sampling=sampled(n_logprobs=3)),
    ):
        answer = await engines.answer(tiny, wanted)
        logprobs = [one for delta in answer.deltas for one in delta.logprobs]
        # llama-server tells one for each piece of whole characters, luci one for each token.
        assert 12 < len(logprobs) <= answer.done.usage.completion_tokens
        for one in logprobs:
            assert one.logprob <= 0
            # Raw completions name rivals by their text, which two tokens may share.
            assert 1 <= len(one.top) <= 3
            assert wanted.messages_json is None or len(one.top) == 3
            assert one.logprob >= max(rival[2] for rival in one.top) - 1e-4


async def test_server_given_a_schema_or_a_grammar_then_the_answer_keeps_to_it(
    tiny: RemoteEngine,
) -> None:
    properties = {"letters": {"type": "integer", "minimum": 0, "maximum": 9}}
    schema = {"type": "object", "properties": properties, "required": ["letters"]}
    by_schema = {"temperature": 0.0, "json_schema": json.dumps(schema)}
    by_grammar = {"temperature": 0.0, "grammar": 'root ::= "yes" | "no"'}
    for make in (chat, engines.request):
        if make is engines.request and tiny.endpoint.dialect is Dialect.LUCI:
            with pytest.raises(RequestError, match="json_schema with a raw prompt"):
                await engines.answer(tiny, make(sampling=by_schema))
        else:
            answer = await engines.answer(tiny, make(sampling=by_schema, max_tokens=100))
            assert 0 <= json.loads(answer.text)["letters"] <= 9
            assert answer.done.finish_reason is frames.FinishReason.STOP
        answer = await engines.answer(tiny, make(sampling=by_grammar, max_tokens=100))
        assert answer.text in {"yes", "no"}


async def test_server_given_a_stop_string_then_it_ends_before_it(tiny: RemoteEngine) -> None:
    for make in (chat, engines.request):
        whole = (await engines.answer(tiny, make(max_tokens=40))).text
        stop = whole[10:12]
        answer = await engines.answer(tiny, make(max_tokens=40, stop=("#none#", stop)))
        assert answer.text == whole[: whole.find(stop)]
        assert answer.done.finish_reason is frames.FinishReason.STOP


async def test_server_given_too_long_a_prompt_then_it_is_refused_as_that(
    tiny: RemoteEngine,
) -> None:
    for make in (chat, engines.request):
        with pytest.raises(RequestError) as caught:
            await engines.answer(tiny, make("the letters " * N_CTX))
        assert caught.value.code == "context_length_exceeded"
    assert (await engines.answer(tiny, chat())).text


@pytest.mark.parametrize(
    "fields",
    [
        {"sampling": {"grammar": "this is no grammar"}},
        {"sampling": {"json_schema": '{"type": "no such type"}'}},
        {"messages_json": '[{"role": "user"}]'},
    ],
)
async def test_server_given_a_bad_request_then_it_is_refused_and_the_server_lives(
    tiny: RemoteEngine, fields: dict[str, object]
) -> None:
    with pytest.raises(RequestError) as caught:
        await engines.answer(tiny, chat(**fields) if "sampling" in fields else bad(**fields))
    assert caught.value.code in {"invalid_grammar", "invalid_schema", "invalid_request"}
    assert "It says: " in caught.value.message
    assert (await engines.answer(tiny, chat())).text


def bad(**fields: object) -> frames.Generate:
    return engines.request(prompt=None, **fields)


async def test_server_given_a_cancel_or_a_reader_that_leaves_then_the_slot_is_free_at_once(
    peer: Peer,
) -> None:
    async with peer.engine("endless") as engine, asyncio.timeout(60):
        for is_cancelled in (True, False):
            stream = engine.generate(chat(max_tokens=-1))
            first = await anext(stream)
            if is_cancelled:
                await engine.ask(frames.Cancel(request_id=first.request_id))
                rest = await engines.Answer([first]).collect(stream)
                assert rest.done.finish_reason is frames.FinishReason.CANCELLED
            await stream.aclose()
            # It has one slot: the next answer begins only when the one before is gone.
            async with aclosing(engine.generate(chat(max_tokens=4))) as following:
                assert isinstance(await anext(following), frames.Delta)


async def test_server_given_more_requests_than_slots_then_all_are_answered(
    tiny: RemoteEngine,
) -> None:
    wanted = [engines.request(f"number {n}") for n in range(12)]
    answers = await asyncio.gather(*(engines.answer(tiny, one) for one in wanted))
    assert [answer.done.usage.completion_tokens for answer in answers] == [24] * 12


async def test_server_given_tokens_then_it_takes_what_it_gave(tiny: RemoteEngine) -> None:
    asked = frames.Tokenize(request_id=0, text="the letters <|im_end|>")
    found = await tiny.ask(asked)
    assert isinstance(found, frames.Tokenized)
    plain = await tiny.ask(asked.model_copy(update={"parse_special": not asked.parse_special}))
    assert isinstance(plain, frames.Tokenized)
    assert plain.tokens != found.tokens
    answer = await engines.answer(tiny, engines.request(prompt=None, tokens=found.tokens))
    assert answer.done.usage.prompt_tokens == len(found.tokens)


async def test_server_given_texts_then_it_embeds_and_ranks_them(peer: Peer) -> None:
    async with peer.engine("embedder") as engine:
        texts = ("the letters", "other words", "the letters")
        found = await engine.ask(frames.Embed(request_id=0, texts=texts))
        assert isinstance(found, frames.Embedded)
        assert found.prompt_tokens > 3
        for vector in found.vectors:
            assert math.hypot(*vector) == pytest.approx(1.0, abs=1e-4)
        assert found.vectors[0] == pytest.approx(found.vectors[2], abs=1e-4)
        assert found.vectors[0] != pytest.approx(found.vectors[1], abs=1e-3)
        with pytest.raises(RequestError):
            await engines.answer(engine, chat())
    async with peer.engine("ranker") as engine:
        command = frames.Rerank(request_id=0, query="the letters", documents=texts)
        ranked = await engine.ask(command)
        assert isinstance(ranked, frames.Reranked)
        assert ranked.scores[0] == pytest.approx(ranked.scores[2], abs=1e-4)
        assert len(set(ranked.scores)) > 1


async def test_server_given_a_wrong_key_or_none_then_the_load_says_so(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not peer.key_env:
        async with peer.engine("tiny", api_key_env="") as engine:
            assert (await engines.answer(engine, chat())).text
        return
    monkeypatch.setenv("WRONG_KEY", "wrong")
    for key_env in ("WRONG_KEY", ""):
        with pytest.raises(ModelLoadError) as caught:
            async with peer.engine("tiny", api_key_env=key_env):
                pass
        assert caught.value.code == "unauthorized"
