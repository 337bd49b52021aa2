"""The `openai` client against a real server over a real worker with tiny models."""

from __future__ import annotations

import base64
import struct
from typing import Any

import openai
import pytest

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.host.openai.server import ApiServer
from tests.support.api_models import ENDLESS_N_CTX, N_CTX
from tests.support.api_server import Shelf
from tests.support.openai_use import GREEDY, HI, chunks

pytestmark = [pytest.mark.native, pytest.mark.asyncio(loop_scope="module")]


async def test_models_then_are_listed_and_found_by_name_and_alias(
    client: openai.AsyncOpenAI,
) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed == ["tiny", "tools", "endless", "thinker", "embedder", "ranker"]
    assert (await client.models.retrieve("tiny")).id == "tiny"
    assert (await client.models.retrieve("my-tiny")).id == "tiny"
    with pytest.raises(openai.NotFoundError, match="Did you mean tiny") as caught:
        await client.models.retrieve("tinny")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_chat_then_text_usage_and_reason_are_there(client: openai.AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(model="tiny", messages=HI, **GREEDY)
    choice = reply.choices[0]
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason == "length"
    assert reply.usage
    assert reply.usage.completion_tokens == 8
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 8
    again = await client.chat.completions.create(model="tiny", messages=HI, **GREEDY)
    assert again.choices[0].message.content == choice.message.content
    assert again.usage
    assert again.usage.prompt_tokens_details
    assert again.usage.prompt_tokens_details.cached_tokens


async def test_stream_then_role_comes_first_and_usage_last(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="tiny", messages=HI, **GREEDY)
    stream = await client.chat.completions.create(
        model="tiny", messages=HI, stream=True, stream_options={"include_usage": True}, **GREEDY
    )
    got = await chunks(stream)
    assert got[0].choices[0].delta.role == "assistant"
    assert got[0].choices[0].delta.content == ""
    text = "".join(chunk.choices[0].delta.content or "" for chunk in got[:-1])
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in got[:-1]] == [None] * (len(got) - 2) + ["length"]
    assert got[-1].choices == []
    assert got[-1].usage
    assert got[-1].usage.completion_tokens == 8
    assert len({chunk.id for chunk in got}) == 1


async def test_chat_given_n_and_a_seed_then_answers_differ_and_come_again(
    client: openai.AsyncOpenAI,
) -> None:
    options: Any = {"n": 3, "seed": 7, "temperature": 2, "max_tokens": 12}
    replies = [
        await client.chat.completions.create(model="tiny", messages=HI, **options) for _ in range(2)
    ]
    first, second = ([choice.message.content for choice in reply.choices] for reply in replies)
    assert first == second
    assert len(set(first)) > 1
    stream = await client.chat.completions.create(model="tiny", messages=HI, stream=True, **options)
    texts = ["", "", ""]
    for chunk in await chunks(stream):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == first
    usage = replies[0].usage
    assert usage
    assert usage.completion_tokens <= 36
    alone = await client.chat.completions.create(model="tiny", messages=HI, **GREEDY)
    assert alone.usage
    assert usage.prompt_tokens == alone.usage.prompt_tokens


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_given_logprobs_then_each_token_has_its_rivals(
    client: openai.AsyncOpenAI, *, stream: bool
) -> None:
    options: Any = {"logprobs": True, "top_logprobs": 2, **GREEDY}
    if stream:
        created = await client.chat.completions.create(
            model="tiny", messages=HI, stream=True, **options
        )
        found = [
            item
            for chunk in await chunks(created)
            if chunk.choices[0].logprobs
            for item in chunk.choices[0].logprobs.content or []
        ]
    else:
        reply = await client.chat.completions.create(model="tiny", messages=HI, **options)
        assert reply.choices[0].logprobs
        found = reply.choices[0].logprobs.content or []
    assert len(found) == 8
    for item in found:
        assert item.token == item.top_logprobs[0].token
        assert item.top_logprobs[0].logprob >= item.top_logprobs[1].logprob
        assert item.bytes == list(item.token.encode())


async def test_chat_given_stops_then_ends_before_them(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="tiny", messages=HI, **GREEDY)
    text = whole.choices[0].message.content or ""
    for stop in (text[2:4], ["never said", "nor this", "nor that", "and not this", text[2:4]]):
        reply = await client.chat.completions.create(model="tiny", messages=HI, stop=stop, **GREEDY)
        assert reply.choices[0].message.content == text[: text.index(text[2:4])]
        assert reply.choices[0].finish_reason == "stop"


async def test_chat_given_a_bias_then_the_token_is_not_said(
    client: openai.AsyncOpenAI, server: ApiServer
) -> None:
    whole = await client.chat.completions.create(model="tiny", messages=HI, logprobs=True, **GREEDY)
    assert whole.choices[0].logprobs
    spoken = [entry.token for entry in whole.choices[0].logprobs.content or []]
    # A token that is half of a character cannot be written, and so not be looked up.
    said = next(text.strip() for text in spoken if text.strip().isascii() and text.strip())
    ids: Any = await client.post(
        f"http://127.0.0.1:{server.port}/tokenize",
        cast_to=object,
        body={"model": "tiny", "content": said},
    )
    biased = await client.chat.completions.create(
        model="tiny", messages=HI, logit_bias={str(ids["tokens"][-1]): -100}, **GREEDY
    )
    assert biased.choices[0].message.content != whole.choices[0].message.content


async def test_chat_given_all_sampling_options_then_they_are_taken(
    client: openai.AsyncOpenAI,
) -> None:
    reply = await client.chat.completions.create(
        model="tiny",
        messages=[{"role": "developer", "content": "short"}, *HI],
        temperature=0.7,
        top_p=0.9,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        max_completion_tokens=4,
        seed=-1,
        user="somebody",
        metadata={"a": "b"},
        store=False,
        service_tier="auto",
        reasoning_effort="none",
        extra_body={
            "top_k": 10,
            "min_p": 0.1,
            "typical_p": 0.9,
            "top_n_sigma": 2.0,
            "xtc_probability": 0.1,
            "xtc_threshold": 0.2,
            "repeat_penalty": 1.1,
            "repeat_last_n": 32,
            "dry_multiplier": 0.5,
            "dry_base": 1.5,
            "dry_allowed_length": 3,
            "dry_last_n": 64,
            "dynatemp_range": 0.1,
            "dynatemp_exponent": 1.5,
            "mirostat": 0,
            "mirostat_tau": 4.0,
            "mirostat_eta": 0.2,
            "ignore_eos": True,
            "cache_prompt": True,
        },
    )
    assert reply.usage
    assert reply.usage.completion_tokens == 4


async def test_chat_given_text_parts_then_they_are_one_text(client: openai.AsyncOpenAI) -> None:
    parts: Any = [{"type": "text", "text": "the"}, {"type": "text", "text": "letters"}]
    split = await client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": parts}], **GREEDY
    )
    whole = await client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "the\nletters"}], **GREEDY
    )
    assert split.choices[0].message.content == whole.choices[0].message.content


async def test_chat_given_an_image_then_the_model_cannot_see_it(
    client: openai.AsyncOpenAI,
) -> None:
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    parts: Any = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}]
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": parts}]
        )
    assert caught.value.code == "media_not_supported"
    assert caught.value.param == "messages"


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_given_too_long_a_prompt_then_the_context_is_named(
    client: openai.AsyncOpenAI, *, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError, match="1024") as caught:
        await client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "a" * 3000}], stream=stream
        )
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")


async def test_chat_given_a_wrong_key_then_401(server: ApiServer) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.models.list()
    assert caught.value.code == "invalid_api_key"


async def test_completion_given_a_text_then_it_goes_on(client: openai.AsyncOpenAI) -> None:
    reply = await client.completions.create(model="tiny", prompt="the a", **GREEDY)
    choice = reply.choices[0]
    echoed = await client.completions.create(model="tiny", prompt="the a", echo=True, **GREEDY)
    assert echoed.choices[0].text == "the a" + choice.text
    stopped = await client.completions.create(
        model="tiny", prompt="the a", stop=[choice.text[1:3]], **GREEDY
    )
    assert stopped.choices[0].text == choice.text[: choice.text.index(choice.text[1:3])]
    assert stopped.choices[0].finish_reason == "stop"
    short = await client.completions.create(
        model="tiny", prompt="the a", temperature=0, extra_body={"ignore_eos": True}
    )
    assert short.usage
    assert short.usage.completion_tokens == 16


async def test_completion_without_cache_then_the_whole_prompt_is_computed(
    client: openai.AsyncOpenAI,
) -> None:
    n_cached: list[int] = []
    for cache_prompt in (True, True, False):
        options: Any = {**GREEDY, "extra_body": {"cache_prompt": cache_prompt}}
        reply = await client.completions.create(model="tiny", prompt="the a " * 20, **options)
        assert reply.usage
        assert reply.usage.prompt_tokens_details
        n_cached.append(reply.usage.prompt_tokens_details.cached_tokens or 0)
    assert n_cached[1] > 0
    assert n_cached[2] == 0


async def test_completion_given_tokens_then_the_same_as_their_text(
    client: openai.AsyncOpenAI, server: ApiServer
) -> None:
    body = {"model": "tiny", "prompt": "the a", "add_special": True}
    answer: Any = await client.post(
        f"http://127.0.0.1:{server.port}/tokenize", cast_to=object, body=body
    )
    assert answer["count"] == len(answer["tokens"])
    assert answer["max_model_len"] == N_CTX
    by_text = await client.completions.create(model="tiny", prompt="the a", **GREEDY)
    by_tokens = await client.completions.create(model="tiny", prompt=answer["tokens"], **GREEDY)
    assert by_tokens.choices[0].text == by_text.choices[0].text
    several = await client.completions.create(
        model="tiny", prompt=[answer["tokens"], answer["tokens"]], **GREEDY
    )
    assert [choice.text for choice in several.choices] == [by_text.choices[0].text] * 2


async def test_completion_given_prompts_and_n_then_choices_are_in_order(
    client: openai.AsyncOpenAI,
) -> None:
    options: Any = {"n": 2, "logprobs": 2, **GREEDY}
    reply = await client.completions.create(model="tiny", prompt=["the", "of a"], **options)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert reply.choices[0].text == reply.choices[1].text
    assert reply.choices[2].text == reply.choices[3].text
    assert reply.usage
    assert reply.usage.completion_tokens == 32
    logprobs = reply.choices[0].logprobs
    assert logprobs
    assert "".join(logprobs.tokens or []) == reply.choices[0].text
    assert [len(top) for top in logprobs.top_logprobs or []] == [2] * 8
    offsets = logprobs.text_offset or []
    assert [reply.choices[0].text[at] for at in offsets] == [t[0] for t in logprobs.tokens or []]
    stream = await client.completions.create(
        model="tiny",
        prompt=["the", "of a"],
        stream=True,
        stream_options={"include_usage": True},
        **options,
    )
    texts = [""] * 4
    usage = None
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in reply.choices]
    assert usage
    assert usage.total_tokens == reply.usage.total_tokens


async def test_completion_stream_given_echo_then_the_prompt_comes_first(
    client: openai.AsyncOpenAI,
) -> None:
    stream = await client.completions.create(
        model="tiny", prompt="the a", echo=True, stream=True, **GREEDY
    )
    texts = [chunk.choices[0].text async for chunk in stream]
    assert texts[0] == "the a"
    assert len("".join(texts)) > len("the a")


async def test_embeddings_then_float_base64_and_fewer_dimensions_agree(
    client: openai.AsyncOpenAI,
) -> None:
    texts = ["list files", "show the name"]
    plain = await client.embeddings.create(model="embedder", input=texts, encoding_format="float")
    packed = await client.embeddings.create(model="embedder", input=texts)
    assert [one.index for one in plain.data] == [0, 1]
    for one, other in zip(plain.data, packed.data, strict=True):
        assert other.embedding == pytest.approx(one.embedding, abs=1e-6)
        assert sum(value * value for value in one.embedding) == pytest.approx(1, abs=1e-4)
    raw: Any = await client.post(
        "/embeddings",
        cast_to=object,
        body={"model": "embedder", "input": texts[0], "encoding_format": "base64"},
    )
    values = base64.b64decode(raw["data"][0]["embedding"])
    assert list(struct.unpack(f"<{len(values) // 4}f", values)) == pytest.approx(
        plain.data[0].embedding, abs=1e-6
    )
    short = await client.embeddings.create(
        model="embedder", input=texts[0], dimensions=8, encoding_format="float"
    )
    kept = plain.data[0].embedding[:8]
    length = sum(value * value for value in kept) ** 0.5
    assert short.data[0].embedding == pytest.approx([v / length for v in kept], abs=1e-6)
    assert plain.usage.prompt_tokens > short.usage.prompt_tokens
    with pytest.raises(openai.BadRequestError) as caught:
        await client.embeddings.create(model="embedder", input="a", dimensions=100_000)
    assert caught.value.param == "dimensions"


async def test_rerank_then_results_are_sorted_and_cut(client: openai.AsyncOpenAI) -> None:
    body: Any = {
        "model": "ranker",
        "query": "list files",
        "documents": ["the name", {"text": "list files"}, "show lines"],
    }
    whole: Any = await client.post("/rerank", cast_to=object, body=body)
    scores = [result["relevance_score"] for result in whole["results"]]
    assert scores == sorted(scores, reverse=True)
    assert sorted(result["index"] for result in whole["results"]) == [0, 1, 2]
    assert whole["usage"]["total_tokens"] > 0
    cut: Any = await client.post(
        "/rerank", cast_to=object, body={**body, "top_n": 1, "return_documents": True}
    )
    assert len(cut["results"]) == 1
    best = cut["results"][0]
    assert best["index"] == whole["results"][0]["index"]
    assert best["document"]["text"] in {"the name", "list files", "show lines"}


async def test_embeddings_given_a_model_that_generates_then_says_how_to_load_it(
    client: openai.AsyncOpenAI,
) -> None:
    with pytest.raises(openai.BadRequestError, match="embedding"):
        await client.embeddings.create(model="tiny", input="a")
    with pytest.raises(openai.BadRequestError, match="embedding"):
        await client.chat.completions.create(model="embedder", messages=HI)


@pytest.mark.parametrize("stream", [False, True])
async def test_client_that_leaves_then_the_worker_stops_and_its_slot_is_idle(
    client: openai.AsyncOpenAI, shelf: Shelf, *, stream: bool
) -> None:
    engine = shelf.leases["endless"].engine
    before = await status(engine)
    options: Any = {"model": "endless", "messages": HI, "extra_body": {"ignore_eos": True}}
    if stream:
        answer = await client.chat.completions.create(stream=True, **options)
        await anext(aiter(answer))
        await answer.close()
    else:
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(timeout=0.2, **options)
    after = await status(engine)
    while shelf.n_held or any(slot.state != "idle" for slot in after.slots):
        after = await status(engine)
    assert after.completion_tokens_total - before.completion_tokens_total < ENDLESS_N_CTX / 2


async def status(engine: EngineClient) -> frames.StatusReport:
    report = await engine.ask(frames.Status(request_id=0))
    assert isinstance(report, frames.StatusReport)
    return report
