"""Read a tensor's bytes in bounded pieces, however large it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from luci_tui.errors import GgufError
from luci_tui.gguf.header import GgufHeader, TensorInfo
from luci_tui.gguf.quant import TENSOR_TYPES
from luci_tui.gguf.reader import read_at

CHUNK_VALUES: Final = 1 << 20
"""Values in one piece: a whole number of blocks of every type, 4 MiB as floats."""


def find_tensor(header: GgufHeader, name: str) -> TensorInfo:
    """Find a tensor by its name.

    Raises:
        GgufError: there is none; code "no_such_tensor".
    """
    for tensor in header.tensors:
        if tensor.name == name:
            return tensor
    near = [tensor.name for tensor in header.tensors if name in tensor.name][:3]
    hint = f"Did you mean {' or '.join(near)}?" if near else "--tensors lists what there is."
    raise GgufError(
        f"{header.path.name} has no tensor {name} among its {header.n_tensors}. {hint}",
        code="no_such_tensor",
    )


def iterate_chunks(header: GgufHeader, tensor: TensorInfo) -> Iterator[tuple[int, bytes]]:
    """Give (number of values, their bytes) until the tensor ends; the file may shrink meanwhile.

    Raises:
        GgufError: the type is not known here, or the file has become shorter.
    """
    kind = TENSOR_TYPES.get(tensor.type_number)
    if kind is None:
        raise GgufError(
            f"{tensor.name} has {tensor.type_name}, which this version does not know. "
            "Update luci, or get the model in another quant type.",
            code="unknown_type",
        )
    path = header.shard_paths[tensor.shard]
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise GgufError(
            f"{path} cannot be read any more ({error.strerror}). Start again.",
            code="unreadable_file",
        ) from error
    try:
        n_left, offset = tensor.n_values, tensor.offset
        while n_left > 0:
            n_values = min(n_left, CHUNK_VALUES)
            n_bytes = n_values // kind.block_values * kind.block_bytes
            yield n_values, read_at(fd, offset, n_bytes, path)
            offset += n_bytes
            n_left -= n_values
    finally:
        os.close(fd)
