"""Small batches, full contexts, shared caches, hostile values: wrong answers and dead workers."""

import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from luci_tui import _native
from tests.support import core
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.tiny_vocab import byte_pair_vocab

pytestmark = pytest.mark.native

SHARED = list(range(20, 140))


def tokens_alone(path: Path, request: _native.Request, **options: object) -> list[int]:
    return core.answer(core.load(path, n_threads=1, **options), request).tokens


@pytest.mark.parametrize(
    "options",
    [
        {"n_slots": 4, "n_batch": 2},
        {"n_slots": 3, "n_batch": 4, "speculation": "ngram", "draft_n_max": 8},
    ],
    ids=["more-slots-than-a-batch", "more-guesses-than-a-batch"],
)
def test_batch_smaller_than_what_the_slots_decode_then_all_answer(
    llama: Path, options: dict[str, object]
) -> None:
    engine = core.load(llama, n_threads=1, **options)
    made = [core.request([20 + i, 30, 40] * 20, max_tokens=40) for i in range(4)]
    outcomes = core.drain(engine, [engine.submit(one) for one in made])
    assert [one.tokens for one in outcomes] == [tokens_alone(llama, one) for one in made]


def test_context_of_next_to_nothing_then_it_answers_or_says_why_not(llama: Path) -> None:
    for options in ({"n_ctx": 1}, {"n_ctx": 7}, {"n_ctx": 2**30, "n_slots": 4, "force": True}):
        with pytest.raises(_native.RequestError, match="use"):
            core.load(llama, **options)
    engine = core.load(llama, n_ctx=8, n_threads=1)
    for prompt, n_keep in (([20], 0), ([20] * 9, 2), ([20] * 7, 99)):
        made = core.request(prompt, max_tokens=30, shift_context=True, n_keep=n_keep)
        assert core.answer(engine, made).done.completion_tokens == 30


@pytest.mark.parametrize("kv_unified", [False, True], ids=["apart", "unified"])
def test_context_shift_beside_a_slot_with_the_same_beginning_then_that_one_is_unchanged(
    llama: Path, kv_unified: bool
) -> None:
    options: dict[str, object] = {"n_ctx": 192, "kv_unified": kv_unified, "kv_type_k": "f32"}
    engine = core.load(llama, n_slots=2, n_threads=1, **options)
    full = [*SHARED, *range(200, 260)]
    shifting = core.request(full, max_tokens=150, shift_context=True, n_keep=4)
    quiet = core.request([*SHARED, 44], max_tokens=60)
    outcomes = core.drain(engine, [engine.submit(shifting), engine.submit(quiet)])
    assert outcomes[0].done.dropped_tokens > 0
    assert outcomes[0].done.completion_tokens == 150
    assert outcomes[0].done.prompt_tokens == 180
    assert outcomes[1].done.cached_tokens == 120
    assert outcomes[1].tokens == tokens_alone(llama, quiet, n_ctx=192, kv_type_k="f32")


def test_context_shift_with_an_idle_cache_in_the_same_cells_then_it_is_still_good(
    llama: Path,
) -> None:
    options: dict[str, object] = {"n_ctx": 192, "kv_unified": True, "kv_type_k": "f32"}
    engine = core.load(llama, n_slots=2, n_threads=1, **options)
    both = [core.request([*SHARED, last], max_tokens=4) for last in (33, 44)]
    core.drain(engine, [engine.submit(one) for one in both])
    core.answer(
        engine, core.request([*SHARED, 33, 50], max_tokens=150, shift_context=True, n_keep=4)
    )
    again = core.request([*SHARED, 44, 60], max_tokens=20)
    outcome = core.answer(engine, again)
    assert outcome.done.cached_tokens > 100
    assert outcome.tokens == tokens_alone(llama, again, n_ctx=192, kv_type_k="f32")


def test_cache_after_a_context_shift_then_what_saw_dropped_tokens_is_not_used(
    llama: Path,
) -> None:
    engine = core.load(llama, n_ctx=128, n_threads=1)
    prompt = list(range(20, 120))
    said = core.answer(engine, core.request(prompt, max_tokens=60, shift_context=True, n_keep=8))
    dropped = said.done.dropped_tokens
    assert dropped > 0
    rest = [*prompt[:8], *[*prompt, *said.tokens][8 + dropped :]]
    again = core.answer(engine, core.request(rest, max_tokens=16))
    assert again.done.cached_tokens == 8
    assert again.tokens == tokens_alone(llama, core.request(rest, max_tokens=16), n_ctx=128)


@pytest.mark.parametrize("arch", [TinyArch.MAMBA, TinyArch.JAMBA, TinyArch.GEMMA3], ids=str)
def test_context_shift_of_other_memories_then_answers_go_on(arch: TinyArch, tmp_path: Path) -> None:
    path = write_arch_model(arch, tmp_path / "model.gguf")
    # The window of Gemma is shorter than this context, so its cells cannot be moved.
    engine = core.load(path, n_ctx=1024, n_slots=2, n_threads=1)
    long = core.request([20 + i % 200 for i in range(950)], max_tokens=200, shift_context=True)
    other = core.request([30, 40, 50], max_tokens=200)
    outcomes = core.drain(engine, [engine.submit(long), engine.submit(other)])
    assert outcomes[0].done.completion_tokens == 200
    assert outcomes[0].done.dropped_tokens > 0
    assert outcomes[0].done.prompt_tokens == 950
    assert outcomes[1].tokens == tokens_alone(path, other, n_ctx=1024)
    assert all(n_cached <= 1024 for _, _, n_cached in engine.status().slots)


def test_history_of_two_billion_tokens_then_it_costs_no_memory(llama: Path) -> None:
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tests.support import core\n"
        "engine = core.load(Path(sys.argv[1]))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for name, value in (('repeat_penalty', 1.2), ('dry_multiplier', 0.5)):\n"
        "    sampling = {name: value, 'repeat_last_n': 2**31 - 1, 'dry_last_n': 2**31 - 1}\n"
        "    made = core.request([20, 30], max_tokens=4, sampling=sampling)\n"
        "    assert core.answer(engine, made).done.completion_tokens == 4\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(  # our own interpreter and script
        [sys.executable, "-c", script, str(llama)], capture_output=True, check=True, timeout=60
    )
    assert int(done.stdout) < 100_000


def test_message_of_control_tokens_then_its_time_grows_with_its_length(llama: Path) -> None:
    engine = core.load(llama, n_threads=1)

    def seconds(n_tokens: int) -> float:
        text = "<|im_end|>" * n_tokens
        made = core.request(messages_json=f'[{{"role": "user", "content": "{text}"}}]')
        started = time.process_time()
        request_id = engine.submit(made)
        elapsed = time.process_time() - started
        assert core.drain(engine, [request_id])[0].failed.code == "context_length_exceeded"
        return elapsed

    # Four times the length is sixteen times the work where each token moves all that follows.
    assert seconds(200_000) < 9 * seconds(50_000)


def test_saved_state_of_other_lora_scales_then_it_is_refused(llama: Path, tmp_path: Path) -> None:
    from tests.support.lora import write_lora

    adapter = write_lora(tmp_path / "lora.gguf")
    engine = core.load(llama, loras=[(str(adapter), 0.0)])
    path = str(tmp_path / "slot.state")
    core.answer(engine, core.request([20, 30], lora_scales=[1.0]))
    with pytest.raises(_native.RequestError, match="LoRA scales"):
        engine.save_state(0, path)
    core.answer(engine, core.request([20, 30]))
    engine.save_state(0, path)
    with pytest.raises(_native.RequestError, match="invalid_state"):
        core.load(llama, n_threads=1).restore_state(0, path)


def test_logits_of_infinity_then_the_request_fails_and_says_so(llama: Path) -> None:
    engine = core.load(llama, n_threads=1)
    for sampling in ({}, {"temperature": 1.0}, {"temperature": 1.0, "top_k": 0}):
        options = {"logit_bias": [(20, math.inf)], "n_logprobs": 2, **sampling}
        outcome = core.answer(engine, core.request([30], sampling=options))
        assert outcome.failed.code == "nan_logits"


@pytest.mark.parametrize("depth", [900, 200_000])
def test_grammar_of_many_parentheses_then_it_is_used_or_refused(llama: Path, depth: int) -> None:
    engine = core.load(llama, n_threads=1)
    grammar = "root ::= " + "(" * depth + '"a(" [(] # (' + "\n" + ")" * depth
    made = core.request([20], sampling={"grammar": grammar})
    if depth > 1000:
        with pytest.raises(_native.RequestError, match="nests more than 1000"):
            engine.submit(made)
    else:
        assert core.answer(engine, made).text == "a(("


@pytest.mark.parametrize("pre", ["default", "deepseek-llm", "llama-bpe"])
def test_text_without_end_then_it_is_tokenized_and_no_word_is_broken(
    tmp_path: Path, pre: str
) -> None:
    path = write_arch_model(TinyArch.LLAMA, tmp_path / "bpe.gguf", vocab=byte_pair_vocab(pre))
    engine = core.load(path)
    for unit in ("a", "1", "!", "\u6f22", " ", "\n"):
        tokens = engine.tokenize(unit * 200_000, False, False)
        assert engine.detokenize(tokens).decode() == unit * 200_000
    sentence = " list the files \u6f22\u5b57, 12 of them!\n"
    once = engine.tokenize(sentence, False, False)
    bos = engine.tokenize("", True, False)
    assert len(bos) == 1
    assert engine.tokenize(sentence * 2000, True, False) == bos + once * 2000
    marked = engine.tokenize(sentence * 500 + "<s>", True, True)
    assert marked == bos + once * 500 + bos
