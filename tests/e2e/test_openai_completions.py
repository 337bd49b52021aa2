"""Prompts looked at token by token through the `openai` client: echo, probabilities, filling in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import openai
import pytest
import pytest_asyncio

from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.process import WorkerEngine
from luci_tui.host.openai.server import ApiServer
from tests.support.api_server import Shelf, serving
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.tiny_vocab import TINY_SPM

pytestmark = [pytest.mark.native, pytest.mark.asyncio(loop_scope="module")]

MARKS = (("fim_pre_token_id", 3), ("fim_suf_token_id", 4), ("fim_mid_token_id", 0))
GREEDY: Any = {"temperature": 0, "max_tokens": 6, "extra_body": {"ignore_eos": True}}
SCORED: Any = {"temperature": 0, "max_tokens": 0, "echo": True, "logprobs": 2}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    folder = tmp_path_factory.mktemp("completions")
    vocab = replace(TINY_SPM, specials=(*TINY_SPM.specials, *MARKS))
    loads: dict[str, Any] = {
        "tiny": {"model_path": write_arch_model(TinyArch.LLAMA, folder / "llama.gguf")},
        "filler": {
            "model_path": write_arch_model(TinyArch.LLAMA, folder / "fim.gguf", vocab=vocab)
        },
        "embedder": {
            "model_path": write_arch_model(TinyArch.BERT, folder / "bert.gguf"),
            "embedding": True,
        },
    }
    shelf = Shelf()
    try:
        for name, fields in loads.items():
            fields["model_path"] = str(fields["model_path"])
            spec = LoadSpec.model_validate({"n_ctx": 256, "n_threads": 1, **fields})
            await shelf.add(name, WorkerEngine(folder / f"{name}.log"), spec=spec)
        async with serving(shelf) as running:
            yield running
    finally:
        for lease in shelf.leases.values():
            await lease.engine.close()


async def post(client: openai.AsyncOpenAI, path: str, **body: object) -> Any:
    root = str(client.base_url).removesuffix("/v1/")
    return await client.post(f"{root}{path}", cast_to=object, body={"model": "tiny", **body})


async def tokens_of(client: openai.AsyncOpenAI, text: str, **fields: object) -> list[int]:
    found: list[int] = (await post(client, "/tokenize", content=text, **fields))["tokens"]
    return found


async def test_completion_given_echo_and_logprobs_then_the_prompt_is_scored(
    client: openai.AsyncOpenAI,
) -> None:
    reply = await client.completions.create(model="tiny", prompt="the é files", **SCORED)
    choice = reply.choices[0]
    assert (choice.text, choice.finish_reason) == ("the é files", "length")
    assert reply.usage
    assert reply.usage.completion_tokens == 0
    found = choice.logprobs
    assert found
    assert found.tokens == ["<s>", " the", " ", "\ufffd", "\ufffd", " files"]
    assert found.text_offset == [0, 0, 3, 4, 4, 5]
    scores: list[Any] = found.token_logprobs or []
    assert scores[0] is None
    assert all(score < 0 for score in scores[1:])
    rivals: list[Any] = found.top_logprobs or []
    assert rivals[0] is None
    for token, score, top in zip(found.tokens[1:], scores[1:], rivals[1:], strict=True):
        assert len(top) <= 3
        # The most likely token of that text counts, and the token itself is always there.
        assert top[token] >= score


async def test_completion_given_echo_of_tokens_then_they_are_text_again(
    client: openai.AsyncOpenAI,
) -> None:
    tokens = await tokens_of(client, "the files", add_special=True)
    reply = await client.completions.create(model="tiny", prompt=[tokens, tokens], **SCORED)
    assert [choice.text for choice in reply.choices] == ["<s> the files"] * 2
    found = reply.choices[1].logprobs
    assert found
    assert found.text_offset == [0, 3, 7]
    plain = await client.completions.create(model="tiny", prompt=tokens, echo=True, **GREEDY)
    assert plain.choices[0].text.startswith("<s> the files")
    assert plain.choices[0].logprobs is None


async def test_completion_given_echo_and_an_answer_then_offsets_go_on(
    client: openai.AsyncOpenAI,
) -> None:
    options: Any = {"echo": True, "logprobs": 1, **GREEDY}
    whole = await client.completions.create(model="tiny", prompt="the files", **options)
    found = whole.choices[0].logprobs
    assert found
    assert len(found.tokens or []) == 3 + 6
    assert (found.text_offset or [])[3] == len("the files")
    alone = await client.completions.create(model="tiny", prompt="the files", logprobs=1, **GREEDY)
    assert alone.choices[0].logprobs
    assert (found.token_logprobs or [])[3:] == pytest.approx(
        alone.choices[0].logprobs.token_logprobs, abs=1e-3
    )
    pieces = await client.completions.create(
        model="tiny", prompt="the files", stream=True, **options
    )
    text, tokens = "", list[str]()
    async for chunk in pieces:
        text += chunk.choices[0].text
        if chunk.choices[0].logprobs:
            tokens += chunk.choices[0].logprobs.tokens or []
    assert (text, tokens) == (whole.choices[0].text, found.tokens)


async def test_completion_given_a_suffix_then_the_model_fills_in(
    client: openai.AsyncOpenAI,
) -> None:
    reply = await client.completions.create(
        model="filler", prompt="list the", suffix=" files", **GREEDY
    )
    before = await tokens_of(client, "list the")
    after = await tokens_of(client, " files")
    by_hand = await client.completions.create(
        model="filler", prompt=[1, 3, *before, 4, *after, 0], **GREEDY
    )
    assert reply.choices[0].text == by_hand.choices[0].text
    same = await client.completions.create(model="tiny", prompt="list", suffix="", **GREEDY)
    assert same.choices[0].text


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"suffix": "end"}, "suffix", "no_fill_in"),
        ({"suffix": "end", "prompt": [20]}, "suffix", "invalid_value"),
        ({"suffix": "end", "echo": True, "logprobs": 1}, "suffix", "unsupported_parameter"),
        ({"best_of": 3, "n": 2}, "best_of", "unsupported_parameter"),
        ({"prompt": [20, 10**6]}, "prompt", "invalid_token"),
        ({"prompt": [20, 10**6], "echo": True}, "prompt", "invalid_token"),
        ({"prompt": [20] * 257, **SCORED}, "prompt", "context_length_exceeded"),
    ],
)
async def test_completion_given_what_cannot_be_then_the_field_is_named(
    client: openai.AsyncOpenAI, options: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.completions.create(**{"model": "tiny", "prompt": "x", **options})
    assert (caught.value.param, caught.value.code) == (param, code)


async def test_completion_given_best_of_n_then_it_changes_nothing(
    client: openai.AsyncOpenAI,
) -> None:
    reply = await client.completions.create(
        model="tiny", prompt="the", n=2, best_of=2, **{**GREEDY, "max_tokens": 2}
    )
    assert len(reply.choices) == 2


async def test_tokenize_given_pieces_then_broken_characters_are_bytes(
    client: openai.AsyncOpenAI,
) -> None:
    found = await post(client, "/tokenize", content="é x", with_pieces=True)
    assert [one["piece"] for one in found["tokens"]] == [" ", [0xC3], [0xA9], " ", "x"]
    tokens = [one["id"] for one in found["tokens"]]
    assert tokens == await tokens_of(client, "é x")
    whole = await post(client, "/detokenize", tokens=tokens)
    assert (whole["content"], whole["is_valid_utf8"], whole["bytes"]) == (" é x", True, None)
    half = await post(client, "/detokenize", tokens=tokens[:2])
    assert (half["content"], half["is_valid_utf8"]) == (" \ufffd", False)
    assert half["bytes"] == [0x20, 0xC3]
    marked = await post(client, "/detokenize", tokens=[1, *tokens])
    assert marked["content"] == "<s> é x"
    silent = await post(client, "/detokenize", tokens=[1, *tokens], special=False)
    assert silent["content"] == " é x"
    with pytest.raises(openai.BadRequestError) as caught:
        await post(client, "/detokenize", tokens=[5, 10**6])
    assert (caught.value.param, caught.value.code) == ("tokens", "invalid_token")


async def test_tokenizer_given_the_words_of_vllm_then_they_are_understood(
    client: openai.AsyncOpenAI,
) -> None:
    root = str(client.base_url).removesuffix("/v1/")
    info: Any = await client.get(f"{root}/tokenizer_info?model=tiny", cast_to=object)
    assert (info["bos_token"], info["eos_token"]) == ("<s>", "</s>")
    found = await post(client, "/tokenize", prompt="<s>", add_special_tokens=False)
    assert found["tokens"] == [1]
    assert (await post(client, "/detokenize", tokens=[1]))["prompt"] == "<s>"
    # Three models are served, so one has to be named.
    with pytest.raises(openai.BadRequestError) as caught:
        await client.get(f"{root}/tokenizer_info", cast_to=object)
    assert caught.value.param == "model"


async def test_embeddings_given_tokens_then_they_equal_those_of_their_text(
    client: openai.AsyncOpenAI,
) -> None:
    texts = ["list files", "show the name"]
    lists = [await tokens_of(client, text, model="embedder", add_special=True) for text in texts]
    by_text = await client.embeddings.create(model="embedder", input=texts)
    by_tokens = await client.embeddings.create(model="embedder", input=lists)
    for one, other in zip(by_text.data, by_tokens.data, strict=True):
        assert other.embedding == pytest.approx(one.embedding, abs=1e-6)
    assert by_tokens.usage.prompt_tokens == by_text.usage.prompt_tokens
    single = await client.embeddings.create(model="embedder", input=lists[0])
    assert single.data[0].embedding == pytest.approx(by_text.data[0].embedding, abs=1e-4)
    for wrong in ([], [[]], [5, 10**6], [[5], [-1]]):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.embeddings.create(model="embedder", input=wrong)
        assert str(caught.value.param).startswith("input")
