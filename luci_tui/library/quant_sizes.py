"""How many bits a weight really takes in each quant type, and where that is known from."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from luci_tui.catalog.entries import CatalogEntry
from luci_tui.gguf.quant import TENSOR_TYPES
from luci_tui.library.fit import QuantSize

TYPES: Final = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
"""Those that advice chooses from, the largest first."""
LEAST_PARAMETERS_B: Final = 1.0
"""In smaller models the embeddings, which have a type of their own, count too much."""
MIN_FILES: Final = 3
"""So many files of the catalogue make a median."""
_BLOCK: Final = {"Q8_0": 8, "Q6_K": 14, "Q5_K_M": 13, "Q4_K_M": 12, "Q3_K_M": 11, "Q2_K": 10}
"""The tensor type, by its number, that most tensors of a type have."""
_TYPE_IN_NAME = re.compile(r"[-_.]((?:i?q\d\w*)|f16|bf16|f32)(?:-\d{5}-of-\d{5})?\.gguf$", re.I)


def sizes_from_catalog(n_params: int, entries: Iterable[CatalogEntry]) -> tuple[QuantSize, ...]:
    """Estimate what each type makes of so many parameters.

    The median of the files of the catalogue counts, where it has enough of a type; else the blocks
    of the type alone, which real files are a little above.
    """
    found: list[QuantSize] = []
    medians = median_bits(entries)
    for name in TYPES:
        if name in medians:
            bits, n_files = medians[name]
            source = f"median of {n_files} files of the catalogue"
        else:
            kind = TENSOR_TYPES[_BLOCK[name]]
            bits = 8 * kind.block_bytes / kind.block_values
            source = f"blocks of {kind.name} alone; real files are a little larger"
        found.append(QuantSize(name, int(n_params * bits / 8), bits, source))
    return tuple(found)


def sizes_from_dry_run(
    sizes: Mapping[str, tuple[int, float]],
) -> tuple[QuantSize, ...]:
    """Take what llama.cpp's quantizer says it would write.

    Args:
        sizes: Bytes and bits per weight by type.
    """
    source = "llama.cpp's quantizer, dry run on this file"
    return tuple(QuantSize(name, *sizes[name], source) for name in TYPES if name in sizes)


def median_bits(entries: Iterable[CatalogEntry]) -> dict[str, tuple[float, int]]:
    """Give the median bits per weight of each type, and of how many files it is."""
    by_type: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        match = _TYPE_IN_NAME.search(entry.files[0])
        if match is not None and entry.parameters_b >= LEAST_PARAMETERS_B:
            by_type[match[1].upper()].append(entry.size_bytes * 8 / (entry.parameters_b * 1e9))
    return {
        name: (statistics.median(bits), len(bits))
        for name, bits in by_type.items()
        if len(bits) >= MIN_FILES
    }
