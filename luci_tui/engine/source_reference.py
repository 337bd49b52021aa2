"""Ask transformers what a source model says, in a job process of its own.

Its answers go into two files: reference.json (strings, tokens, notes) and reference.npz (the
predictions for a few prompts). `native_conversion_check` compares the converted model with them.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from luci_tui.engine.job_frames import JobProgress, SourceReferenceMade, SourceReferenceSpec
from luci_tui.engine.sealed import keep_foreign_code_out, seal_process
from luci_tui.engine.source_tokenizers import source_tokenizer

JSON_NAME: Final = "reference.json"
NPZ_NAME: Final = "reference.npz"
MAX_PROMPT: Final = 48
"""Tokens of a prompt whose predictions are compared."""
N_PROMPTS: Final = 4
_EVERY: Final = 50
"""Strings between two reports of progress."""

Report = Callable[[JobProgress], None]


def make_reference(spec: SourceReferenceSpec, report: Report) -> SourceReferenceMade:
    """Tokenize the strings, compute the prompts' predictions, and write both.

    What transformers cannot do with this model is left out, with a note.
    """
    seal_process()
    report(JobProgress(what="transformers", n_done=0, n_total=0, unit="strings"))
    keep_foreign_code_out()
    source = Path(spec.source)
    notes: list[str] = []
    document = _tokens(source, spec.strings, notes, report)
    arrays = _predictions(source, document, spec.max_bytes, notes, report)
    folder = Path(spec.output)
    with (folder / NPZ_NAME).open("wb") as file:
        np.savez(file, **arrays)
    text = json.dumps({**document, "notes": notes}, ensure_ascii=False)
    (folder / JSON_NAME).write_text(text, encoding="utf-8")
    return SourceReferenceMade(
        n_strings=len(document["strings"]),
        n_prompts=sum(name.startswith("tokens_") for name in arrays),
        notes=tuple(notes),
    )


def _tokens(
    source: Path, strings: Sequence[str], notes: list[str], report: Report
) -> dict[str, Any]:
    """Give {"strings", "plain", "special"}: each string's tokens without and with additions."""
    try:
        tokenizer = source_tokenizer(source)
        chosen = [*strings, *_with_specials(tokenizer.specials, strings)]
        plain: list[list[int]] = []
        special: list[list[int]] = []
        for index, text in enumerate(chosen):
            if index % _EVERY == 0:
                what, n = "source tokens", len(chosen)
                report(JobProgress(what=what, n_done=index, n_total=n, unit="strings"))
            plain.append(tokenizer.encode(text, add_special=False))
            special.append(tokenizer.encode(text, add_special=True))
    except Exception as error:
        # Anything may come out of libraries that read a stranger's files; the rest goes on.
        notes.append(f"Tokens were not compared: the tokenizer cannot be loaded ({error}).")
        return {"strings": [], "plain": [], "special": []}
    return {"strings": chosen, "plain": plain, "special": special}


def _with_specials(specials: Sequence[str], strings: Sequence[str]) -> list[str]:
    """Make strings that hold the vocabulary's own special tokens."""
    texts = [text for text in strings if text.strip()]
    return [f"{text}{name}{text}" for name, text in zip(specials, texts, strict=False)]


def _predictions(
    source: Path, document: dict[str, Any], max_bytes: int, notes: list[str], report: Report
) -> dict[str, Any]:
    """Give arrays tokens_0, values_0, ... and the kind of the values."""
    prompts = [tokens[:MAX_PROMPT] for tokens in document["special"] if len(tokens) >= 8]
    prompts = prompts[:N_PROMPTS]
    needed = 2 * sum(path.stat().st_size for path in _weight_files(source))
    if not prompts or needed > max_bytes:
        why = "the tokenizer gives no prompt" if not prompts else f"{needed} bytes do not fit"
        notes.append(f"Predictions were not compared: {why}.")
        return {}
    report(JobProgress(what="source predictions", n_done=0, n_total=len(prompts), unit="steps"))
    try:
        return _computed(source, prompts)
    except Exception as error:
        # As above: transformers may know the tokenizer and not the architecture.
        words = " ".join(str(error).split())[:200]
        notes.append(f"Predictions were not compared: transformers cannot run the model ({words}).")
        return {}


def _computed(source: Path, prompts: list[list[int]]) -> dict[str, Any]:
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    config: Any = transformers.AutoConfig.from_pretrained(str(source))
    name = str((config.architectures or [""])[0])
    is_generator = name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration"))
    is_encoder_decoder = bool(config.is_encoder_decoder)
    kind: Any = getattr(transformers, name) if is_generator else transformers.AutoModel
    model: Any = kind.from_pretrained(str(source), dtype=torch.float32).eval()
    arrays: dict[str, Any] = {}
    with torch.inference_mode():
        for index, prompt in enumerate(prompts):
            inputs: dict[str, Any] = {"input_ids": torch.tensor([prompt])}
            if is_encoder_decoder:
                inputs["decoder_input_ids"] = torch.tensor([[config.decoder_start_token_id]])
            output: Any = model(**inputs)
            values: Any = output.logits[0] if is_generator else _mean_vector(output)
            arrays[f"tokens_{index}"] = np.asarray(prompt, dtype=np.int32)
            arrays[f"values_{index}"] = values.float().numpy()
    arrays["kind"] = np.asarray("logits" if is_generator else "embeddings")
    return arrays


def _mean_vector(output: Any) -> Any:
    """Pool as luci does with `pooling="mean"`, to length 1."""
    mean = output.last_hidden_state[0].mean(dim=0)
    return (mean / mean.norm()).unsqueeze(0)


def _weight_files(source: Path) -> list[Path]:
    return [*source.glob("*.safetensors"), *source.glob("*.bin")]
