"""A reused KV cache or recurrent state must never change an answer."""

import random
from pathlib import Path

import pytest

from tests.support import core
from tests.support.arch_models import GENERATING_ARCHS, RECURRENT_ARCHS, TinyArch, write_arch_model

pytestmark = pytest.mark.native

EXACT = {"kv_type_k": "f32", "kv_type_v": "f32", "flash_attention": "off"}
"""An f16 cache rounds: the same tokens in other batches would give slightly different logits."""


@pytest.fixture(scope="module", params=GENERATING_ARCHS, ids=str)
def model(request: pytest.FixtureRequest, model_dir: Path) -> tuple[TinyArch, Path]:
    return request.param, write_arch_model(request.param, model_dir / f"reuse-{request.param}.gguf")


def _tokens(random_source: random.Random, count: int) -> list[int]:
    return [random_source.randrange(10, 290) for _ in range(count)]


def _fresh(path: Path, prompt: list[int]) -> list[int]:
    return core.answer(core.load(path, **EXACT), core.request(prompt)).tokens


@pytest.mark.parametrize("kv_unified", [False, True], ids=["split", "unified"])
def test_reuse_across_slots_then_answers_equal_fresh_engines(
    model: tuple[TinyArch, Path], kv_unified: bool
) -> None:
    arch, path = model
    source = random.Random(1)
    shared = _tokens(source, 100)
    prompts = [shared + _tokens(source, source.randrange(1, 20)) for _ in range(10)]
    prompts += [prompts[0], prompts[1][:60], [*prompts[2], 20, 30, 40]]
    engine = core.load(path, **EXACT, n_slots=4, kv_unified=kv_unified)
    outcomes = core.drain(engine, [engine.submit(core.request(p)) for p in prompts])
    assert [o.tokens for o in outcomes] == [_fresh(path, p) for p in prompts]
    n_reused = sum(o.done.cached_tokens >= 59 for o in outcomes)
    assert n_reused >= (8 if arch in RECURRENT_ARCHS else 12)


def test_reuse_across_turns_then_only_new_tokens_are_computed(
    model: tuple[TinyArch, Path],
) -> None:
    _, path = model
    engine = core.load(path, **EXACT)
    conversation = _tokens(random.Random(2), 80)
    for turn in range(3):
        outcome = core.answer(engine, core.request(conversation))
        assert outcome.tokens == _fresh(path, conversation)
        if turn > 0:
            assert outcome.done.cached_tokens >= len(conversation) - 4
        conversation = [*conversation, *outcome.tokens, 33, 44]


def test_reuse_with_a_changed_beginning_then_everything_is_computed_again(
    model: tuple[TinyArch, Path],
) -> None:
    _, path = model
    engine = core.load(path, **EXACT)
    first = _tokens(random.Random(3), 90)
    core.answer(engine, core.request(first))
    changed = [first[0] + 1, *first[1:]]
    outcome = core.answer(engine, core.request(changed))
    assert outcome.done.cached_tokens == 0
    assert outcome.tokens == _fresh(path, changed)


def test_reuse_of_a_shorter_prompt_then_the_answer_equals_a_fresh_engine(
    model: tuple[TinyArch, Path],
) -> None:
    _, path = model
    engine = core.load(path, **EXACT)
    long = _tokens(random.Random(4), 200)
    core.answer(engine, core.request(long))
    outcome = core.answer(engine, core.request(long[:120]))
    assert outcome.tokens == _fresh(path, long[:120])


def test_cache_prompt_off_then_nothing_is_reused(llama: Path) -> None:
    engine = core.load(llama)
    prompt = _tokens(random.Random(5), 50)
    core.answer(engine, core.request(prompt))
    outcome = core.answer(engine, core.request(prompt, cache_prompt=False))
    assert outcome.done.cached_tokens == 0


def test_waiting_for_a_prefix_with_the_leader_cancelled_then_the_follower_still_answers(
    llama: Path,
) -> None:
    engine = core.load(llama, **EXACT, n_slots=2, n_batch=32, n_ubatch=32)
    shared = _tokens(random.Random(6), 300)
    leader = engine.submit(core.request([*shared, 11]))
    follower = engine.submit(core.request([*shared, 12]))
    first = engine.run(0.0)
    # A machine that is busy with other things takes so long that progress is told.
    assert {event.kind for event in first} <= {"progress"}
    assert [state for _, state, _ in engine.status().slots] == ["prefill", "waiting"]
    engine.cancel(leader)
    outcomes = core.drain(engine, [leader, follower])
    assert outcomes[0].done.finish_reason == "cancelled"
    assert outcomes[1].tokens == _fresh(llama, [*shared, 12])
