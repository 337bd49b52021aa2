"""A T5 as people meet it: through the HTTP API, in a worker that dies, and with `luci run`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio

from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.process import WorkerEngine
from luci_tui.errors import WorkerLostError
from tests.support import engines
from tests.support.api_server import KEY, Shelf, serving
from tests.support.arch_models import TinyArch, write_arch_model

pytestmark = pytest.mark.native
over_http = pytest.mark.asyncio(loop_scope="module")

N_CTX = 96
GREEDY: Any = {"model": "t5", "temperature": 0, "extra_body": {"ignore_eos": True}}
PROMPTS = ("list the files", "count lines", "show the large file", "find the small name")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_arch_model(TinyArch.T5, tmp_path_factory.mktemp("models") / "t5.gguf")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(
    model: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[openai.AsyncOpenAI]:
    engine = WorkerEngine(tmp_path_factory.mktemp("t5") / "worker.log")
    shelf = Shelf()
    spec = LoadSpec(model_path=str(model), n_ctx=N_CTX, n_threads=1, n_slots=4)
    try:
        info = await shelf.add("t5", engine, spec=spec)
        assert info.n_slots == 1
        async with (
            serving(shelf) as server,
            openai.AsyncOpenAI(base_url=server.url, api_key=KEY, max_retries=0) as made,
        ):
            yield made
    finally:
        await engine.close()


async def completed(client: openai.AsyncOpenAI, prompt: str) -> str:
    reply = await client.completions.create(prompt=prompt, max_tokens=16, **GREEDY)
    assert reply.usage
    assert reply.usage.completion_tokens == 16
    return reply.choices[0].text


async def chatted(client: openai.AsyncOpenAI, *texts: str) -> str:
    roles = ("user", "assistant")
    messages: Any = [
        {"role": roles[place % 2], "content": text} for place, text in enumerate(texts)
    ]
    reply = await client.chat.completions.create(messages=messages, max_tokens=16, **GREEDY)
    assert reply.choices[0].finish_reason == "length"
    return reply.choices[0].message.content or ""


@over_http
async def test_chat_given_no_template_then_the_last_message_is_the_prompt(
    client: openai.AsyncOpenAI,
) -> None:
    plain = await completed(client, PROMPTS[0])
    assert await chatted(client, PROMPTS[0]) == plain
    assert await chatted(client, "find", "the file", PROMPTS[0]) == plain


@over_http
async def test_requests_given_at_once_then_each_gets_its_own_answer(
    client: openai.AsyncOpenAI,
) -> None:
    alone = [await completed(client, prompt) for prompt in PROMPTS]
    assert len(set(alone)) == len(PROMPTS)
    together = await asyncio.gather(*(completed(client, prompt) for prompt in PROMPTS))
    assert together == alone


@over_http
async def test_completion_given_logprobs_then_the_answer_has_them_and_a_prompt_has_none(
    client: openai.AsyncOpenAI,
) -> None:
    reply = await client.completions.create(prompt=PROMPTS[1], max_tokens=5, logprobs=2, **GREEDY)
    found = reply.choices[0].logprobs
    assert found
    assert found.token_logprobs
    assert len(found.token_logprobs) == 5
    with pytest.raises(openai.BadRequestError, match="does not foretell it"):
        await client.completions.create(
            prompt=PROMPTS[1], max_tokens=1, logprobs=2, echo=True, **GREEDY
        )


@over_http
async def test_request_given_what_such_a_model_cannot_then_a_sentence_says_so(
    client: openai.AsyncOpenAI,
) -> None:
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    messages: Any = [{"role": "user", "content": "find"}]
    with pytest.raises(openai.BadRequestError, match="no chat template that could tell it"):
        await client.chat.completions.create(messages=messages, tools=[tool], **GREEDY)
    with pytest.raises(openai.BadRequestError, match="the encoder reads at most 96 at once") as no:
        await completed(client, "the file " * 60)
    assert no.value.code == "context_length_exceeded"


@over_http
async def test_stream_given_a_client_that_leaves_then_the_next_answer_is_untouched(
    client: openai.AsyncOpenAI,
) -> None:
    alone = await completed(client, PROMPTS[2])
    stream = await client.completions.create(
        prompt=PROMPTS[3], max_tokens=N_CTX, stream=True, **GREEDY
    )
    async for chunk in stream:
        assert chunk.choices[0].text
        break
    await stream.close()
    assert await completed(client, PROMPTS[2]) == alone


async def test_worker_given_a_kill_in_the_middle_then_the_text_is_kept_and_it_answers_again(
    model: Path, tmp_path: Path
) -> None:
    engine = WorkerEngine(tmp_path / "worker.log")
    try:
        await engines.load(engine, str(model))
        whole = await engines.answer(engine, engines.request(PROMPTS[0]))
        stream = engine.generate(engines.request(PROMPTS[0], max_tokens=-1, delivery_ms=0))
        cut = engines.Answer()
        for _ in range(3):
            cut.events.append(await anext(stream))
        assert engine.pid
        os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(WorkerLostError):
            await cut.collect(stream)
        assert cut.tokens[:3] == whole.tokens[:3]
        await engines.load(engine, str(model))
        assert (await engines.answer(engine, engines.request(PROMPTS[0]))).tokens == whole.tokens
    finally:
        await engine.close()


def test_run_given_a_t5_then_it_answers_the_prompt_as_it_is(
    luci: Callable[..., subprocess.CompletedProcess[bytes]], model: Path
) -> None:
    command = ("run", str(model), PROMPTS[0], "--temperature", "0", "--max-tokens", "9", "--json")
    plain = luci(*command)
    assert plain.returncode == 0, plain.stderr
    assert b"no chat template; the prompt is sent as it is" in plain.stderr
    document = json.loads(plain.stdout)
    assert document["usage"]["prompt_tokens"] > 0
    assert json.loads(luci(*command, "--raw").stdout)["text"] == document["text"]


def test_embed_given_a_t5_then_a_sentence_refuses_it(
    luci: Callable[..., subprocess.CompletedProcess[bytes]], model: Path
) -> None:
    refused = luci("embed", str(model), "find")
    assert refused.returncode == 2
    assert b"makes no embeddings" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
