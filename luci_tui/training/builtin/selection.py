"""Choose the samples of a pool that are worth a backward pass: those the model finds hard.

Late in a run most samples are answered rightly and give next to no gradient. A forward pass costs
a third of a full step, so it pays to look at all samples and to learn from the hard ones.
Source of the idea: Jiang et al. 2019, "Accelerating Deep Learning by Focusing on the Biggest
Losers", https://arxiv.org/abs/1910.00762.
"""

from random import Random

import torch
from transformers import LlamaForCausalLM

from luci_tui.training.builtin.model import make_batches, to_tensors

Pair = tuple[list[int], list[int]]

_TOKENS_PER_BATCH = 4096
_EASY_SHARE = 0.06
"""Share of the easy samples that is kept all the same, so that nothing learnt is let go."""


@torch.no_grad()
def losses(model: LlamaForCausalLM, batch: list[Pair]) -> list[float]:
    """Give the loss of each answer of a batch: the sum over its tokens, in nats."""
    ids, labels = to_tensors(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        wanted = targets != -100
        logits = model.lm_head(hidden[wanted])
    each = torch.nn.functional.cross_entropy(logits.float(), targets[wanted], reduction="none")
    rows = wanted.nonzero()[:, 0]
    return torch.zeros(len(batch)).index_add_(0, rows, each).tolist()


def hardest(model: LlamaForCausalLM, pairs: list[Pair], share: float, rng: Random) -> list[Pair]:
    """Give the share of the pairs with the largest losses, and a few of the others.

    Args:
        model: the model as it stands.
        pairs: prompts and answers as token ids.
        share: of the pairs to keep, 0 to 1; 1 keeps all and computes nothing.
        rng: chooses among the easy ones.
    """
    if share >= 1:
        return pairs
    scored: list[tuple[float, Pair]] = []
    for batch in make_batches(pairs, tokens_per_batch=_TOKENS_PER_BATCH, rng=rng):
        scored += zip(losses(model, batch), batch, strict=True)
    scored.sort(key=lambda item: item[0], reverse=True)
    n_hard = int(len(scored) * share)
    hard = [pair for _, pair in scored[:n_hard]]
    easy = [pair for _, pair in scored[n_hard:] if rng.random() < _EASY_SHARE]
    return hard + easy
