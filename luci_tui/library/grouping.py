"""Which files of a folder make one model: shards, and the projector that belongs to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from luci_tui.library.records import Stamp
from luci_tui.library.walk import FileEntry

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)
_QUANT = re.compile(
    r"[-_.](?:ud[-_.])?(?:i?q\d\w*|tq\d\w*|b?f16|f32|fp16|fp32|mxfp4\w*|nvfp4|imat|gguf)$"
)
"""The end of a file name that says in which type its weights are."""
_PRECISIONS: Final = ("f16", "bf16", "q8_0", "f32")
"""Types of projectors, the one first that is taken where there are several."""
MAX_NAME = 150


@dataclass(frozen=True)
class FileGroup:
    """One model of a folder."""

    stem: str
    """Of the file, of a set without the number of the shard."""
    files: tuple[FileEntry, ...]
    """Those that are there, by number."""
    n_shards: int
    """How many there should be."""
    has_first: bool
    """The shard that is loaded is there."""

    @property
    def stamp(self) -> Stamp:
        """Say what changes when one of its files does."""
        return Stamp(
            size_bytes=sum(one.size_bytes for one in self.files),
            mtime_ns=max(one.mtime_ns for one in self.files),
            inode=self.files[0].inode,
        )

    @property
    def problem(self) -> str:
        """Say what is missing; empty = nothing."""
        n_missing = self.n_shards - len(self.files)
        if not n_missing:
            return ""
        return (
            f"{n_missing} of its {self.n_shards} shards are missing. "
            f"Put them beside {self.files[0].path.name}."
        )


def group_files(files: Sequence[FileEntry]) -> tuple[list[FileGroup], list[FileEntry]]:
    """Sort the files of one folder into models and projectors, both by name."""
    projectors = [one for one in files if is_projector(one.path.name)]
    sets: dict[tuple[str, int], dict[int, FileEntry]] = {}
    groups: list[FileGroup] = []
    for one in files:
        if is_projector(one.path.name) or not is_typable(one.path.stem):
            continue
        shard = _SHARD.fullmatch(one.path.name)
        if shard is None:
            groups.append(FileGroup(one.path.stem, (one,), 1, has_first=True))
        elif 0 < int(shard[2]) <= int(shard[3]):
            sets.setdefault((shard[1], int(shard[3])), {})[int(shard[2])] = one
    for (stem, n_shards), by_number in sets.items():
        there = tuple(by_number[number] for number in sorted(by_number))
        groups.append(FileGroup(stem, there, n_shards, has_first=1 in by_number))
    groups.sort(key=lambda group: group.files[0].path.name)
    return groups, projectors


def is_projector(file_name: str) -> bool:
    """Tell whether a file is the part of a model that sees or hears, by its name."""
    return "mmproj" in file_name.lower()


def is_typable(name: str) -> bool:
    """Tell whether a person can type a name; what a terminal could not show is none."""
    return bool(name) and name.isprintable() and name == name.strip() and len(name) <= MAX_NAME


def projector_for(
    group: FileGroup,
    groups: Sequence[FileGroup],
    projectors: Sequence[FileEntry],
    *,
    is_own_folder: bool,
) -> FileEntry | None:
    """Choose the projector of a model; None = there is none that surely belongs to it.

    It is one that is named after the model. In a folder of one model's own, a projector without a
    name of its own ("mmproj-model-f16.gguf") belongs to that model, in whatever types it is there.

    Args:
        group: The model.
        groups: All models of the folder.
        projectors: All projectors of the folder.
        is_own_folder: The folder is one that models do not share by chance.
    """
    wanted = family(group.stem)
    alike = [one for one in projectors if family(one.path.stem) == wanted]
    if not alike and is_own_folder and len({family(one.stem) for one in groups}) == 1:
        alike = [one for one in projectors if not family(one.path.stem)] or list(projectors)
    return min(alike, key=_rank, default=None)


def family(stem: str) -> str:
    """Give the name of a model without the type of its weights, to compare files by."""
    text = stem.lower().replace("mmproj", "")
    while (shorter := _QUANT.sub("", text)) != text:
        text = shorter
    text = re.sub(r"[-_.]{2,}", "-", text).strip("-_.")
    return "" if text == "model" else text


def _rank(projector: FileEntry) -> tuple[int, str]:
    stem = projector.path.stem.lower()
    for number, precision in enumerate(_PRECISIONS):
        if re.search(rf"(?<![a-z0-9]){precision}(?![a-z0-9])", stem):
            return number, stem
    return len(_PRECISIONS), stem
