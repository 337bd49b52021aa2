"""What a request can ask of its prompt: probabilities, filling in, nothing but computing it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from luci_tui import _native
from tests.support import core
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.tiny_vocab import TINY_SPM

pytestmark = pytest.mark.native

# In f16, and with flash attention, the rounding differs from batch to batch.
EXACT = {"kv_type_k": "f32", "kv_type_v": "f32", "flash_attention": "off", "n_threads": 1}
PROMPT = [1, *range(20, 130)]
TOP = {"n_logprobs": 20, "ignore_eos": False}


@pytest.fixture(scope="module")
def engine(llama: Path) -> _native.Engine:
    return core.load(llama, n_slots=2, n_threads=1)


def scored(prompt: str | list[int], **options: object) -> _native.Request:
    made: dict[str, object] = {"max_tokens": 0, "sampling": TOP, **options}
    return core.request(prompt, prompt_logprobs=True, **made)


@pytest.mark.parametrize("arch", [TinyArch.LLAMA, TinyArch.QWEN3, TinyArch.JAMBA], ids=str)
def test_prompt_logprobs_then_they_equal_those_of_single_steps(
    arch: TinyArch, tmp_path: Path
) -> None:
    path = write_arch_model(arch, tmp_path / "model.gguf")
    # The grammar keeps the answer from ending early, and changes no probability.
    sampling = {**TOP, "temperature": 1.0, "seed": 3, "grammar": "root ::= [a-z ]{400}"}
    said = core.answer(
        core.load(path, **EXACT), core.request([1, 20], max_tokens=80, sampling=sampling)
    ).logprobs
    tokens = [1, 20, *(one.token for one in said)]
    assert len(tokens) > 40
    found = core.answer(core.load(path, **EXACT), scored(tokens)).prompt_logprobs
    assert [one.token for one in found] == tokens
    assert [one.is_first for one in found] == [True] + [False] * (len(tokens) - 1)
    for one, step in zip(found[2:], said, strict=True):
        assert one.logprob == pytest.approx(step.logprob, abs=1e-4)
        assert [lp for *_, lp in one.top] == pytest.approx([lp for *_, lp in step.top], abs=1e-4)


def test_prompt_logprobs_then_they_sum_to_one_over_the_vocabulary(
    engine: _native.Engine,
) -> None:
    prompts = [[1, token] for token in range(engine.info().n_vocab)]
    outcomes = core.drain(engine, [engine.submit(scored(prompt)) for prompt in prompts])
    total = math.fsum(math.exp(one.prompt_logprobs[1].logprob) for one in outcomes)
    assert total == pytest.approx(1.0, abs=1e-3)


def test_prompt_logprobs_on_a_warm_cache_then_all_of_it_is_computed(
    engine: _native.Engine,
) -> None:
    cold = core.answer(engine, scored(PROMPT))
    warm = core.answer(engine, scored(PROMPT))
    assert warm.done.cached_tokens == 0
    assert [one.logprob for one in warm.prompt_logprobs] == [
        one.logprob for one in cold.prompt_logprobs
    ]
    # Its cache serves others as any other does.
    after = core.answer(engine, core.request([*PROMPT, 50]))
    assert after.done.cached_tokens == len(PROMPT)


def test_prompt_logprobs_beside_streams_then_nobody_is_disturbed(llama: Path) -> None:
    shared = core.load(llama, n_slots=4, n_batch=64, n_ubatch=64, **EXACT)
    made = [
        core.request([20, 30], max_tokens=60),
        scored(PROMPT),
        scored([1, *range(200, 280)], max_tokens=5),
        core.request([40] * 90, max_tokens=9),
    ]
    together = core.drain(shared, [shared.submit(request) for request in made])
    alone = [core.answer(shared, request) for request in made]
    for one, other in zip(together, alone, strict=True):
        assert one.tokens == other.tokens
        assert [p.logprob for p in one.prompt_logprobs] == pytest.approx(
            [p.logprob for p in other.prompt_logprobs], abs=1e-4
        )
    assert [len(one.prompt_logprobs) for one in together] == [0, 111, 81, 0]


def test_prompt_logprobs_with_speculation_then_they_are_the_same(llama: Path) -> None:
    plain = core.answer(core.load(llama, **EXACT), scored(PROMPT, max_tokens=8))
    for kind in ("ngram", "draft"):
        engine = core.load(llama, speculation=kind, draft_model_path=str(llama), **EXACT)
        guessed = core.answer(engine, scored(PROMPT, max_tokens=8))
        assert guessed.tokens == plain.tokens
        assert [p.logprob for p in guessed.prompt_logprobs] == pytest.approx(
            [p.logprob for p in plain.prompt_logprobs], abs=1e-4
        )
        assert [p.logprob for p in guessed.logprobs] == pytest.approx(
            [p.logprob for p in plain.logprobs], abs=1e-4
        )


def test_prompt_logprobs_given_text_then_offsets_point_into_it(engine: _native.Engine) -> None:
    text = "list the é files"
    found = core.answer(engine, scored(text)).prompt_logprobs
    assert [(one.text, one.offset) for one in found] == [
        *(("<s>", 0), (" list", 0), (" the", 4), (" ", 8), ("\ufffd", 9), ("\ufffd", 9)),
        (" files", 10),
    ]
    tokens = [one.token for one in found]
    whole = engine.detokenize(tokens, True).decode()
    again = core.answer(engine, scored(tokens)).prompt_logprobs
    assert whole == "<s> list the é files"
    assert [whole[one.offset :][:5] for one in again] == [
        *("<s> l", " list", " the ", " é fi", "é fil", "é fil", " file")
    ]


def test_prompt_logprobs_given_an_end_by_itself_then_its_token_is_reported(
    engine: _native.Engine,
) -> None:
    ended = {**TOP, "logit_bias": [(2, 1000.0)]}
    outcome = core.answer(engine, scored([1, 20], max_tokens=4, sampling=ended))
    assert outcome.done.finish_reason == "stop"
    assert [one.token for one in outcome.logprobs] == [2]
    assert outcome.tokens == []
    quiet = core.answer(engine, core.request([1, 20], max_tokens=4, sampling=ended))
    assert quiet.logprobs == []


def test_prompt_logprobs_of_broken_weights_then_the_request_fails(tmp_path: Path) -> None:
    path = write_arch_model(TinyArch.LLAMA, tmp_path / "nan.gguf")
    data = bytearray(path.read_bytes())
    data[-40_000:] = b"\xff\xff\xff\x7f" * 10_000
    path.write_bytes(data)
    outcome = core.answer(core.load(path, n_threads=1), scored(PROMPT))
    assert outcome.failed.code == "nan_logits"


def test_prompt_logprobs_cancelled_between_chunks_then_the_cache_is_sound(llama: Path) -> None:
    shared = core.load(llama, n_threads=1)
    request_id = shared.submit(scored(list(range(20, 300))))
    shared.run(0.0)
    shared.cancel(request_id)
    assert core.drain(shared, [request_id])[0].done.finish_reason == "cancelled"
    after = core.answer(shared, core.request([*range(20, 300), 7]))
    assert after.done.cached_tokens >= 32
    assert (
        after.tokens
        == core.answer(core.load(llama, n_threads=1), core.request([*range(20, 300), 7])).tokens
    )


def test_prompt_logprobs_beyond_the_context_then_it_is_not_shortened(llama: Path) -> None:
    small = core.load(llama, n_ctx=64)
    outcome = core.answer(small, scored([20] * 65, shift_context=True))
    assert outcome.failed.code == "context_length_exceeded"
    assert core.answer(small, scored([20] * 64)).done.prompt_tokens == 64


def test_max_tokens_zero_then_the_prompt_is_computed_and_nothing_said(
    engine: _native.Engine,
) -> None:
    prompt = list(range(30, 90))
    outcome = core.answer(engine, core.request(prompt, max_tokens=0, cache_prompt=False))
    assert outcome.done.finish_reason == "length"
    assert outcome.tokens == []
    assert outcome.done.completion_tokens == 0
    assert outcome.done.prefill_ms > 0
    assert outcome.done.ttft_ms == 0
    warm = core.answer(engine, core.request([*prompt, 33], max_tokens=1))
    assert warm.done.cached_tokens == 60


def test_suffix_then_the_prompt_has_the_order_of_the_models_marks(tmp_path: Path) -> None:
    marks = (("fim_pre_token_id", 3), ("fim_suf_token_id", 4), ("fim_mid_token_id", 0))
    vocab = replace(TINY_SPM, specials=(*TINY_SPM.specials, *marks))
    path = write_arch_model(TinyArch.LLAMA, tmp_path / "fim.gguf", vocab=vocab)
    engine = core.load(path, n_threads=1)
    prefix, suffix = (engine.tokenize(text, False, False) for text in ("list the", "files"))
    outcome = core.answer(engine, scored("list the", suffix="files", max_tokens=6))
    assert [one.token for one in outcome.prompt_logprobs] == [1, 3, *prefix, 4, *suffix, 0]
    whole = core.answer(engine, core.request([1, 3, *prefix, 4, *suffix, 0], max_tokens=6))
    assert outcome.tokens == whole.tokens


def test_suffix_for_a_model_without_the_marks_then_it_is_refused(engine: _native.Engine) -> None:
    with pytest.raises(_native.RequestError, match="no_fill_in"):
        engine.submit(core.request("list", suffix="files"))
    with pytest.raises(_native.RequestError, match="needs a prompt"):
        engine.submit(core.request([20], suffix="files"))


def test_grammar_at_its_end_with_ignore_eos_then_the_answer_ends(engine: _native.Engine) -> None:
    for sampling in ({}, {"temperature": 0.8}, {"temperature": 1.0, "mirostat": 2}):
        options = {"grammar": 'root ::= "list" | "files"', "ignore_eos": True, **sampling}
        outcome = core.answer(engine, core.request("x", max_tokens=30, sampling=options))
        assert outcome.text in ("list", "files")
        assert outcome.done.finish_reason == "stop"
        assert outcome.done.completion_tokens == len(outcome.tokens)


def test_grammar_that_no_token_fits_then_it_is_an_error_not_an_end(
    engine: _native.Engine,
) -> None:
    # The letters are all banned, so the grammar cannot go on, and it is not complete either.
    letters = [token for token in range(engine.info().n_vocab) if token not in (2, 4)]
    options = {"grammar": 'root ::= "list"', "logit_bias": [(t, float("-inf")) for t in letters]}
    outcome = core.answer(engine, core.request("x", max_tokens=30, sampling=options))
    assert outcome.failed.code == "nan_logits"


def test_grammar_at_its_end_with_speculation_then_guesses_are_dropped(llama: Path) -> None:
    engine = core.load(llama, speculation="ngram", n_threads=1)
    prompt = [20, 30, 40] * 20
    sampling = {"grammar": "root ::= [^\\x00]{1,12}", "ignore_eos": True}
    first = core.answer(engine, core.request(prompt, max_tokens=60, sampling=sampling))
    plain = core.answer(
        core.load(llama, n_threads=1), core.request(prompt, max_tokens=60, sampling=sampling)
    )
    assert first.tokens == plain.tokens
    assert first.done.finish_reason == plain.done.finish_reason == "stop"
    longer = [*prompt, *first.tokens, 33]
    assert (
        core.answer(engine, core.request(longer)).tokens
        == core.answer(core.load(llama, n_threads=1), core.request(longer)).tokens
    )


def test_pieces_then_each_token_has_its_bytes(engine: _native.Engine) -> None:
    tokens = engine.tokenize("é x", True, False)
    assert engine.pieces(tokens, True) == [b"<s>", b" ", b"\xc3", b"\xa9", b" ", b"x"]
    assert engine.pieces(tokens)[0] == b""
    assert engine.detokenize(tokens, True) == "<s> é x".encode()
    for token in (-1, engine.info().n_vocab):
        with pytest.raises(_native.RequestError, match="vocabulary ends at"):
            engine.detokenize([token])


def test_embedding_of_tokens_then_it_equals_that_of_their_text(tmp_path: Path) -> None:
    path = write_arch_model(TinyArch.BERT, tmp_path / "bert.gguf")
    engine = core.load(path, embedding=True, n_slots=2)
    texts = ["list the files", "show lines"]
    tokens = [engine.tokenize(text, True, False) for text in texts]
    assert engine.embed_tokens(tokens, True) == engine.embed(texts, True)
    with pytest.raises(_native.RequestError, match="vocabulary ends at"):
        engine.embed_tokens([[5], [10**6]], True)
    with pytest.raises(_native.RequestError, match="is empty"):
        engine.embed_tokens([[5], []], True)
