"""One request: limits, stops, sampling, constraints, refusals."""

import json
import random
from pathlib import Path

import pytest

from luci_tui import _native
from tests.support import core

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def engine(llama: Path) -> _native.Engine:
    return core.load(llama, n_slots=2)


def test_max_tokens_then_the_answer_ends_with_length(engine: _native.Engine) -> None:
    outcome = core.answer(engine, core.request("list files", max_tokens=7))
    assert outcome.done.finish_reason == "length"
    assert outcome.done.completion_tokens == len(outcome.tokens) == 7


def test_answer_given_two_threads_then_it_is_that_of_one(llama: Path) -> None:
    made = core.request("show the large files", max_tokens=8)
    one, two = (core.answer(core.load(llama, n_threads=n), made) for n in (1, 2))
    assert two.tokens == one.tokens


def test_usage_and_timings_then_they_add_up(engine: _native.Engine) -> None:
    prompt = "show the large files"
    outcome = core.answer(engine, core.request(prompt, cache_prompt=False))
    done = outcome.done
    assert done.prompt_tokens == len(engine.tokenize(prompt, True, False))
    assert done.cached_tokens == 0
    assert 0 < done.prefill_ms <= done.ttft_ms
    assert done.decode_ms > 0


def test_same_seed_then_same_answer_and_another_seed_another(engine: _native.Engine) -> None:
    def tokens(seed: int) -> list[int]:
        sampling = {"temperature": 1.5, "seed": seed, "top_k": 0, "min_p": 0.0}
        return core.answer(engine, core.request("find", sampling=sampling)).tokens

    assert tokens(5) == tokens(5)
    assert tokens(5) != tokens(6)


def test_seed_not_given_then_the_reported_seed_reproduces_the_answer(
    engine: _native.Engine,
) -> None:
    first = core.answer(engine, core.request("find", sampling={"temperature": 1.2}))
    again = core.answer(
        engine, core.request("find", sampling={"temperature": 1.2, "seed": first.done.seed})
    )
    assert again.tokens == first.tokens


def test_preselected_candidates_then_the_choice_equals_the_whole_vocabulary(
    engine: _native.Engine,
) -> None:
    # top_k 40 takes the short way; with a frequency penalty of almost nothing the long one.
    base = {"temperature": 0.9, "seed": 3, "top_k": 40}
    short = core.answer(engine, core.request("count", max_tokens=60, sampling=base))
    long = core.answer(
        engine,
        core.request("count", max_tokens=60, sampling={**base, "frequency_penalty": 1e-12}),
    )
    assert short.tokens == long.tokens


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1.0, "mirostat": 1},
        {"temperature": 1.0, "mirostat": 2},
        {"temperature": 0.8, "dry_multiplier": 0.8},
        {"temperature": 0.8, "xtc_probability": 0.5},
        {"temperature": 0.8, "typical_p": 0.7, "top_n_sigma": 1.0},
        {"temperature": 0.8, "dynatemp_range": 0.3},
        {"temperature": 0.0, "repeat_penalty": 1.3},
    ],
    ids="-".join,
)
def test_each_sampler_then_an_answer_comes_and_repeats(
    engine: _native.Engine, sampling: dict[str, float]
) -> None:
    made = {**sampling, "seed": 9}
    first = core.answer(engine, core.request("name the lines", max_tokens=40, sampling=made))
    again = core.answer(engine, core.request("name the lines", max_tokens=40, sampling=made))
    assert len(first.tokens) == 40
    assert first.tokens == again.tokens


def test_repeat_penalty_then_fewer_tokens_repeat(engine: _native.Engine) -> None:
    plain = core.answer(engine, core.request("the", max_tokens=100))
    penalized = core.answer(
        engine,
        core.request("the", max_tokens=100, sampling={"repeat_penalty": 2.0, "repeat_last_n": 64}),
    )
    assert len(set(penalized.tokens)) > len(set(plain.tokens))


def test_logit_bias_then_the_token_is_forced(engine: _native.Engine) -> None:
    token = engine.tokenize("files", False, False)[-1]
    outcome = core.answer(
        engine, core.request("x", max_tokens=5, sampling={"logit_bias": [(token, 1000.0)]})
    )
    assert outcome.tokens == [token] * 5


def test_stop_string_across_tokens_then_it_is_cut_and_reported(engine: _native.Engine) -> None:
    # A forced letter makes the text known: one token, again and again.
    letter = engine.tokenize("f", False, False)[-1]
    stop = engine.detokenize([letter] * 3).decode()
    outcome = core.answer(
        engine,
        core.request("x", stop=["zzz", stop], sampling={"logit_bias": [(letter, 1000.0)]}),
    )
    assert outcome.done.finish_reason == "stop"
    assert outcome.done.stop_text == stop
    assert outcome.text == ""
    assert outcome.done.completion_tokens == 3


def test_logprobs_then_the_chosen_token_is_the_likeliest_at_temperature_zero(
    engine: _native.Engine,
) -> None:
    outcome = core.answer(engine, core.request("in", max_tokens=6, sampling={"n_logprobs": 3}))
    assert [entry.token for entry in outcome.logprobs] == outcome.tokens
    for entry in outcome.logprobs:
        assert len(entry.top) == 3
        assert entry.top[0][0] == entry.token
        assert entry.top[0][2] == pytest.approx(entry.logprob, abs=1e-5)
        assert entry.logprob <= 0
        assert entry.top[0][2] >= entry.top[1][2] >= entry.top[2][2]


def test_grammar_then_the_answer_is_in_its_language(engine: _native.Engine) -> None:
    outcome = core.answer(
        engine,
        core.request(
            "list",
            max_tokens=50,
            sampling={"ignore_eos": False, "grammar": 'root ::= ("yes" | "no") "!"'},
        ),
    )
    assert outcome.text in {"yes!", "no!"}
    assert outcome.done.finish_reason == "stop"


def test_json_schema_then_the_answer_parses_and_fits(engine: _native.Engine) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["n"],
        "additionalProperties": False,
    }
    outcome = core.answer(
        engine,
        core.request(
            "count",
            max_tokens=200,
            sampling={
                "ignore_eos": False,
                "json_schema": json.dumps(schema),
                "temperature": 0.7,
                "seed": 1,
            },
        ),
    )
    parsed = json.loads(outcome.text)
    assert 0 <= parsed["n"] <= 99


@pytest.mark.parametrize(
    ("sampling", "code"),
    [
        ({"grammar": "root ::= ("}, "invalid_grammar"),
        ({"grammar": 'start ::= "x"'}, "invalid_grammar"),
        ({"json_schema": "{not json"}, "invalid_schema"),
        ({"json_schema": '{"type": "nonsense"}'}, "invalid_schema"),
        ({"grammar": 'root ::= "x"', "json_schema": "{}"}, "invalid_request"),
        ({"repeat_penalty": 0.0}, "invalid_request"),
        ({"temperature": float("nan")}, "invalid_request"),
        ({"logit_bias": [(10**6, 1.0)]}, "invalid_request"),
    ],
    ids=str,
)
def test_unusable_sampling_then_one_sentence_and_the_engine_goes_on(
    engine: _native.Engine, sampling: dict[str, object], code: str
) -> None:
    with pytest.raises(_native.RequestError, match=f"^{code}: .+"):
        engine.submit(core.request("x", sampling=sampling))
    assert core.answer(engine, core.request("x", max_tokens=2)).done.completion_tokens == 2


def test_prompt_beyond_context_then_it_is_refused_with_the_numbers(
    engine: _native.Engine,
) -> None:
    outcome = core.answer(engine, core.request([20] * 1024))
    assert outcome.failed.code == "context_length_exceeded"
    assert "1024 tokens" in outcome.failed.message


def test_prompt_beyond_context_with_shift_then_the_middle_is_dropped_and_counted(
    engine: _native.Engine,
) -> None:
    outcome = core.answer(
        engine,
        core.request([20] * 1500, max_tokens=10, shift_context=True, n_keep=4),
    )
    assert outcome.done.dropped_tokens == 1500 - (1024 - 10)
    assert outcome.done.completion_tokens == 10


def test_answer_beyond_context_then_it_ends_with_length(llama: Path) -> None:
    small = core.load(llama, n_ctx=256)
    outcome = core.answer(small, core.request([20] * 200, max_tokens=-1))
    assert outcome.done.finish_reason == "length"
    assert outcome.done.prompt_tokens + outcome.done.completion_tokens == 256 + 1


def test_answer_beyond_context_with_shift_then_it_goes_on_and_reports_the_drop(
    llama: Path,
) -> None:
    small = core.load(llama, n_ctx=256)
    outcome = core.answer(
        small, core.request([20] * 200, max_tokens=300, shift_context=True, n_keep=8)
    )
    assert outcome.done.completion_tokens == 300
    assert outcome.done.dropped_tokens > 0


def test_n_ctx_beyond_training_then_it_is_refused_unless_forced(llama: Path) -> None:
    with pytest.raises(_native.RequestError, match="beyond the 2048 tokens"):
        core.load(llama, n_ctx=4096)
    assert core.load(llama, n_ctx=4096, force=True).info().n_ctx == 4096


def test_cancel_while_queued_and_running_then_both_say_cancelled(llama: Path) -> None:
    one_slot = core.load(llama)
    ids = [one_slot.submit(core.request("x", max_tokens=500)) for _ in range(2)]
    one_slot.run(1000.0)
    for request_id in ids:
        one_slot.cancel(request_id)
    outcomes = core.drain(one_slot, ids)
    assert [o.done.finish_reason for o in outcomes] == ["cancelled", "cancelled"]
    assert core.answer(one_slot, core.request("x", max_tokens=3)).done.completion_tokens == 3


def test_long_prompt_beside_a_stream_then_the_stream_goes_on(llama: Path) -> None:
    shared = core.load(llama, n_slots=2, n_batch=64, n_ubatch=64)
    stream = shared.submit(core.request("list", max_tokens=400, delivery_ms=0))
    shared.run(1000.0)
    long = shared.submit(core.request([30] * 900, max_tokens=1, delivery_ms=0))
    n_before_long = 0
    has_long_begun = False
    while not has_long_begun:
        for event in shared.run(1000.0):
            has_long_begun |= event.id == long and event.kind == "delta"
            n_before_long += len(event.tokens) if event.id == stream else 0
    # 900 tokens in batches of at most 63 beside one decode token take 15 steps.
    assert n_before_long >= 14
    shared.cancel(stream)
    core.drain(shared, [stream, long])


def test_many_short_prompts_beside_a_stream_then_all_are_computed_in_one_step(llama: Path) -> None:
    # Before the first prompt of some length, a prompt token is taken to cost 1 ms, and a step
    # beside a stream may take 80 ms.
    shared = core.load(llama, n_slots=11)
    stream = shared.submit(core.request([5] * 8, max_tokens=400, delivery_ms=0))
    while not any(event.kind == "delta" for event in shared.run(1000.0)):
        pass
    short = [
        shared.submit(core.request(range(10 + i, 40 + i), max_tokens=1, delivery_ms=0))
        for i in range(10)
    ]
    ended = {event.id for event in shared.run(1000.0) if event.kind == "done"}
    assert ended == set(short)
    shared.cancel(stream)
    core.drain(shared, [stream])


def test_many_streams_then_each_equals_the_same_request_alone(engine: _native.Engine) -> None:
    source = random.Random(8)
    prompts = [
        [source.randrange(10, 290) for _ in range(source.randrange(3, 40))] for _ in range(9)
    ]
    made = [core.request(p, max_tokens=source.randrange(1, 40)) for p in prompts]
    together = core.drain(engine, [engine.submit(r) for r in made])
    alone = [core.answer(engine, r) for r in made]
    assert [o.tokens for o in together] == [o.tokens for o in alone]


def test_text_then_it_is_whole_characters_whatever_bytes_the_model_says(
    engine: _native.Engine,
) -> None:
    sampling = {"temperature": 2.0, "top_k": 0, "min_p": 0.0, "top_p": 1.0, "seed": 4}
    outcome = core.answer(engine, core.request("x", max_tokens=300, sampling=sampling))
    raw = engine.detokenize(outcome.tokens)
    assert outcome.text == raw.decode("utf-8", errors="replace")


@pytest.mark.parametrize("n_sources", [0, 2])
def test_request_without_exactly_one_prompt_then_it_is_refused(
    engine: _native.Engine, n_sources: int
) -> None:
    made = core.request("x" if n_sources else None)
    if n_sources:
        made.tokens = [3]
    with pytest.raises(_native.RequestError, match="exactly one"):
        engine.submit(made)


def test_token_outside_the_vocabulary_then_it_is_refused(engine: _native.Engine) -> None:
    with pytest.raises(_native.RequestError, match="vocabulary ends at"):
        engine.submit(core.request([1, 10**7]))


def test_interrupt_then_a_run_returns_early(engine: _native.Engine) -> None:
    request_id = engine.submit(core.request("x", max_tokens=50))
    engine.interrupt()
    assert engine.run(10_000.0) == []
    assert core.drain(engine, [request_id])[0].done.completion_tokens == 50
