"""Files of any architecture that hold little more than the sizes of its layers."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support import raw_gguf as raw
from tests.support.raw_gguf import RawGguf, RawTensor, good_model

N_WIDTH = 64
Sizes = Mapping[str, int | list[int]]


def layer_model(architecture: str, sizes: Sizes, tensors: Mapping[str, tuple[int, int]]) -> RawGguf:
    """Give a file of one architecture with two layers and only these tensors.

    Args:
        architecture: As llama.cpp names it.
        sizes: Keys without the architecture; lists become arrays.
        tensors: Name to dimensions; the shapes of a model's projections.
    """
    model = good_model()
    tokenizer = tuple(one for one in model.entries if not one.key.startswith((b"llama.",)))
    model = RawGguf(
        entries=tokenizer,
        tensors=tuple(RawTensor(name.encode(), dims) for name, dims in tensors.items()),
    )
    model = model.with_entry("general.architecture", raw.STRING, raw.text(architecture))
    usual: dict[str, int | list[int]] = {
        "block_count": 2,
        "context_length": 64,
        "embedding_length": N_WIDTH,
    }
    for key, value in (usual | dict(sizes)).items():
        if isinstance(value, list):
            payload = raw.array(raw.I32, value)
            model = model.with_entry(f"{architecture}.{key}", raw.ARRAY, payload)
        else:
            payload = raw.scalar(raw.U32, value)
            model = model.with_entry(f"{architecture}.{key}", raw.U32, payload)
    return model
