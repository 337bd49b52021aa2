from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from luci_tui import _native
from luci_tui.engine.job_frames import JobProgress, TextScored, TextScoreSpec
from luci_tui.engine.native_text_score import score_text, text_pieces
from luci_tui.errors import EngineError
from luci_tui.library.compare import DEFAULT_TEXT
from tests.support import raw_gguf
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.jobs import quantize_here
from tests.support.lora import write_lora
from tests.support.tiny_vocab import byte_pair_vocab
from tests.support.wide_models import write_wide_model

pytestmark = pytest.mark.native

N_CTX = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wide_model(tmp_path_factory.mktemp("wide") / "wide-F16.gguf", n_layers=1)


def score(model: Path, text: Path = DEFAULT_TEXT, **options: object) -> TextScored:
    fields: dict[str, object] = {"n_ctx": N_CTX, "n_chunks": 3, "n_prompt": 0, "n_gen": 0}
    fields["n_threads"] = 1
    spec = TextScoreSpec.model_validate(
        {"model": str(model), "text": str(text), **fields, **options}
    )
    return score_text(spec, lambda _: None)


def load_params(model: Path) -> _native.LoadParams:
    params = _native.LoadParams()
    params.model_path = str(model)
    params.n_threads = 1
    return params


def test_perplexity_is_that_of_the_second_half_of_each_chunk(model: Path) -> None:
    made = score(model)
    params = load_params(model)
    (tokens,) = _native.tokenize_all(params, [DEFAULT_TEXT.read_text("utf-8")], True, False)
    bos = tokens[0]
    losses: list[float] = []
    for start in range(0, 3 * N_CTX, N_CTX):
        chunk = [bos, *tokens[start + 1 : start + N_CTX]]
        logits = _native.all_logits(params, chunk).reshape(N_CTX, -1).astype(np.float64)
        for place in range(N_CTX // 2, N_CTX - 1):
            row = logits[place]
            whole = row.max() + math.log(np.exp(row - row.max()).sum())
            losses.append(float(whole - row[chunk[place + 1]]))
    assert made.n_scored == len(losses)
    assert made.perplexity == pytest.approx(math.exp(np.mean(losses)), rel=1e-3)
    error = made.perplexity * float(np.std(losses)) / math.sqrt(len(losses) - 1)
    assert made.perplexity_error == pytest.approx(error, rel=1e-3)


def test_divergence_of_a_model_from_itself_is_none_and_grows_with_less_bits(
    model: Path, tmp_path: Path
) -> None:
    base = str(tmp_path / "base")
    score(model, write_base=base)
    same = score(model, read_base=base)
    assert same.mean_kld == pytest.approx(0.0, abs=1e-5)
    assert same.top_agreement == 1.0
    divergences = [
        score(Path(quantize_here(model, name, tmp_path / name).path), read_base=base).mean_kld or 0
        for name in ("Q8_0", "Q4_K_M", "Q2_K")
    ]
    assert 0 < divergences[0] < divergences[1] < divergences[2]


def test_model_with_another_vocabulary_is_scored_alone(model: Path, tmp_path: Path) -> None:
    base = str(tmp_path / "base")
    score(model, write_base=base)
    vocab = byte_pair_vocab("gpt-2")
    other = write_arch_model(TinyArch.QWEN2, tmp_path / "other.gguf", vocab=vocab)
    made = score(other, read_base=base)
    assert made.is_other_vocabulary
    assert made.mean_kld is None
    assert made.perplexity is not None
    assert made.perplexity > 1


def test_embedding_models_are_compared_by_their_vectors(tmp_path: Path) -> None:
    model = write_arch_model(TinyArch.BERT, tmp_path / "bert.gguf")
    base = str(tmp_path / "base")
    first = score(model, write_base=base)
    assert first.perplexity is None
    assert first.n_scored == len(text_pieces(DEFAULT_TEXT.read_bytes()))
    assert score(model, read_base=base).embedding_distance == pytest.approx(0, abs=1e-6)
    small = quantize_here(model, "Q4_0", tmp_path / "small.gguf")
    distance = score(Path(small.path), read_base=base).embedding_distance
    assert distance is not None
    assert 1e-5 < distance < 0.5


@pytest.mark.parametrize("arch", [TinyArch.MAMBA, TinyArch.GEMMA3, TinyArch.JAMBA])
def test_other_kinds_of_memory_are_scored_too(arch: TinyArch, tmp_path: Path) -> None:
    made = score(write_arch_model(arch, tmp_path / "m.gguf"), n_prompt=16, n_gen=4)
    assert made.perplexity is not None
    assert made.perplexity > 1
    assert made.prefill_rate is not None
    assert made.decode_rate is not None
    assert made.memory is not None
    assert made.memory.total_bytes > 0


def test_text_that_fills_no_chunk_is_refused(model: Path, tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("the list")
    with pytest.raises(EngineError, match="Give a longer text") as raised:
        score(model, text)
    assert raised.value.code == "text_too_short"
    with pytest.raises(EngineError, match="There is no text"):
        score(model, tmp_path / "none.txt")


def test_base_file_that_is_damaged_or_cannot_be_written_is_refused(
    model: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    score(model, write_base=str(base))
    whole = base.read_bytes()
    for damaged in (b"", whole[:100], whole[:-1], b"x" + whole[1:]):
        base.write_bytes(damaged)
        with pytest.raises(EngineError, match="The base's predictions in"):
            score(model, read_base=str(base))
    with pytest.raises(EngineError, match="could not be written"):
        score(model, write_base=str(tmp_path / "none" / "base"))


def test_progress_counts_chunks(model: Path) -> None:
    seen: list[JobProgress] = []
    spec = TextScoreSpec(
        model=str(model), text=str(DEFAULT_TEXT), n_ctx=N_CTX, n_chunks=4, n_prompt=0, n_gen=0
    )
    score_text(spec, seen.append)
    counts = [event.n_done for event in seen if event.n_total == 4]
    assert counts == sorted(counts)
    assert counts[-1] == 4


def test_cancelled_score_ends(model: Path) -> None:
    params = _native.TextScoreParams()
    params.model_path = str(model)
    params.text = DEFAULT_TEXT.read_bytes()
    params.n_ctx = N_CTX
    progress = _native.TextScoreProgress()
    progress.cancel()
    with pytest.raises(_native.RequestError, match="cancelled"):
        _native.score_text(params, progress)
    assert progress.n_done == 0


def test_logits_of_no_or_too_many_or_unknown_tokens_are_refused(model: Path) -> None:
    params = load_params(model)
    for tokens in ([], [0] * 513, [10**6], [-1]):
        with pytest.raises(_native.RequestError):
            _native.all_logits(params, tokens)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: write_arch_model(TinyArch.RERANKER, path), "a reranker neither writes"),
        (lambda path: path.write_bytes(raw_gguf.good_vocabulary().build()), "it reads no text"),
        (write_lora, "it reads no text"),
    ],
)
def test_file_that_cannot_be_compared_is_refused_in_one_plain_sentence(
    tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    path = tmp_path / "odd.gguf"
    make(path)
    with pytest.raises(EngineError, match=why) as refused:
        score(path)
    assert refused.value.message.startswith("odd.gguf cannot be compared: ")
    assert "llama_" not in refused.value.message
