"""Say before a load whether a model fits into memory.

The estimate is a lower bound: a model that is refused here cannot run without swapping, one that
is let through may still be too large, which then ends its worker and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from luci_tui.engine.frames import LoadSpec
from luci_tui.errors import ModelLoadError
from luci_tui.gguf.header import GgufHeader

_GIB = 1024**3
_CGROUP_ROOT = Path("/sys/fs/cgroup")

DEFAULT_N_CTX_MAX = 8192
"""The most that n_ctx 0 stands for; the same constant as in native/src/context.cpp."""

_KV_BITS = {
    "f32": 32.0,
    "f16": 16.0,
    "bf16": 16.0,
    "q8_0": 8.5,
    "q5_1": 6.0,
    "q5_0": 5.5,
    "q4_1": 5.0,
    "q4_0": 4.5,
    "iq4_nl": 4.5,
}
"""Bits per value of each KV type, block scales included."""


@dataclass(frozen=True)
class MemoryEstimate:
    """What one load needs at least, in bytes."""

    weights_bytes: int
    kv_bytes: int

    @property
    def total_bytes(self) -> int:
        """Weights and KV cache together."""
        return self.weights_bytes + self.kv_bytes


def estimate(header: GgufHeader, spec: LoadSpec) -> MemoryEstimate:
    """Estimate what `spec` needs: all shards, and the KV cache of all slots."""
    return MemoryEstimate(header.size_bytes, _kv_bytes(header, spec))


def context_size(header: GgufHeader, spec: LoadSpec) -> int:
    """Give the tokens of context per slot that the core will make."""
    return spec.n_ctx or min(header.n_ctx_train or DEFAULT_N_CTX_MAX, DEFAULT_N_CTX_MAX)


def _kv_bytes(header: GgufHeader, spec: LoadSpec) -> int:
    """Bytes of the KV cache. Source: llama_hparams::n_embd_k_gqa, llama_kv_cache's constructor."""
    n_ctx = context_size(header, spec)
    n_heads = header.per_layer("attention.head_count")
    n_heads_kv = header.per_layer("attention.head_count_kv") or n_heads
    default_head = header.number("embedding_length") // max(1, max(n_heads, default=1))
    key_length = header.number("attention.key_length") or default_head
    value_length = header.number("attention.value_length") or default_head
    if header.number("attention.kv_lora_rank"):
        value_length = 0  # multi-head latent attention reads the values from the keys' cache
    window = header.number("attention.sliding_window")
    interval = header.number("full_attention_interval")
    bits = 0.0
    for layer, n_head_kv in enumerate(n_heads_kv):
        if interval and (layer + 1) % interval:
            continue  # a recurrent layer: its state does not grow with the context
        n_cells = min(n_ctx, window) if window else n_ctx
        key_bits = key_length * _KV_BITS.get(spec.kv_type_k, 0.0)
        bits += n_cells * n_head_kv * (key_bits + value_length * _KV_BITS.get(spec.kv_type_v, 0.0))
    return int(bits / 8) * spec.n_slots


def available_bytes(root: Path = _CGROUP_ROOT, membership: str | None = None) -> int:
    """Bytes that a new process can use: what the machine has free, or less if a cgroup says so.

    Args:
        root: Where the cgroup file systems are mounted.
        membership: The lines of /proc/self/cgroup; None = read them.
    """
    if membership is None:
        membership = _read_membership()
    left = [_cgroup_v2(root, membership), _cgroup_v1(root, membership)]
    free_bytes = int(psutil.virtual_memory().available)
    return min([free_bytes, *(limit for limit in left if limit >= 0)])


def check_fits(needed: MemoryEstimate, available: int, spec: LoadSpec, header: GgufHeader) -> None:
    """Refuse a load that needs more than there is, unless `spec.force` says to try.

    Args:
        needed: What the load needs at least.
        available: Bytes of free memory, that of the accelerator included.
        spec: What is to be loaded.
        header: The header of its model file.

    Raises:
        ModelLoadError: it does not fit; code "out_of_memory".
    """
    if spec.force or needed.total_bytes <= available:
        return
    n_ctx = context_size(header, spec)
    if needed.weights_bytes > available:
        advice = "Choose a smaller model or quant type, free memory, or load it by force."
    else:
        advice = "Choose a smaller n_ctx, fewer slots or a smaller KV type, or load it by force."
    raise ModelLoadError(
        f"{header.path.name} needs at least {_gib(needed.total_bytes)} "
        f"({_gib(needed.weights_bytes)} for its weights and {_gib(needed.kv_bytes)} for "
        f"{spec.n_slots} x {n_ctx} tokens of context) and {_gib(available)} is free. {advice}",
        code="out_of_memory",
    )


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.2f} GiB"


def _read_membership() -> str:
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""


def _cgroup_v2(root: Path, membership: str) -> int:
    """Bytes left below the tightest limit of this process's cgroup v2 and its parents, or -1."""
    base = root if (root / "cgroup.controllers").exists() else root / "unified"
    folder = _own_cgroup(base, membership, "0::")
    left = -1
    while folder is not None and folder.is_relative_to(base):
        limit, usage = _number(folder / "memory.max"), _number(folder / "memory.current")
        if limit >= 0 and usage >= 0:
            room = max(0, limit - usage + _stat(folder, "inactive_file"))
            left = room if left < 0 else min(left, room)
        folder = folder.parent
    return left


def _cgroup_v1(root: Path, membership: str) -> int:
    """Bytes left below this process's cgroup v1 memory limit, or -1."""
    folder = _own_cgroup(root / "memory", membership, ":memory:")
    if folder is None:
        return -1
    limit = _number(folder / "memory.limit_in_bytes")
    usage = _number(folder / "memory.usage_in_bytes")
    if limit < 0 or usage < 0:
        return -1
    return max(0, limit - usage + _stat(folder, "total_inactive_file"))


def _own_cgroup(base: Path, membership: str, marker: str) -> Path | None:
    """Find this process's folder below `base`; inside a container that is `base` itself."""
    for line in membership.splitlines():
        if marker in line:
            folder = base / line.split(marker, 1)[1].lstrip("/")
            return folder if folder.is_dir() else base
    return None


def _number(path: Path) -> int:
    """Read a file with one number; -1 = no such file, or the word "max"."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return -1


def _stat(folder: Path, key: str) -> int:
    """Read one counter of memory.stat; page cache that can be dropped is not in use."""
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        if line.startswith(key + " "):
            return int(line.split()[1])
    return 0
