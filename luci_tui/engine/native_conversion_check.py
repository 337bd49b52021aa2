"""Compare a converted model with what its source said, see source_reference.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from luci_tui.engine.frames import Embed
from luci_tui.engine.job_frames import (
    ConversionChecked,
    ConversionCheckSpec,
    JobProgress,
    PredictionCheck,
    TokenDifference,
)
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.native import Core, LoadMonitor, require_native
from luci_tui.engine.native_quantize import check_source
from luci_tui.engine.source_reference import JSON_NAME, NPZ_NAME
from luci_tui.errors import EngineError

if TYPE_CHECKING:
    from luci_tui import _native

N_SHOWN: Final = 5
MAX_SHOWN_TOKENS: Final = 24

Report = Callable[[JobProgress], None]
Floats = npt.NDArray[np.float32]


def check_conversion(spec: ConversionCheckSpec, report: Report) -> ConversionChecked:
    """Tokenize the reference's strings, compute its prompts, and say what differs.

    Raises:
        LuciError: the converted file cannot be loaded.
    """
    require_native()
    from luci_tui import _native as core

    check_source(Path(spec.model))
    folder = Path(spec.reference)
    document: Mapping[str, Any] = json.loads((folder / JSON_NAME).read_text(encoding="utf-8"))
    n_strings = len(document["strings"])
    report(JobProgress(what="tokens", n_done=0, n_total=n_strings, unit="strings"))
    params = core.LoadParams()
    params.model_path = spec.model
    try:
        different, specials = _compare_tokens(params, document)
        notes: list[str] = []
        with np.load(folder / NPZ_NAME, allow_pickle=False) as arrays:
            predictions = _compare_predictions(params, dict(arrays), notes, report)
    except core.NativeError as error:
        raise EngineError(f"The converted model cannot be used: {error}", code="check") from error
    return ConversionChecked(
        n_strings=n_strings,
        n_different=len(different),
        n_different_specials=specials,
        differences=tuple(different[:N_SHOWN]),
        predictions=predictions,
        notes=tuple(notes),
    )


def _compare_tokens(
    params: _native.LoadParams, document: Mapping[str, Any]
) -> tuple[list[TokenDifference], int]:
    """Give the strings that differ, and how many differ in nothing but what is added around."""
    from luci_tui import _native as core

    texts: list[str] = document["strings"]
    if not texts:
        return [], 0
    plain = core.tokenize_all(params, texts, False, True)
    special = core.tokenize_all(params, texts, True, True)
    different: list[TokenDifference] = []
    n_specials = 0
    for text, ours, ours_special, theirs, theirs_special in zip(
        texts, plain, special, document["plain"], document["special"], strict=True
    ):
        if ours != theirs:
            different.append(
                TokenDifference(
                    text=text,
                    source_tokens=tuple(theirs[:MAX_SHOWN_TOKENS]),
                    model_tokens=tuple(ours[:MAX_SHOWN_TOKENS]),
                )
            )
        elif ours_special != theirs_special:
            n_specials += 1
    return different, n_specials


def _compare_predictions(
    params: _native.LoadParams, arrays: Mapping[str, Any], notes: list[str], report: Report
) -> PredictionCheck | None:
    prompts = [name for name in arrays if name.startswith("tokens_")]
    if not prompts:
        return None
    is_logits = str(arrays["kind"]) == "logits"
    pairs: list[tuple[Floats, Floats]] = []
    for index, name in enumerate(prompts):
        report(JobProgress(what="predictions", n_done=index, n_total=len(prompts), unit="steps"))
        tokens = [int(one) for one in arrays[name]]
        theirs: Floats = arrays[name.replace("tokens_", "values_")]
        ours = _logits(params, tokens, theirs) if is_logits else _vector(params, tokens)
        n_columns = min(ours.shape[1], theirs.shape[1])
        pairs.append((ours[:, :n_columns], theirs[: len(ours), :n_columns]))
    if any(ours.shape != theirs.shape for ours, theirs in pairs):
        notes.append("Predictions were not compared: they have other shapes than the source's.")
        return None
    return _summary(pairs, is_logits=is_logits)


def _logits(params: _native.LoadParams, tokens: Sequence[int], theirs: Floats) -> Floats:
    """Give (n_positions, n_vocab) float32."""
    from luci_tui import _native as core

    return core.all_logits(params, tokens).reshape(len(theirs), -1)


def _vector(params: _native.LoadParams, tokens: Sequence[int]) -> Floats:
    """Give (1, n_embd) float32, of length 1."""
    load = LoadSpec(model_path=params.model_path, embedding=True, pooling="mean", force=True)
    engine = Core(load, LoadMonitor())
    command = Embed(request_id=1, token_lists=(tuple(tokens),), normalize=True)
    return np.asarray(json.loads(engine.embed(command))["vectors"], dtype=np.float32)


def _summary(pairs: Sequence[tuple[Floats, Floats]], *, is_logits: bool) -> PredictionCheck:
    differences = np.concatenate([np.abs(a - b).ravel() for a, b in pairs])
    if is_logits:
        same = np.concatenate([a.argmax(axis=1) == b.argmax(axis=1) for a, b in pairs])
        agreement = float(same.mean())
    else:
        agreement = min(float(np.sum(a.astype(np.float64) * b)) for a, b in pairs)
    return PredictionCheck(
        what="logits" if is_logits else "embeddings",
        n_prompts=len(pairs),
        n_positions=sum(len(a) for a, _ in pairs),
        max_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        top_agreement=agreement,
    )
