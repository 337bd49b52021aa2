"""LoRA, speculation, saved states, embeddings, reranking, loading."""

import math
from pathlib import Path

import pytest

from luci_tui import _native
from tests.support import core
from tests.support.arch_models import RECURRENT_ARCHS, TinyArch, write_arch_model
from tests.support.lora import write_lora

pytestmark = pytest.mark.native


def test_lora_scales_then_requests_differ_and_zero_equals_the_bare_model(
    llama: Path, tmp_path: Path
) -> None:
    adapter = write_lora(tmp_path / "lora.gguf")
    bare = core.answer(core.load(llama), core.request("show")).tokens
    engine = core.load(llama, n_slots=3, loras=[(str(adapter), 0.0)])
    made = [core.request("show", lora_scales=[scale]) for scale in (0.0, 1.0, 0.5)]
    together = core.drain(engine, [engine.submit(r) for r in made])
    assert together[0].tokens == bare
    assert len({tuple(o.tokens) for o in together}) == 3
    alone = [core.answer(engine, r).tokens for r in made]
    assert alone == [o.tokens for o in together]


def test_lora_of_nothing_then_the_load_says_which_file(llama: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no adapter")
    with pytest.raises(_native.ModelLoadError, match=r"broken\.gguf"):
        core.load(llama, loras=[(str(broken), 1.0)])


def test_lora_scales_of_the_wrong_number_then_they_are_refused(llama: Path) -> None:
    with pytest.raises(_native.RequestError, match="LoRA scales"):
        core.load(llama).submit(core.request("x", lora_scales=[1.0]))


@pytest.mark.parametrize("n_slots", [1, 3])
@pytest.mark.parametrize("kind", ["ngram", "draft"])
def test_speculation_at_temperature_zero_then_the_answer_is_unchanged(
    llama: Path, model_dir: Path, kind: str, n_slots: int
) -> None:
    draft = write_arch_model(TinyArch.LLAMA, model_dir / "draft.gguf", n_layers=1)
    prompts = [[20 + i, 30, 40] * 20 for i in range(4)]
    plain = core.load(llama, n_slots=n_slots)
    expected = [core.answer(plain, core.request(p, max_tokens=120)).tokens for p in prompts]
    engine = core.load(
        llama,
        n_slots=n_slots,
        speculation=kind,
        draft_model_path=str(draft) if kind == "draft" else "",
    )
    made = [core.request(p, max_tokens=120) for p in prompts]
    outcomes = core.drain(engine, [engine.submit(r) for r in made])
    assert [o.tokens for o in outcomes] == expected
    assert sum(o.done.drafted_tokens for o in outcomes) > 0


def test_speculation_with_the_model_as_its_own_draft_then_guesses_are_accepted(
    llama: Path,
) -> None:
    engine = core.load(llama, speculation="draft", draft_model_path=str(llama), draft_n_max=4)
    outcome = core.answer(engine, core.request("show the files", max_tokens=80))
    plain = core.answer(core.load(llama), core.request("show the files", max_tokens=80))
    assert outcome.tokens == plain.tokens
    assert outcome.done.accepted_tokens > 40
    # A second turn on the same slot: the draft's cache must have been rewound with the model's.
    longer = [*core.load(llama).tokenize("show the files", True, False), *outcome.tokens, 50]
    again = core.answer(engine, core.request(longer, max_tokens=40))
    assert again.tokens == core.answer(core.load(llama), core.request(longer, max_tokens=40)).tokens


@pytest.mark.parametrize("arch", RECURRENT_ARCHS, ids=str)
def test_speculation_on_a_recurrent_model_then_it_is_refused(
    arch: TinyArch, tmp_path: Path
) -> None:
    path = write_arch_model(arch, tmp_path / "model.gguf")
    with pytest.raises(_native.ModelLoadError, match="rewound"):
        core.load(path, speculation="ngram")


def test_saved_state_then_a_fresh_engine_goes_on_from_it(llama: Path, tmp_path: Path) -> None:
    prompt = list(range(20, 120))
    first = core.load(llama)
    core.answer(first, core.request(prompt, max_tokens=1))
    n_tokens, size_bytes = first.save_state(0, str(tmp_path / "slot.state"))
    assert n_tokens == 100
    assert size_bytes == (tmp_path / "slot.state").stat().st_size
    second = core.load(llama)
    assert second.restore_state(0, str(tmp_path / "slot.state")) == (n_tokens, size_bytes)
    outcome = core.answer(second, core.request([*prompt, 33]))
    assert outcome.done.cached_tokens == 100
    assert outcome.tokens == core.answer(core.load(llama), core.request([*prompt, 33])).tokens


def test_saved_state_damaged_then_it_is_refused(llama: Path, tmp_path: Path) -> None:
    path = tmp_path / "slot.state"
    engine = core.load(llama)
    core.answer(engine, core.request(list(range(20, 60))))
    engine.save_state(0, str(path))
    whole = path.read_bytes()
    damaged = [b"", whole[:40], whole[:-1], whole[:200] + b"\0\1\2\3" + whole[204:], b"x" * 500]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(_native.RequestError, match="invalid_state"):
            core.load(llama).restore_state(0, str(path))
    assert not list(tmp_path.glob("*.part"))


def test_saved_state_of_another_model_then_it_is_refused(llama: Path, tmp_path: Path) -> None:
    other = write_arch_model(TinyArch.LLAMA, tmp_path / "other.gguf", n_layers=2)
    engine = core.load(other)
    core.answer(engine, core.request([20, 30]))
    engine.save_state(0, str(tmp_path / "slot.state"))
    with pytest.raises(_native.RequestError, match="another model"):
        core.load(llama).restore_state(0, str(tmp_path / "slot.state"))


def test_saved_state_after_a_context_shift_then_it_is_refused(llama: Path, tmp_path: Path) -> None:
    engine = core.load(llama, n_ctx=256)
    shifted = core.request([20] * 200, max_tokens=150, shift_context=True, n_keep=8)
    core.answer(engine, shifted)
    with pytest.raises(_native.RequestError, match="was shifted"):
        engine.save_state(0, str(tmp_path / "slot.state"))


def test_embeddings_then_they_are_unit_vectors_and_batching_changes_nothing(
    tmp_path: Path,
) -> None:
    path = write_arch_model(TinyArch.BERT, tmp_path / "bert.gguf")
    texts = ["list the files", "show lines", "count of the large files in the list"]
    together, n_tokens = core.load(path, embedding=True, n_slots=4).embed(texts, True)
    alone = [core.load(path, embedding=True).embed([text], True)[0][0] for text in texts]
    assert n_tokens > 0
    for vector, single in zip(together, alone, strict=True):
        assert math.fsum(v * v for v in vector) == pytest.approx(1.0, abs=1e-5)
        assert vector == pytest.approx(single, abs=1e-4)


def test_embeddings_of_a_generative_model_then_tokens_are_averaged(llama: Path) -> None:
    vectors, _ = core.load(llama, embedding=True).embed(["the files", "the files", "lines"], False)
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-5)
    assert vectors[0] != pytest.approx(vectors[2], abs=1e-3)


def test_embedding_a_text_beyond_the_context_then_it_is_refused(tmp_path: Path) -> None:
    path = write_arch_model(TinyArch.BERT, tmp_path / "bert.gguf")
    engine = core.load(path, embedding=True, n_ctx=64)
    with pytest.raises(_native.RequestError, match="context_length_exceeded"):
        engine.embed(["the " * 200], True)
    with pytest.raises(_native.RequestError, match="generates no text"):
        engine.submit(core.request("x"))


def test_rerank_then_each_document_has_its_own_score(tmp_path: Path) -> None:
    path = write_arch_model(TinyArch.RERANKER, tmp_path / "rank.gguf")
    engine = core.load(path, embedding=True, pooling="rank", n_slots=2)
    documents = ["list of files", "small name", "list of files"]
    scores, n_tokens = engine.rerank("show files", documents)
    assert n_tokens > 0
    assert scores[0] == pytest.approx(scores[2], abs=1e-4)
    assert scores[0] != pytest.approx(scores[1], abs=1e-4)


def test_rerank_given_a_query_with_a_place_of_the_template_then_it_is_text(
    tmp_path: Path,
) -> None:
    # Where the documents differ and the template has no place for them, no score may differ.
    template = [{"name": "rerank", "template": "{query}"}]
    path = write_arch_model(TinyArch.RERANKER, tmp_path / "rank.gguf", chat_template=template)
    engine = core.load(path, embedding=True, pooling="rank")
    scores, _ = engine.rerank("show {document}", ["list of files", "small name"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


@pytest.mark.parametrize("kv_type", ["f32", "q8_0", "q4_0"])
@pytest.mark.parametrize("flash_attention", ["on", "off"])
def test_kv_types_then_the_model_answers_or_says_why_not(
    llama: Path, kv_type: str, flash_attention: str
) -> None:
    # A quantized V cache needs flash attention; llama.cpp says so and the load fails cleanly.
    options = {"kv_type_k": kv_type, "kv_type_v": kv_type, "flash_attention": flash_attention}
    if kv_type != "f32" and flash_attention == "off":
        with pytest.raises(_native.ContextError, match="flash"):
            core.load(llama, **options)
        return
    outcome = core.answer(core.load(llama, **options), core.request("files", max_tokens=30))
    assert outcome.done.completion_tokens == 30


def test_unknown_kv_type_then_the_known_ones_are_named(llama: Path) -> None:
    with pytest.raises(_native.RequestError, match="q8_0"):
        core.load(llama, kv_type_k="q9_9")


@pytest.mark.parametrize(
    "data", [b"", b"GGUF", b"<html>not found</html>", b"GGUF\x03\0\0\0" + b"\xff" * 64]
)
def test_load_of_something_else_then_one_sentence(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(data)
    with pytest.raises(_native.ModelLoadError, match=r"broken\.gguf could not be loaded: .+"):
        core.load(path)


def test_load_cancelled_then_it_stops(llama: Path) -> None:
    params = _native.LoadParams()
    params.model_path = str(llama)
    progress = _native.LoadProgress()
    progress.cancel()
    with pytest.raises(_native.ModelLoadError, match="cancelled"):
        _native.Engine(params, progress)


def test_nan_weights_then_the_request_fails_and_says_so(tmp_path: Path) -> None:
    path = write_arch_model(TinyArch.LLAMA, tmp_path / "nan.gguf")
    data = bytearray(path.read_bytes())
    data[-40_000:] = b"\xff\xff\xff\x7f" * 10_000
    path.write_bytes(data)
    outcome = core.answer(core.load(path), core.request("x"))
    assert outcome.failed.code == "nan_logits"


def test_bench_then_both_rates_are_positive(llama: Path) -> None:
    prefill, decode = core.load(llama, n_slots=4).bench(64, 16, 4)
    assert prefill > 0
    assert decode > 0


def test_bench_beyond_the_context_then_it_is_refused(llama: Path) -> None:
    with pytest.raises(_native.RequestError, match="does not fit"):
        core.load(llama).bench(4096, 0, 1)


def test_info_then_it_describes_the_model(llama: Path) -> None:
    info = core.load(llama).info()
    assert info.architecture == "llama"
    assert info.n_ctx == 1024
    assert info.n_ctx_train == 2048
    assert info.has_chat_template
    assert info.can_rewind
    assert info.size_bytes > 0
