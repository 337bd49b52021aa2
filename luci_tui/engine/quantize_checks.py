"""What is refused before any quantizing starts, each with one sentence. Plain files and numbers."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from luci_tui.errors import EngineError
from luci_tui.gguf.imatrix import Imatrix
from luci_tui.units import format_bytes, format_count

MIN_IMATRIX_MATCH = 0.9
"""Least part of an imatrix's entries that the model must have; a tool may add some of its own."""
_ENDS = ("token_embd.weight", "per_layer_token_embd.weight")
"""llama.cpp ignores an imatrix entry of the wrong size for these."""


class PlannedTensor(Protocol):
    """The parts of _native.TensorPlan that are looked at here."""

    @property
    def name(self) -> str:
        """Name in the file."""
        ...

    @property
    def shape(self) -> Sequence[int]:
        """The row length first."""
        ...

    @property
    def source_type(self) -> str:
        """In ggml's spelling, e.g. "f16"."""
        ...

    @property
    def target_type(self) -> str:
        """Equal to the source's where the tensor is only copied."""
        ...

    @property
    def needs_imatrix(self) -> bool:
        """The target type cannot be made without data for this tensor."""
        ...


@dataclass(frozen=True)
class Stamp:
    """Which file it is and whether it has changed."""

    device: int
    inode: int
    size_bytes: int
    changed_ns: int


def stamps(paths: Iterable[Path]) -> tuple[Stamp, ...]:
    """Take the stamps of files.

    Raises:
        EngineError: a file is gone.
    """
    found: list[Stamp] = []
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise EngineError(
                f"{path} cannot be read any more ({error.strerror}). Check the disk.",
                code="source_changed",
            ) from error
        stamp = Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        found.append(stamp)
    return tuple(found)


def is_newer(path: Path, inputs: Iterable[Path]) -> bool:
    """Tell whether a file is there and was not written before any of its inputs."""
    try:
        made_ns = path.stat().st_mtime_ns
        return all(made_ns >= one.stat().st_mtime_ns for one in inputs)
    except OSError:
        return False


def unknown_type(name: str, known: Iterable[str], what: str) -> EngineError:
    """Make the error for a type that does not exist, with the names nearest to it."""
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    advice = f"Did you mean {' or '.join(by_lower[one] for one in near)}? " if near else ""
    return EngineError(
        f"'{name}' is no {what}. {advice}`luci quantize --list-types` lists them.",
        code="unknown_type",
    )


def check_destinations(
    destinations: Sequence[Path], sources: Sequence[Path], *, force: bool
) -> None:
    """Refuse outputs that would harm the source, each other, or a file that is there.

    Args:
        destinations: Every file that will be written.
        sources: Every file that will be read.
        force: Files that are there may be replaced.

    Raises:
        EngineError: the first reason found.
    """
    seen: set[Path] = set()
    for path in destinations:
        _check_folder(path)
        place = path.parent.resolve() / path.name
        if place in seen:
            raise EngineError(
                f"Two outputs have the name {path}. Give each its own, or a folder.",
                code="same_output",
            )
        seen.add(place)
        _check_is_no_source(path, sources)
        if path.is_dir():
            msg = f"{path} is a folder. Name a file in it."
            raise EngineError(msg, code="is_folder")
        if os.path.lexists(path) and not force:
            raise EngineError(
                f"{path} is there already. Choose another name, or --force to replace it.",
                code="exists",
            )


def _check_folder(path: Path) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise EngineError(
            f"There is no folder {folder} for {path.name}. Make it, or choose another.",
            code="no_folder",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise EngineError(
            f"{folder} cannot be written to. Choose another folder, or change its permissions.",
            code="not_writable",
        )


def _check_is_no_source(path: Path, sources: Sequence[Path]) -> None:
    if not path.exists():
        return
    for source in sources:
        # Compares device and inode, so links of both kinds are seen through.
        if path.samefile(source):
            raise EngineError(
                f"{path} and {source} are the same file. A source is never written over; "
                "choose another name.",
                code="same_file",
            )


def check_disk(needed_bytes: Sequence[tuple[Path, int]]) -> None:
    """Refuse work whose outputs do not all fit.

    Args:
        needed_bytes: Each file that will be written, with its size.

    Raises:
        EngineError: a disk has too little space.
    """
    sums: dict[int, tuple[Path, int]] = {}
    for path, n_bytes in needed_bytes:
        device = path.parent.stat().st_dev
        sums[device] = (path.parent, sums.get(device, (path.parent, 0))[1] + n_bytes)
    for folder, n_bytes in sums.values():
        free = free_bytes(folder)
        if free < n_bytes:
            raise EngineError(
                f"The outputs need {format_bytes(n_bytes)} ({n_bytes} bytes) in {folder} and "
                f"{format_bytes(free)} are free. Make room, or choose another folder.",
                code="disk_full",
            )


def free_bytes(folder: Path) -> int:
    """Give the space that this user may still fill."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def check_requantize(source: Path, tensors: Sequence[PlannedTensor]) -> None:
    """Refuse to convert tensors that are quantized already.

    Raises:
        EngineError: there is one.
    """
    floats = {"f32", "f16", "bf16", "f64"}
    changed = [
        one
        for one in tensors
        if one.source_type != one.target_type and one.source_type not in floats
    ]
    if changed:
        first = changed[0]
        raise EngineError(
            f"{source} is quantized already: {format_count(len(changed), 'tensor')} such as "
            f"{first.name} would go from {first.source_type} to {first.target_type}, which loses "
            "more than starting from F16. Use the F16 file, or --allow-requantize.",
            code="already_quantized",
        )


def check_imatrix_needed(
    type_name: str, tensors: Sequence[PlannedTensor], imatrix: Imatrix | None
) -> None:
    """Refuse a type that needs an imatrix for tensors without data.

    Raises:
        EngineError: there is such a tensor.
    """
    entries = imatrix.entries if imatrix else {}
    needed = [one for one in tensors if one.needs_imatrix]
    missing = [
        one
        for one in needed
        if one.name not in entries or entries[one.name].size != _imatrix_values(one.shape)
    ]
    if not missing:
        return
    if imatrix is None:
        raise EngineError(
            f"{type_name} needs an imatrix: {missing[0].name} becomes {missing[0].target_type}. "
            "Make one with `luci imatrix` and give it with --imatrix.",
            code="needs_imatrix",
        )
    raise EngineError(
        f"The imatrix {imatrix.path} has no data for {len(missing)} of the {len(needed)} tensors "
        f"that need it for {type_name}, such as {missing[0].name}, which becomes "
        f"{missing[0].target_type}. Give that tensor another type, or make a new imatrix.",
        code="imatrix_incomplete",
    )


def check_imatrix_fits(source: Path, tensors: Sequence[PlannedTensor], imatrix: Imatrix) -> None:
    """Refuse an imatrix that was made for another model.

    Raises:
        EngineError: sizes differ, or most names are not there.
    """
    sizes = {one.name: _imatrix_values(one.shape) for one in tensors}
    known = [name for name in imatrix.entries if name in sizes]
    matching = [name for name in known if imatrix.entries[name].size == sizes[name]]
    differing = [name for name in known if name not in matching and name not in _ENDS]
    if not differing and len(matching) >= MIN_IMATRIX_MATCH * len(imatrix.entries):
        return
    detail = ""
    if differing:
        name = differing[0]
        detail = f"; {name} has {imatrix.entries[name].size} columns there and {sizes[name]} here"
    raise EngineError(
        f"The imatrix {imatrix.path} is for another model than {source}: {len(matching)} of its "
        f"{len(imatrix.entries)} entries match a "
        f"tensor in name and size{detail}. Make one for this model with `luci imatrix`.",
        code="other_imatrix",
    )


def _imatrix_values(shape: Sequence[int]) -> int:
    return shape[0] * (shape[2] if len(shape) > 2 else 1)
