"""Keep the frozen test sets out of training, and measure that they are out.

Only hashes of the frozen requests leave this module; no request is printed or returned.
"""

import json
import re
from collections.abc import Iterable
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
    found: set[bytes] = set()
    for name in FROZEN_SETS:
        text = (HOME / "eval" / f"{name}.jsonl").read_text(encoding="utf-8")
        found.update(_digest(json.loads(line)["request"]) for line in text.splitlines() if line)
    return frozenset(found)


def is_frozen(request: str) -> bool:
    """Say whether a request equals one of the frozen test sets after normalisation."""
    return _digest(request) in frozen_digests()


def _ngrams(request: str, n: int) -> set[tuple[str, ...]]:
    words = normalise(request).split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def overlap(
    n_samples: int, *, seed: int = 11, filtered: bool = True, n: int = 4
) -> dict[str, float]:
    """Compare the frozen requests with generated samples.

    Args:
        n_samples: how many samples to generate.
        seed: of the samples.
        filtered: drop the samples that training drops.
        n: length of the compared word sequences.

    Returns:
        The number of equal requests, and for each set the share of its n-grams that occur in
        the samples (arguments included).
    """
    generator = Generator(seed, reject=is_frozen if filtered else None)
    seen: set[tuple[str, ...]] = set()
    wanted = {name: _set_ngrams(name, n) for name in FROZEN_SETS}
    any_wanted = set[tuple[str, ...]]().union(*wanted.values())
    n_equal = 0
    samples = iter(generator)
    for _ in range(n_samples):
        request = next(samples).request
        n_equal += is_frozen(request)
        seen.update(_ngrams(request, n) & any_wanted)
    figures: dict[str, float] = {"n_samples": n_samples, "n_equal": n_equal}
    for name, grams in wanted.items():
        figures[f"{name}_{n}gram_share"] = len(grams & seen) / max(1, len(grams))
    return figures


def _set_ngrams(name: str, n: int) -> set[tuple[str, ...]]:
    lines: Iterable[str] = (
        (HOME / "eval" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    )
    grams: set[tuple[str, ...]] = set()
    for line in filter(None, lines):
        grams |= _ngrams(json.loads(line)["request"], n)
    return grams
