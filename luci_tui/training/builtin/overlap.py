"""Keep the frozen test sets out of training, and measure that they are out.

Only hashes of the frozen requests leave this module; no request is printed or returned.
"""

import json
import re
from functools import cache
from hashlib import blake2b

from luci_tui.training.builtin.contract import HOME
from luci_tui.training.builtin.generator import Generator

FROZEN_SETS = ("paraphrases", "freestyle", "out_of_scope")
_NOT_WORD = re.compile(r"[^a-z0-9]+")


def normalise(request: str) -> str:
    """Give a request in lower case with every run of other characters as one space."""
    return _NOT_WORD.sub(" ", request.lower()).strip()


def _digest(request: str) -> bytes:
    return blake2b(normalise(request).encode(), digest_size=12).digest()


@cache
def frozen_digests() -> frozenset[bytes]:
    """Give the digests of all frozen requests after normalisation."""
    return frozenset(_digest(request) for name in FROZEN_SETS for request in _requests(name))


def is_frozen(request: str) -> bool:
    """Say whether a request equals one of the frozen test sets after normalisation."""
    return _digest(request) in frozen_digests()


def _ngrams(request: str, n: int) -> set[tuple[str, ...]]:
    words = normalise(request).split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def overlap(n_samples: int, *, seed: int = 11, n: int = 4) -> dict[str, float]:
    """Compare the frozen requests with generated samples.

    Args:
        n_samples: how many samples to generate.
        seed: of the samples.
        n: length of the compared word sequences.

    Returns:
        `dropped_samples`: samples equal to a frozen request, which training drops;
        for each set `_reached`: how many of its requests they equal, and `_4gram_share`: the
        share of its word sequences, arguments included, that occur in the samples left.
    """
    digests = {name: {_digest(request) for request in _requests(name)} for name in FROZEN_SETS}
    grams = {
        name: set[tuple[str, ...]]().union(*(_ngrams(r, n) for r in _requests(name)))
        for name in FROZEN_SETS
    }
    wanted = set[tuple[str, ...]]().union(*grams.values())
    seen: set[tuple[str, ...]] = set()
    reached: list[bytes] = []
    samples = iter(Generator(seed))
    for _ in range(n_samples):
        request = next(samples).request
        if is_frozen(request):
            reached.append(_digest(request))
        else:
            seen.update(_ngrams(request, n) & wanted)
    figures: dict[str, float] = {"n_samples": n_samples, "dropped_samples": len(reached)}
    for name in FROZEN_SETS:
        figures[f"{name}_reached"] = len(digests[name] & set(reached))
        figures[f"{name}_{n}gram_share"] = len(grams[name] & seen) / max(1, len(grams[name]))
    return figures


def _requests(name: str) -> list[str]:
    text = (HOME / "eval" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line)["request"] for line in text.splitlines() if line]
