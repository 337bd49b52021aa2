"""What a load will take: the engine's estimate, split by the memory that it will be in."""

from __future__ import annotations

from pathlib import Path

from luci_tui.engine import memory
from luci_tui.errors import GgufError, ModelLoadError
from luci_tui.gguf.header import GgufHeader, read_header
from luci_tui.gguf.weights import Repacking
from luci_tui.manager.entries import ModelEntry
from luci_tui.manager.residency import GpuPart, Need


def need_of(entry: ModelEntry, repacking: Repacking = (), *, has_gpu: bool = False) -> Need:
    """Estimate what a load of `entry` takes on this machine. Reads the file's header: blocks.

    A remote model takes nothing. What llama.cpp puts on RPC servers depends on their memory, which
    only the worker can ask for, so a model that has some is not estimated.

    Args:
        entry: What is to be loaded.
        repacking: What the build that will load it rearranges; empty = nothing, or not known.
        has_gpu: This machine has a GPU with memory of its own.

    Raises:
        ModelLoadError: the file is missing or is no GGUF file.
    """
    if is_elsewhere(entry):
        return Need(entry.name)
    spec = entry.load_spec()
    try:
        header = read_header(Path(spec.model_path))
    except GgufError as error:
        raise ModelLoadError(error.message, code=error.code) from error
    except OSError as error:
        raise ModelLoadError(
            f"{spec.model_path} cannot be read ({error.strerror}). Check its permissions.",
            code="unreadable_file",
        ) from error
    needed = memory.estimate(header, spec, repacking)
    compute_bytes = needed.compute_bytes + needed.output_bytes
    kept_bytes = needed.needed_bytes - compute_bytes
    gpu = _gpu_part(header, spec.n_gpu_layers, kept_bytes, compute_bytes) if has_gpu else None
    return Need(
        name=entry.name,
        weights_bytes=needed.weights_bytes + needed.repacked_bytes,
        kv_bytes=needed.kv_bytes,
        compute_bytes=compute_bytes,
        # The CPU computes a little, too: its buffer is there whatever the GPUs have.
        ram_bytes=needed.needed_bytes - (gpu.layers_bytes if gpu else 0),
        gpu=gpu,
    )


def is_elsewhere(entry: ModelEntry) -> bool:
    """Tell whether nothing is estimated for an entry, for other machines hold it."""
    return entry.is_remote or bool(entry.rpc)


def _gpu_part(
    header: GgufHeader, n_gpu_layers: int, kept_bytes: int, compute_bytes: int
) -> GpuPart | None:
    """Tell how much of a model lies on GPUs; its layers are taken as equally large."""
    n_blocks = header.values.get(f"{header.architecture}.block_count")
    if n_gpu_layers == 0:
        return None
    if not isinstance(n_blocks, int) or n_blocks < 1:
        return GpuPart(1, kept_bytes, compute_bytes)
    # The output layer counts as one more, as in llama.cpp.
    n_all = n_blocks + 1
    n_layers = n_all if n_gpu_layers < 0 else min(n_gpu_layers, n_all)
    return GpuPart(n_layers, kept_bytes * n_layers // n_all, compute_bytes)
