"""Whether the files of one model belong together: all shards of one set, and its own projector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from luci_tui.download.plan import Plan, Role
from luci_tui.errors import DownloadError, GgufError
from luci_tui.gguf.header import GgufHeader, read_header

_NO_MODEL = {
    "adapter": "a LoRA adapter",
    "imatrix": "an importance matrix",
    "mmproj": "a projector",
    "vocab": "a vocabulary",
}
"""By `general.type`."""


def require_belonging(plan: Plan, folder: Path) -> None:
    """Look at the headers of a plan's files, which the validator has accepted. Blocks.

    Raises:
        DownloadError: code "rejected"; they are not one model.
    """
    names = [file.name for file in plan.files if file.role is Role.MODEL]
    try:
        header = read_header(folder / names[0])
        projectors = [
            (file.name, read_header(folder / file.name))
            for file in plan.files
            if file.role is Role.MMPROJ
        ]
    except GgufError as error:
        raise _rejected(plan, error.message) from error
    _require_model(plan, header)
    shard_names = [path.name for path in header.shard_paths]
    if shard_names != names:
        raise _rejected(
            plan,
            f"{names[0]} is a model of {len(shard_names)} files and the install has {len(names)}. "
            "Install the whole repository.",
        )
    for name, projector in projectors:
        _require_projector(plan, header, name, projector)


def _require_model(plan: Plan, header: GgufHeader) -> None:
    kind = "mmproj" if header.architecture == "clip" else header.text("general.type")
    if kind in _NO_MODEL:
        msg = f"{header.path.name} is {_NO_MODEL[kind]} and no model. Choose another file."
        raise _rejected(plan, msg)


def _require_projector(plan: Plan, model: GgufHeader, name: str, projector: GgufHeader) -> None:
    if projector.architecture != "clip":
        msg = f"{name} is no projector, but of the architecture {projector.architecture}."
        raise _rejected(plan, msg)
    n_embd = model.number("embedding_length")
    said = {
        value
        for part in ("vision", "audio")
        if isinstance(value := projector.values.get(f"clip.{part}.projection_dim"), int)
    }
    if not n_embd or not said or n_embd in said:
        return
    # Old conversions say a width inside the projector there; what counts is what it puts out.
    if n_embd not in set(_output_widths(projector)):
        raise _rejected(
            plan,
            f"{name} makes embeddings of {max(said)} values and the model takes {n_embd}: it "
            "belongs to another model.",
        )


def _output_widths(projector: GgufHeader) -> Iterator[int]:
    """Give what the layers behind the encoder put out.

    Source: clip_n_mmproj_embd in tools/mtmd/clip.cpp of the pinned llama.cpp, which takes it from
    the rows of a matrix or from a bias, and with Gemma 3's transposed matrix from its columns.
    """
    for tensor in projector.tensors:
        if tensor.name.startswith(("v.", "a.")) or not tensor.shape:
            continue
        is_transposed = tensor.name == "mm.input_projection.weight"
        yield tensor.shape[0] if is_transposed else tensor.shape[-1]


def _rejected(plan: Plan, why: str) -> DownloadError:
    return DownloadError(f"{plan.name} is not installed: {why}", code="rejected")
