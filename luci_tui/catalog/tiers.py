"""The declared tier of a model that no catalogue lists, from what its file says.

What a model needs in memory decides: tier 0 runs on anything, tier 1 on 8 GB, tier 2 on 16 GB, the
rest is tier 3. The bounds are those with which most of the catalogue's own entries agree, which
tests/unit/test_catalog.py counts. A mixture of experts counts with all of its parameters: with its
active ones, or with the mean of both, more entries disagree.
"""

from __future__ import annotations

CUSTOM_TIER = 2
"""Of a model whose file says too little."""
BOUNDS_B = (2.9, 7.0, 13.0)
"""Billions of parameters below which a model is of tier 0, 1 and 2."""


def declared_tier(parameters_b: float | None) -> int:
    """Return 0 to 3 for so many billions of parameters; None = the file does not say."""
    if parameters_b is None or parameters_b <= 0:
        return CUSTOM_TIER
    return sum(parameters_b >= bound for bound in BOUNDS_B)
