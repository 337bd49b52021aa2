"""Names of files that are made of other files."""

from __future__ import annotations

import re
from collections.abc import Sequence


def derived_name(source_name: str, type_name: str, known: Sequence[str]) -> str:
    """Name an output after its source: "model-F16.gguf" becomes "model-Q4_K_M.gguf".

    Args:
        source_name: File name of the source, of its first shard for a split model.
        type_name: The output's type.
        known: All type names; one of these at the end of the source's name is replaced.
    """
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", source_name.removesuffix(".gguf"))
    lowered = {one.lower() for one in known}
    # A type's own name holds "_", so the longest end that is a type counts.
    for match in re.finditer(r"[-_.]", stem):
        if match.start() > 0 and stem[match.end() :].lower() in lowered:
            return f"{stem[: match.start()]}{match.group()}{type_name}.gguf"
    return f"{stem}-{type_name}.gguf"
