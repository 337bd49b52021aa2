"""The sets that a training run is watched with: template lines kept out, and own requests."""

from functools import cache
from itertools import islice

import yaml
from transformers import LlamaForCausalLM

from luci_tui.training.builtin.contract import HOME, load_contract
from luci_tui.training.builtin.generator import DECLINE, Generator, Sample
from luci_tui.training.builtin.model import answer_all
from luci_tui.training.builtin.tokenizer import Codec


@cache
def written_requests() -> tuple[tuple[str, str], ...]:
    """Give the hand-written development requests with their commands."""
    text = yaml.safe_load((HOME / "dev_requests.yaml").read_text(encoding="utf-8"))["requests"]
    sentence = load_contract().decline_sentence
    pairs: list[tuple[str, str]] = []
    for line in text.strip().split("\n"):
        request, _, command = line.partition(" => ")
        pairs.append((request, sentence if command == DECLINE else command))
    return tuple(pairs)


def _share(model: LlamaForCausalLM, codec: Codec, pairs: list[tuple[str, str]]) -> float:
    answers = answer_all(model, codec, [request for request, _ in pairs])
    right = sum(got == wanted for got, (_, wanted) in zip(answers, pairs, strict=True))
    return round(right / max(1, len(pairs)), 3)


def dev_score(
    model: LlamaForCausalLM, codec: Codec, *, seed: int, n_samples: int = 160
) -> dict[str, float]:
    """Measure exact answers on each development set.

    Returns:
        `values`: known templates, held-out values; `templates`: unseen template lines in scope;
        `declines`: unseen template lines out of scope; `written_in`, `written_out`: own requests.
    """
    sentence = load_contract().decline_sentence
    known = islice(Generator(seed, held_out_values=True), n_samples)
    unseen = list(islice(Generator(seed, dev=True), 2 * n_samples))
    written = written_requests()

    def pairs(samples: list[Sample]) -> list[tuple[str, str]]:
        return [(sample.request, sample.command) for sample in samples]

    return {
        "values": _share(model, codec, pairs(list(known))),
        "templates": _share(model, codec, pairs([s for s in unseen if s.intent != DECLINE])),
        "declines": _share(model, codec, pairs([s for s in unseen if s.intent == DECLINE])),
        "written_in": _share(model, codec, [p for p in written if p[1] != sentence]),
        "written_out": _share(model, codec, [p for p in written if p[1] == sentence]),
    }
