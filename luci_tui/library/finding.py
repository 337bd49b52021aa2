"""Find the models of luci's own folders: installed ones, plain files, and a person's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from luci_tui.errors import GgufError
from luci_tui.library.grouping import FileGroup, group_files, projector_for
from luci_tui.library.header_cache import FactKind, HeaderCache
from luci_tui.library.records import FoundModel, ModelKind, Stamp
from luci_tui.library.walk import FileEntry, Walk, list_folders, list_models, walk_models

INSTALLED = "installed"
"""Folder of the models folder in which each installed model has one; see manifest.py."""
MANIFEST_NAME = "model.json"
"""As in manifest.py, which takes a while to import."""


def find_own(
    models: Path, custom: Iterable[Path], cache: HeaderCache, walk: Walk
) -> list[FoundModel]:
    """Find what lies in luci's folders: installed, plain, custom; names may occur twice."""
    found = [*find_installed(models, cache, walk), *find_plain(models, walk)]
    for folder in custom:
        found += find_custom(folder, walk)
    return found


def find_installed(models: Path, cache: HeaderCache, walk: Walk) -> Iterator[FoundModel]:
    """Find what has a manifest; of a broken one the folder's name and what is wrong."""
    for folder in list_folders(models / INSTALLED, walk):
        try:
            # Noted before the manifest is: another one in its place is seen next time.
            walk.folders[folder] = folder.stat().st_mtime_ns
            manifest_facts = (folder / MANIFEST_NAME).stat()
        except OSError:
            continue  # nothing is installed there (yet)
        facts = _manifest(folder, Stamp(*_stamp_of(manifest_facts)), cache)
        yield _installed(folder, facts)


def find_plain(models: Path, walk: Walk) -> Iterator[FoundModel]:
    """Find the files right in the models folder; their names are those of the files."""
    groups, projectors = group_files(list_models(models, walk))
    for group in groups:
        if group.has_first:
            mmproj = projector_for(group, groups, projectors, is_own_folder=False)
            found = _found(group, ModelKind.PLAIN, mmproj, name=group.files[0].path.stem)
            aliases = [group.files[0].path.name]
            if group.n_shards > 1:
                aliases.append(group.stem)
            yield replace(found, aliases=tuple(aliases))


def find_custom(root: Path, walk: Walk) -> Iterator[FoundModel]:
    """Find a person's own files in a folder and below it."""
    yield from find_in_tree(root, walk, ModelKind.CUSTOM, "luci")


def find_in_tree(root: Path, walk: Walk, kind: ModelKind, store: str) -> Iterator[FoundModel]:
    """Find all model files below a folder.

    The folder itself is one that models share by chance; each below it is one model's own.
    """
    for folder, files in walk_models(root, walk):
        groups, projectors = group_files(files)
        for group in groups:
            mmproj = projector_for(group, groups, projectors, is_own_folder=folder != root)
            yield replace(_found(group, kind, mmproj, name=group.stem), store=store)


def with_unique_names(found: Iterable[FoundModel], taken: set[str]) -> list[FoundModel]:
    """Give each model a name of its own.

    The first one keeps its name; a later one gets the name of its store behind it, then a number.

    Args:
        found: In the order in which they may choose.
        taken: Names that are given away already; those of `found` are added.
    """
    named: list[FoundModel] = []
    for one in found:
        name = _free_name(one, taken)
        taken.add(name)
        named.append(replace(one, name=name))
    return named


_SHORT_STORES = {
    "luci": "custom",
    "Hugging Face": "hf",
    "Ollama": "ollama",
    "LM Studio": "lmstudio",
    "~/.luciferai": "luciferai",
}


def _free_name(one: FoundModel, taken: set[str]) -> str:
    if one.name not in taken:
        return one.name
    name = f"{one.name}@{_SHORT_STORES.get(one.store, 'other')}"
    number = 2
    candidate = name
    while candidate in taken:
        candidate, number = f"{name}-{number}", number + 1
    return candidate


def _found(group: FileGroup, kind: ModelKind, mmproj: FileEntry | None, *, name: str) -> FoundModel:
    return FoundModel(
        name=name,
        kind=kind,
        files=tuple(one.path for one in group.files),
        stamp=group.stamp,
        mmproj=None if mmproj is None else mmproj.path,
        mmproj_bytes=0 if mmproj is None else mmproj.size_bytes,
        problem=group.problem,
        is_readable=group.has_first,
    )


@dataclass(frozen=True)
class _Manifest:
    """What is needed of a manifest."""

    version: str = ""
    files: tuple[tuple[str, int], ...] = ()
    """Names and sizes of the model's files."""
    mmproj: tuple[str, int] | None = None
    sha256: str = ""
    repo: str = ""
    catalog_name: str = ""
    problem: str = ""


def _manifest(folder: Path, stamp: Stamp, cache: HeaderCache) -> _Manifest:
    path = folder / MANIFEST_NAME
    known = cache.get(FactKind.MANIFEST, path, stamp)
    if known is not None:
        return _from_json(known)
    # Pydantic is only needed where a manifest was not read before.
    from luci_tui.download.plan import Role
    from luci_tui.library.manifest import read_manifest

    try:
        manifest = read_manifest(folder)
    except GgufError as error:
        return _Manifest(problem=error.message)
    if manifest is None:
        return _Manifest(problem=f"{path} is gone. Install the model again.")
    models = [one for one in manifest.files if one.role is Role.MODEL]
    mmproj = next((one for one in manifest.files if one.role is Role.MMPROJ), None)
    if not models:
        return _Manifest(problem=f"{path} names no model file. Install the model again.")
    found: dict[str, object] = {
        "version": manifest.version,
        "files": [(one.name, one.size_bytes) for one in models],
        "mmproj": None if mmproj is None else (mmproj.name, mmproj.size_bytes),
        "sha256": models[0].sha256,
        "repo": manifest.repo,
        "catalog_name": manifest.catalog_name,
    }
    cache.put(FactKind.MANIFEST, path, stamp, found)
    return _from_json(found)


def _from_json(known: dict[str, Any]) -> _Manifest:
    mmproj = cast("list[Any] | None", known["mmproj"])
    return _Manifest(
        version=known["version"],
        files=tuple((str(name), int(size)) for name, size in known["files"]),
        mmproj=None if mmproj is None else (str(mmproj[0]), int(mmproj[1])),
        sha256=known["sha256"],
        repo=known["repo"],
        catalog_name=known["catalog_name"],
    )


def _installed(folder: Path, manifest: _Manifest) -> FoundModel:
    name, kind = folder.name, ModelKind.INSTALLED
    if manifest.problem:
        return FoundModel(
            name, kind, (folder,), Stamp(0, 0, 0), problem=manifest.problem, is_readable=False
        )
    place = folder / manifest.version
    files = tuple(place / file for file, _ in manifest.files)
    stamp, problem = _stat_all(files, manifest)
    return FoundModel(
        name=name,
        kind=kind,
        files=files,
        stamp=stamp,
        mmproj=None if manifest.mmproj is None else place / manifest.mmproj[0],
        mmproj_bytes=0 if manifest.mmproj is None else manifest.mmproj[1],
        repo=manifest.repo,
        repo_file=files[0].name,
        catalog_name=manifest.catalog_name,
        sha256=manifest.sha256,
        problem=problem,
        is_readable=stamp.inode != 0,
    )


def _stat_all(files: tuple[Path, ...], manifest: _Manifest) -> tuple[Stamp, str]:
    """Look whether the files are there in the sizes that the manifest has."""
    size_bytes = mtime_ns = inode = 0
    problem = ""
    for number, (path, (_, wanted_bytes)) in enumerate(zip(files, manifest.files, strict=True)):
        try:
            size, mtime, ino = _stamp_of(path.stat())
        except OSError:
            problem = problem or f"{path} is missing. Install the model again."
            continue
        if size != wanted_bytes:
            problem = problem or (
                f"{path} has {size} bytes instead of {wanted_bytes}. Install the model again."
            )
        size_bytes, mtime_ns = size_bytes + size, max(mtime_ns, mtime)
        inode = ino if number == 0 else inode
    return Stamp(size_bytes, mtime_ns, inode), problem


def _stamp_of(facts: Any) -> tuple[int, int, int]:
    return facts.st_size, facts.st_mtime_ns, facts.st_ino & (2**63 - 1)
