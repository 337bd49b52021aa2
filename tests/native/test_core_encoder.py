"""An encoder-decoder model: one prompt is read at a time, and nothing of it is kept."""

import json
from pathlib import Path

import gguf
import pytest

from luci_tui import _native
from luci_tui.engine.job_frames import ImatrixSpec
from luci_tui.engine.native_imatrix import make_imatrix
from tests.support import core
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.arch_parts import Sizes
from tests.support.tiny_vocab import TINY_UGM

pytestmark = pytest.mark.native

PROMPTS = ("list the files", "count lines", "show the large file and the small file", "find")


@pytest.fixture(scope="module")
def path(model_dir: Path) -> Path:
    return write_arch_model(TinyArch.T5, model_dir / "t5.gguf")


@pytest.fixture(scope="module")
def engine(path: Path) -> _native.Engine:
    return core.load(path, n_ctx=64, n_slots=4, n_batch=8, n_ubatch=4)


def chat(*messages: tuple[str, str], **options: object) -> _native.Request:
    made = [{"role": role, "content": content} for role, content in messages]
    return core.request(messages_json=json.dumps(made), **options)


def test_prompt_given_then_the_encoder_reads_all_of_it_and_the_answer_begins(
    engine: _native.Engine,
) -> None:
    answers = [core.answer(engine, core.request(prompt)) for prompt in PROMPTS]
    assert len({tuple(answer.tokens) for answer in answers}) == len(PROMPTS)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        tokens = engine.tokenize(prompt, True, False)
        assert tokens[-1] == TINY_UGM.id_of("</s>")
        assert answer.done.prompt_tokens == len(tokens)
        assert answer.done.completion_tokens == len(answer.tokens) == 24
        assert answer.done.cached_tokens == 0


def test_prompt_that_differs_in_its_first_token_then_the_answer_is_another(
    engine: _native.Engine,
) -> None:
    first = core.answer(engine, core.request([40, 41, 42, 43, 44, 45, 46, 47, 1]))
    other = core.answer(engine, core.request([39, 41, 42, 43, 44, 45, 46, 47, 1]))
    assert first.tokens != other.tokens


def test_first_token_then_it_is_that_of_the_encoder_and_decoder_alone(
    path: Path, engine: _native.Engine
) -> None:
    for prompt in PROMPTS:
        tokens = engine.tokenize(prompt, True, False)
        load = _native.LoadParams()
        load.model_path = str(path)
        logits = _native.all_logits(load, tokens)
        made = core.request(tokens, max_tokens=1)
        assert core.answer(engine, made).tokens == [int(logits.argmax())]


def test_requests_at_once_then_each_waits_for_its_turn_and_gets_its_own_answer(
    engine: _native.Engine,
) -> None:
    alone = [core.answer(engine, core.request(prompt)).tokens for prompt in PROMPTS]
    ids = [engine.submit(core.request(prompt)) for prompt in PROMPTS]
    (first,) = engine.run(0.0)
    status = engine.status()
    assert len(status.slots) == engine.info().n_slots == 1
    assert (status.n_active, status.n_queued) == (1, 3)
    together = core.drain(engine, ids)
    together[0].tokens = [*first.tokens, *together[0].tokens]
    assert [outcome.tokens for outcome in together] == alone


def test_same_prompt_twice_then_nothing_is_taken_from_a_cache(engine: _native.Engine) -> None:
    first, again = (core.answer(engine, core.request(PROMPTS[2])) for _ in range(2))
    assert first.tokens == again.tokens
    assert again.done.cached_tokens == 0


def test_answer_given_logprobs_then_each_token_has_one_and_the_best_is_chosen(
    engine: _native.Engine,
) -> None:
    made = core.request(PROMPTS[0], max_tokens=6, sampling={"n_logprobs": 3})
    outcome = core.answer(engine, made)
    assert [one.token for one in outcome.logprobs] == outcome.tokens
    assert all(one.logprob < 0 and one.top[0][0] == one.token for one in outcome.logprobs)


def test_cancel_in_the_middle_then_the_next_answer_is_untouched(engine: _native.Engine) -> None:
    alone = core.answer(engine, core.request(PROMPTS[1])).tokens
    cancelled = engine.submit(core.request(PROMPTS[0], max_tokens=60))
    while not any(event.tokens for event in engine.run(0.0)):
        assert engine.has_work()
    waiting = engine.submit(core.request(PROMPTS[1]))
    engine.cancel(cancelled)
    first, second = core.drain(engine, [cancelled, waiting])
    assert first.done.finish_reason == "cancelled"
    assert 0 < first.done.completion_tokens < 60
    assert second.tokens == alone


def test_prompt_as_long_as_the_context_then_it_is_read_in_one_piece(
    engine: _native.Engine,
) -> None:
    longest = [30 + number % 40 for number in range(63)] + [1]
    assert core.answer(engine, core.request(longest)).done.prompt_tokens == 64
    for shift in (False, True):
        made = core.request([*longest, 1], shift_context=shift)
        failed = core.answer(engine, made).failed
        assert failed.code == "context_length_exceeded"
        assert failed.message == (
            "The prompt has 65 tokens and the encoder reads at most 64 at once."
            " Shorten the prompt or load the model with a larger --n-ctx."
        )


def test_answer_as_long_as_the_context_then_it_ends_and_nothing_is_dropped(
    engine: _native.Engine,
) -> None:
    for shift in (False, True):
        made = core.request(PROMPTS[0], max_tokens=-1, shift_context=shift)
        done = core.answer(engine, made).done
        assert (done.finish_reason, done.completion_tokens) == ("length", 64)
        assert done.dropped_tokens == 0


def test_no_answer_wanted_then_the_prompt_is_only_read(engine: _native.Engine) -> None:
    done = core.answer(engine, core.request(PROMPTS[0], max_tokens=0)).done
    assert (done.finish_reason, done.completion_tokens) == ("length", 0)


def test_end_token_then_the_answer_stops(engine: _native.Engine) -> None:
    bias = ((TINY_UGM.id_of("</s>"), 100.0),)
    made = core.request(PROMPTS[0], sampling={"ignore_eos": False, "logit_bias": bias})
    outcome = core.answer(engine, made)
    assert outcome.done.finish_reason == "stop"
    assert outcome.text == ""


def test_grammar_then_it_holds_the_answer(engine: _native.Engine) -> None:
    made = core.request(PROMPTS[0], sampling={"grammar": 'root ::= " "? ("cat" | "dog")'})
    assert core.answer(engine, made).text.strip() in {"cat", "dog"}


def test_messages_without_a_template_then_the_last_one_is_the_prompt(
    engine: _native.Engine,
) -> None:
    assert not engine.info().has_chat_template
    plain = core.answer(engine, core.request("list files"))
    chatted = core.answer(
        engine, chat(("user", "find"), ("assistant", "name"), ("user", "list files"))
    )
    assert chatted.tokens == plain.tokens
    assert chatted.done.prompt_tokens == plain.done.prompt_tokens
    told = core.answer(engine, chat(("system", "count lines"), ("user", "list files")))
    assert told.tokens == core.answer(engine, core.request("count lines\n\nlist files")).tokens
    schema = core.answer(
        engine, chat(("user", "find"), sampling={"json_schema": '{"const": true}'})
    )
    assert schema.text.strip() == "true"


def test_messages_that_no_prompt_can_be_made_of_then_a_sentence_says_why(
    engine: _native.Engine,
) -> None:
    tools = json.dumps([{"type": "function", "function": {"name": "f", "parameters": {}}}])
    for made, words in (
        (chat(("user", "find"), ("assistant", "name")), "role 'assistant'"),
        (chat(("user", "find"), tools_json=tools), "without tools"),
        (core.request(messages_json="[]"), "role 'none'"),
        (core.request(messages_json="{"), "cannot be read"),
    ):
        with pytest.raises(_native.RequestError, match=words):
            engine.submit(made)
    assert core.answer(engine, chat(("user", "find"), tools_json=tools, tool_choice="none")).done


def test_template_of_the_person_then_it_is_used(path: Path) -> None:
    engine = core.load(path, n_ctx=64, chat_template="{{ messages[0].content }} files")
    assert engine.info().has_chat_template
    told = core.answer(engine, chat(("user", "list")))
    assert told.tokens == core.answer(engine, core.request("list files")).tokens


def test_what_such_a_model_cannot_do_then_a_sentence_says_so(
    path: Path, engine: _native.Engine, tmp_path: Path
) -> None:
    core.answer(engine, core.request("find"))
    with pytest.raises(_native.RequestError, match="does not foretell it"):
        engine.submit(core.request("find", prompt_logprobs=True))
    for move in (engine.save_state, engine.restore_state):
        with pytest.raises(_native.RequestError, match="cannot be saved or restored"):
            move(0, str(tmp_path / "state"))
    assert not list(tmp_path.iterdir())
    for options in (
        {"speculation": "ngram"},
        {"embedding": True},
        {"mmproj_path": str(path)},
    ):
        with pytest.raises(_native.ModelLoadError, match=r"encoder-decoder model, which .* luci"):
            core.load(path, **options)
    llama = write_arch_model(TinyArch.LLAMA, tmp_path / "llama.gguf")
    with pytest.raises(_native.ModelLoadError, match="decoder-only model as draft"):
        core.load(llama, speculation="draft", draft_model_path=str(path))


def test_imatrix_then_every_matrix_of_both_halves_has_its_sums(tmp_path: Path) -> None:
    sizes = Sizes(n_embd=256, n_ff=256, head_size=64)
    model = write_arch_model(TinyArch.T5, tmp_path / "wide.gguf", sizes=sizes)
    text = tmp_path / "text.txt"
    text.write_text(" ".join(PROMPTS) * 20)
    path = tmp_path / "imatrix.gguf"
    spec = ImatrixSpec(
        model=str(model), text=str(text), output=str(path), n_ctx=64, n_chunks=2, n_threads=1
    )
    make_imatrix(spec, lambda _: None)
    names = {name.removesuffix(".in_sum2") for name in _names(path) if name.endswith("sum2")}
    parts = ("attn_q", "attn_k", "attn_v", "attn_o", "ffn_gate", "ffn_up", "ffn_down")
    crossed = ("cross_attn_q", "cross_attn_k", "cross_attn_v", "cross_attn_o")
    assert names == {
        f"{half}.blk.{layer}.{part}.weight"
        for half, more in (("enc", ()), ("dec", crossed))
        for layer in range(2)
        for part in (*parts, *more)
    }


def _names(path: Path) -> list[str]:
    return [tensor.name for tensor in gguf.GGUFReader(path).tensors]


def test_bench_then_both_halves_are_measured(engine: _native.Engine) -> None:
    prefill, decode = engine.bench(32, 8, 1)
    assert prefill > 0
    assert decode > 0
