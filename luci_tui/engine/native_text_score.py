"""Measure models on a text with the compiled core. Runs in a job process, see job_child.py."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from luci_tui.engine.frames import Bench, Embed
from luci_tui.engine.job_frames import JobProgress, TextScored, TextScoreSpec
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.native import Core, LoadMonitor, require_native
from luci_tui.engine.native_imatrix import read_text
from luci_tui.engine.native_quantize import check_source
from luci_tui.errors import EngineError, LuciError, ModelLoadError
from luci_tui.gguf.describe import FILE_TYPES
from luci_tui.gguf.header import GgufHeader

if TYPE_CHECKING:
    from luci_tui import _native

POLL_S: Final = 0.05
EMBEDDED_CHARACTERS: Final = 400
"""Length of the pieces of the text that an embedding model is asked about."""
MAX_EMBEDDED: Final = 64

_POOLING_RANK: Final = 4
"""Source: llama.cpp, include/llama.h, LLAMA_POOLING_TYPE_RANK."""

Report = Callable[[JobProgress], None]
Floats = npt.NDArray[np.float32]


def score_text(spec: TextScoreSpec, report: Report) -> TextScored:
    """Measure one model.

    Raises:
        LuciError: the model or the text cannot be used.
    """
    require_native()
    header = check_source(Path(spec.model))
    _require_comparable(Path(spec.model).name, header)
    text = read_text(Path(spec.text))
    begin_s = time.monotonic()
    try:
        fields = _perplexity(spec, text, report)
    except EngineError as error:
        match error.code:
            case "no_perplexity":
                fields = _embedding_distance(spec, text)
            case "other_vocabulary":
                alone = spec.model_copy(update={"read_base": ""})
                fields = {**_perplexity(alone, text, report), "is_other_vocabulary": True}
            case _:
                raise
    score_s = time.monotonic() - begin_s
    report(JobProgress(what="speed", n_done=0, n_total=0, unit="chunks"))
    measured = _speed(spec, header)
    n_values = sum(tensor.n_values for tensor in header.tensors)
    n_bits = 8 * sum(tensor.size_bytes for tensor in header.tensors)
    return TextScored.model_validate(
        {
            "model": spec.model,
            "architecture": header.architecture,
            "size_bytes": header.size_bytes,
            "n_params": n_values,
            "bits_per_weight": n_bits / n_values if n_values else 0.0,
            "file_type": "" if header.file_type is None else FILE_TYPES.get(header.file_type, ""),
            "n_ctx": spec.n_ctx,
            "score_s": score_s,
            **fields,
            **measured,
        }
    )


def _require_comparable(name: str, header: GgufHeader) -> None:
    """Refuse what neither writes text nor makes embeddings; llama.cpp would say it in its words.

    Raises:
        EngineError: why it cannot be compared; code "not_comparable".
    """
    what = ""
    if all(tensor.name != "token_embd.weight" for tensor in header.tensors):
        what = "it reads no text (an adapter, a projector or a vocabulary alone)"
    elif header.values.get(f"{header.architecture}.pooling_type") == _POOLING_RANK:
        what = "a reranker neither writes text nor makes embeddings"
    if what:
        msg = f"{name} cannot be compared: {what}. Leave it out."
        raise EngineError(msg, code="not_comparable")


def _perplexity(spec: TextScoreSpec, text: bytes, report: Report) -> dict[str, object]:
    from luci_tui import _native as core

    params = core.TextScoreParams()
    params.model_path = spec.model
    params.text = text
    params.n_ctx = spec.n_ctx
    params.n_chunks = spec.n_chunks
    params.n_threads = spec.n_threads
    params.write_base_path = spec.write_base
    params.read_base_path = spec.read_base
    score = _run_watched(params, report)
    fields: dict[str, object] = {
        "n_chunks": score.n_chunks,
        "n_scored": score.n_scored,
        "perplexity": score.perplexity,
        "perplexity_error": score.perplexity_error,
    }
    if spec.read_base:
        fields |= {
            "mean_kld": score.mean_kld,
            "kld_error": score.kld_error,
            "top_agreement": score.top_agreement,
        }
    return fields


def _run_watched(params: _native.TextScoreParams, report: Report) -> _native.TextScore:
    from luci_tui import _native as core

    progress = core.TextScoreProgress()
    scores: list[_native.TextScore] = []
    failures: list[LuciError] = []

    def work() -> None:
        try:
            scores.append(core.score_text(params, progress))
        except core.RequestError as error:
            code, _, sentence = str(error).partition(": ")
            failures.append(EngineError(sentence, code=code))
        except core.NativeError as error:
            failures.append(EngineError(str(error), code="score_text"))
        except MemoryError:
            msg = "Measuring ran out of memory. Use a smaller --n-ctx or a smaller model."
            failures.append(EngineError(msg, code="out_of_memory"))

    thread = threading.Thread(target=work, name="score")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL_S)
            n_done, n_total = progress.n_done, progress.n_total
            name = Path(params.model_path).name
            report(JobProgress(what=name, n_done=n_done, n_total=n_total, unit="chunks"))
    finally:
        progress.cancel()
        thread.join()
    if failures:
        raise failures[0]
    return scores[0]


def _embedding_distance(spec: TextScoreSpec, text: bytes) -> dict[str, object]:
    """Embed pieces of the text; compare the vectors with the base's, or keep them for others."""
    pieces = text_pieces(text)
    load = LoadSpec(model_path=spec.model, n_threads=spec.n_threads, embedding=True, force=True)
    engine = Core(load, LoadMonitor())
    answer = json.loads(engine.embed(Embed(request_id=1, texts=tuple(pieces), normalize=True)))
    vectors = np.asarray(answer["vectors"], dtype=np.float32)
    fields: dict[str, object] = {"n_chunks": 0, "n_scored": len(pieces)}
    if spec.write_base:
        with Path(spec.write_base).open("wb") as file:
            np.save(file, vectors, allow_pickle=False)
    if spec.read_base:
        base: Floats = np.load(spec.read_base, allow_pickle=False)
        if base.shape != vectors.shape:
            return {**fields, "is_other_vocabulary": True}
        # Both have length 1.
        cosine = float(np.sum(base * vectors, dtype=np.float64)) / len(pieces)
        fields["embedding_distance"] = 1.0 - cosine
    return fields


def text_pieces(text: bytes) -> list[str]:
    """Cut a text between words into pieces that any embedding model takes."""
    words = re.sub(r"\s+", " ", text.decode("utf-8", errors="replace")).strip()
    pieces = re.findall(rf".{{1,{EMBEDDED_CHARACTERS}}}(?:\s|$)", words)
    return [piece.strip() for piece in pieces[:MAX_EMBEDDED]] or [words[:EMBEDDED_CHARACTERS]]


def _speed(spec: TextScoreSpec, header: GgufHeader) -> dict[str, object]:
    """Load the model as it would serve, and measure the bare core as `luci bench` does."""
    n_ctx = max(spec.n_ctx, spec.n_prompt, spec.n_gen)
    load = LoadSpec(
        model_path=spec.model,
        n_ctx=n_ctx,
        n_threads=spec.n_threads,
        embedding=_makes_embeddings(header),
        force=True,
    )
    try:
        engine = Core(load, LoadMonitor())
    except ModelLoadError as error:
        return {"note": error.message}
    fields: dict[str, object] = {"memory": engine.info(0.0).memory}
    n_gen = 0 if load.embedding else spec.n_gen
    if spec.n_prompt or n_gen:
        bench = Bench(request_id=1, n_prompt=spec.n_prompt, n_gen=n_gen)
        prefill, decode = engine.bench_once(bench)
        fields |= {"prefill_rate": prefill or None, "decode_rate": decode or None}
    return fields


def _makes_embeddings(header: GgufHeader) -> bool:
    return header.values.get(f"{header.architecture}.attention.causal") is False
