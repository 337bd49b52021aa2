"""What a load will take: the engine's estimate, split by the memory that it will be in."""

from __future__ import annotations

from pathlib import Path

from luci_tui.engine import memory
from luci_tui.errors import GgufError, ModelLoadError
from luci_tui.gguf.header import GgufHeader, read_header
from luci_tui.manager.entries import ModelEntry
from luci_tui.manager.residency import Need, Room


def need_of(entry: ModelEntry, *, has_gpu: bool) -> Need:
    """Estimate what a load of `entry` takes on this machine. Reads the file's header: blocks.

    A remote model takes nothing. What llama.cpp puts on RPC servers depends on their memory, which
    only the worker can ask for, so a model that has some is not estimated.

    Raises:
        ModelLoadError: the file is missing or is no GGUF file.
    """
    if entry.is_remote or entry.rpc:
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
    needed = memory.estimate(header, spec)
    vram_bytes = 0
    if has_gpu:
        vram_bytes = round(needed.total_bytes * _gpu_share(header, spec.n_gpu_layers))
    return Need(
        name=entry.name,
        weights_bytes=needed.weights_bytes,
        kv_bytes=needed.kv_bytes,
        compute_bytes=needed.compute_bytes + needed.output_bytes,
        room=Room(needed.total_bytes - vram_bytes, vram_bytes),
    )


def _gpu_share(header: GgufHeader, n_gpu_layers: int) -> float:
    """Tell how much of a model lies on the GPU; its layers are taken as equally large."""
    n_layers = header.values.get(f"{header.architecture}.block_count")
    if n_gpu_layers < 0 or not isinstance(n_layers, int) or n_layers < 1:
        return 0.0 if n_gpu_layers == 0 else 1.0
    # The output layer counts as one more, as in llama.cpp.
    return min(1.0, n_gpu_layers / (n_layers + 1))
