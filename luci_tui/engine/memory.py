"""Say before a load whether a model fits into memory.

The figures come from the header alone, see `luci_tui.gguf.estimate`; docs/memory.md says how far
they are from what a worker takes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil

from luci_tui.engine.load_spec import FlashAttention, LoadSpec, Speculation
from luci_tui.errors import GgufError, ModelLoadError
from luci_tui.gguf import estimate as header_estimate
from luci_tui.gguf.estimate import ContextShape, MemoryEstimate
from luci_tui.gguf.header import GgufHeader, read_header
from luci_tui.gguf.weights import WORST_REPACKING, Repacking

_GIB = 1024**3
_CGROUP_ROOT = Path("/sys/fs/cgroup")


def estimate(header: GgufHeader, spec: LoadSpec, repacking: Repacking = ()) -> MemoryEstimate:
    """Estimate what `spec` needs: the model, its context, its adapters and its draft model.

    Args:
        header: The header of the model.
        spec: What is to be loaded.
        repacking: What the build that will load it rearranges; empty = nothing, or not known.
    """
    shape = replace(context_shape(spec), repacking=repacking)
    needed = header_estimate.estimate(header, shape)
    extra_bytes = 0
    # A projector is copied into memory as it is; what it needs to compute depends on the image.
    others = [lora.path for lora in spec.loras] + [spec.mmproj_path]
    for path in filter(None, others):
        # A file that cannot be read is the load's to refuse, in its own words.
        with suppress(OSError):
            extra_bytes += Path(path).stat().st_size
    needed = replace(needed, weights_bytes=needed.weights_bytes + extra_bytes)
    if spec.speculation is not Speculation.DRAFT:
        return needed
    with suppress(GgufError):
        n_ctx = header_estimate.context_size(header, spec.n_ctx)
        # The draft's own context is made with llama.cpp's defaults: f16, logits for every token.
        draft_shape = replace(
            shape,
            n_ctx=n_ctx,
            kv_type_k="f16",
            kv_type_v="f16",
            n_outputs_per_slot=shape.n_batch,
        )
        draft = header_estimate.estimate(read_header(Path(spec.draft_model_path)), draft_shape)
        return needed + draft
    return needed


def context_shape(spec: LoadSpec) -> ContextShape:
    """Give what decides about memory in a load."""
    drafted = 0 if spec.speculation is Speculation.NONE else spec.draft_n_max
    return ContextShape(
        n_ctx=spec.n_ctx,
        n_slots=spec.n_slots,
        n_batch=spec.n_batch,
        n_ubatch=spec.n_ubatch,
        kv_type_k=spec.kv_type_k,
        kv_type_v=spec.kv_type_v,
        has_flash_attention=spec.flash_attention is not FlashAttention.OFF,
        kv_unified=spec.kv_unified,
        is_embedding=spec.embedding,
        n_outputs_per_slot=1 + drafted,
        use_mmap=spec.use_mmap,
        use_mlock=spec.use_mlock,
    )


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

    Pages of the model file that the system can drop do not count.

    Args:
        needed: What the load needs at least.
        available: Bytes of free memory, that of the accelerator included.
        spec: What is to be loaded.
        header: The header of its model file.

    Raises:
        ModelLoadError: it does not fit; code "out_of_memory".
    """
    if spec.force or needed.needed_bytes <= available:
        return
    weights_bytes = needed.weights_bytes + needed.repacked_bytes
    n_ctx = header_estimate.context_size(header, spec.n_ctx)
    n_slots = 1 if header_estimate.is_encoder_decoder(header) else spec.n_slots
    if weights_bytes > available:
        advice = "Choose a smaller model or quant type, free memory, or load it by force."
    elif header_estimate.is_encoder_decoder(header):
        advice = "Choose a smaller n_ctx, free memory, or load it by force."
    elif needed.compute_bytes + needed.output_bytes > needed.kv_bytes:
        advice = "Choose a smaller n_ubatch or n_batch, free memory, or load it by force."
    else:
        advice = "Choose a smaller n_ctx, fewer slots or a smaller KV type, or load it by force."
    raise ModelLoadError(
        f"{header.path.name} needs about {_gib(needed.needed_bytes)} "
        f"({_gib(weights_bytes)} for its weights, {_gib(needed.kv_bytes)} for "
        f"{n_slots} x {n_ctx} tokens of context and "
        f"{_gib(needed.compute_bytes + needed.output_bytes)} to compute) and {_gib(available)} is "
        f"free. {advice}",
        code="out_of_memory",
    )


def fits_surely(available: int, spec: LoadSpec, header: GgufHeader) -> bool:
    """Tell whether a load fits whatever the build rearranges, so that nobody needs to ask it."""
    return spec.force or estimate(header, spec, WORST_REPACKING).needed_bytes <= available


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
