from __future__ import annotations

import itertools
import json

import pytest

from luci_tui.engine import frames
from luci_tui.engine.echo import EchoEngine
from luci_tui.errors import RequestError
from tests.support import engines

PLAIN = frames.SamplingParams()


async def loaded() -> EchoEngine:
    engine = EchoEngine()
    await engines.load(engine, "any path")
    return engine


async def test_echo_given_messages_then_says_the_last_user_text_word_by_word() -> None:
    messages = [
        {"role": "user", "content": "no"},
        {"role": "assistant", "content": "neither"},
        {"role": "user", "content": [{"type": "text", "text": " two  wörds\n"}]},
    ]
    wanted = engines.request(prompt=None, messages_json=json.dumps(messages), sampling=PLAIN)
    answer = await engines.answer(await loaded(), wanted)
    assert [delta.text for delta in answer.deltas] == [" two", "  wörds\n"]
    assert answer.done.finish_reason is frames.FinishReason.STOP
    assert answer.done.usage.completion_tokens == len(" two  wörds\n".encode())


@pytest.mark.parametrize("messages", ["{", "[1]", '[{"content": "x"}]'])
async def test_echo_given_bad_messages_then_refuses(messages: str) -> None:
    with pytest.raises(RequestError, match="no list of chat messages"):
        await engines.answer(await loaded(), engines.request(prompt=None, messages_json=messages))


async def test_echo_given_a_limit_inside_a_character_then_leaves_it_out() -> None:
    answer = await engines.answer(
        await loaded(), engines.request("aé", max_tokens=2, sampling=PLAIN)
    )
    assert answer.text == "a"
    assert answer.done.finish_reason is frames.FinishReason.LENGTH


async def test_echo_given_a_pause_and_a_clock_then_uses_them() -> None:
    n_pauses = 0

    async def pause() -> None:
        nonlocal n_pauses
        n_pauses += 1

    ticks = itertools.count()
    engine = EchoEngine(pause, lambda: float(next(ticks)))
    await engines.load(engine, "any path")
    before = n_pauses
    answer = await engines.answer(engine, engines.request("one two three", sampling=PLAIN))
    assert n_pauses - before == 3
    assert answer.done.timings == frames.Timings(ttft_ms=1000.0, decode_ms=1000.0)


async def test_echo_given_documents_then_scores_shared_words() -> None:
    engine = EchoEngine()
    await engines.load(engine, "any path", embedding=True)
    ranked = await engine.ask(
        frames.Rerank(request_id=0, query="red fox", documents=("a red fox", "a dog", "a fox"))
    )
    assert isinstance(ranked, frames.Reranked)
    assert ranked.scores == (2.0, 0.0, 1.0)


async def test_echo_given_a_state_file_then_refuses() -> None:
    command = frames.StateFile(request_id=0, action="save", slot=0, path="x")
    with pytest.raises(RequestError, match="no KV cache"):
        await (await loaded()).ask(command)
