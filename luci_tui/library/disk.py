"""What takes room beside the models in use: parts, old versions, what nobody refers to, doubles.

Only what luci itself has written is ever removed, and only what no download waits for. Doubles and
what other programs left are shown.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from luci_tui.download.queue_file import unfinished_versions
from luci_tui.errors import GgufError
from luci_tui.library.header_cache import FactKind, HeaderCache
from luci_tui.library.places import Places, StoreKind
from luci_tui.library.records import LibraryModel, ModelKind
from luci_tui.units import format_bytes

SAMPLE_BYTES: Final = 256 * 1024
"""Of the start, the middle and the end of a file."""
_MAX_NAMES: Final = 20_000


class DiskKind(StrEnum):
    """Why something takes room."""

    PARTIAL = "unfinished download"
    LEFTOVER = "left by a job"
    SOURCE = "source of a conversion"
    OLD_VERSION = "old version"
    ORPHAN = "belongs to no model"
    CORRUPT = "kept aside as damaged"
    DUPLICATE = "double"
    HUB_INCOMPLETE = "unfinished, of the Hugging Face hub"


@dataclass(frozen=True)
class DiskItem:
    """One thing that takes room."""

    kind: DiskKind
    path: Path
    """A file, or a folder with all that is in it."""
    size_bytes: int
    """What is won by its removal."""
    detail: str
    """What it is, and for what is not removed here what to do about it, in one sentence."""
    is_cleanable: bool

    def to_json(self) -> dict[str, object]:
        """Give everything as plain data."""
        return {
            "kind": self.kind.value,
            "path": str(self.path),
            "size_bytes": self.size_bytes,
            "detail": self.detail,
            "cleanable": self.is_cleanable,
        }


@dataclass(frozen=True)
class DiskReport:
    """Where the room is."""

    items: tuple[DiskItem, ...]
    """By kind, the largest first."""
    models: dict[str, int]
    """Bytes of the models by how they came here."""
    free_bytes: int
    """On the disk of the models folder."""

    @property
    def cleanable(self) -> tuple[DiskItem, ...]:
        """Those that `clean` removes."""
        return tuple(one for one in self.items if one.is_cleanable)


def examine(home: Path, places: Places, models: Iterable[LibraryModel]) -> DiskReport:
    """Look through the folders; compares some pieces of files that are equally large: blocks."""
    models = tuple(models)
    items = [
        *_installed(home, places.models),
        *_in_folder(places.models),
        *_sources(home / "sources"),
        *_kept_aside(home),
        *_duplicates(models, places.cache_file),
        *_hub_incomplete(places),
    ]
    order = list(DiskKind)
    items.sort(key=lambda one: (order.index(one.kind), -one.size_bytes, str(one.path)))
    sizes: dict[str, int] = defaultdict(int)
    for model in models:
        sizes[model.found.kind.value] += model.size_bytes
    return DiskReport(tuple(items), dict(sizes), _free_bytes(places.models))


def clean(items: Iterable[DiskItem]) -> Iterator[tuple[DiskItem, str]]:
    """Remove items one by one and say of each how it went: empty, or why it is still there."""
    for item in items:
        if not item.is_cleanable:
            msg = f"{item.path} is not luci's to remove"
            raise ValueError(msg)
        try:
            _remove(item.path)
            if item.kind is DiskKind.SOURCE:
                with suppress(OSError):  # other commits of the repository are still there
                    item.path.parent.rmdir()
        except BlockingIOError:
            yield item, f"{item.path} is in use by another process and stays."
        except OSError as error:
            yield item, f"{item.path} cannot be removed ({error.strerror}). Check its permissions."
        else:
            yield item, ""


# What lies in the folders of installed models.


def _installed(home: Path, models: Path) -> Iterator[DiskItem]:
    from luci_tui.library.manifest import MANIFEST_NAME, read_manifest

    queue = _Queue(home / "downloads.json")
    for folder in _folders(models / "installed"):
        try:
            manifest = read_manifest(folder)
        except GgufError:
            continue  # `luci llm list` says what is wrong; nothing here is judged without it
        in_use = None if manifest is None else manifest.version
        for version in _folders(folder):
            is_queued = queue.needs(folder.name, version.name)
            if version.name == in_use and manifest is not None:
                known = {one.name for one in manifest.files}
                yield from _beside_files(version, known, is_queued=is_queued)
            else:
                yield from _other_version(version, in_use, is_queued=is_queued)
        new = folder / f"{MANIFEST_NAME}.new"
        if new.is_file() and not queue.needs(folder.name):
            yield _item(DiskKind.ORPHAN, new, "An install ended before it was complete.")


def _beside_files(version: Path, known: set[str], *, is_queued: bool) -> Iterator[DiskItem]:
    for path in _files(version):
        if path.name in known:
            continue
        if _is_part(path):
            yield _part_item(path, is_queued=is_queued)
        elif ".corrupt-" in path.name:
            yield _item(DiskKind.CORRUPT, path, "A download that was not what was promised.")
        elif path.suffix == ".gguf":
            yield _item(DiskKind.ORPHAN, path, "The manifest beside it does not name it.")


def _other_version(version: Path, in_use: str | None, *, is_queued: bool) -> Iterator[DiskItem]:
    files = list(_files(version))
    size_bytes = sum(_size(path) for path in files)
    if not files:
        return
    if any(_is_part(path) for path in files) or is_queued:
        is_busy = any(_is_locked(path) for path in files if path.suffix == ".part")
        detail = _download_state(version.parent.name, is_busy=is_busy, is_queued=is_queued)
        is_free = not is_busy and not is_queued
        yield DiskItem(DiskKind.PARTIAL, version, size_bytes, detail, is_free)
    elif in_use is not None:
        detail = f"The version of {version.parent.name} in use is {in_use}."
        yield DiskItem(DiskKind.OLD_VERSION, version, size_bytes, detail, is_cleanable=True)
    else:
        detail = f"{version.parent.name} has no manifest, so it is not installed."
        yield DiskItem(DiskKind.ORPHAN, version, size_bytes, detail, is_cleanable=True)


def _part_item(path: Path, *, is_queued: bool) -> DiskItem:
    is_busy = path.suffix == ".part" and _is_locked(path)
    detail = _download_state(path.name, is_busy=is_busy, is_queued=is_queued)
    is_free = not is_busy and not is_queued
    return DiskItem(DiskKind.PARTIAL, path, _size(path), detail, is_free)


def _download_state(name: str, *, is_busy: bool, is_queued: bool) -> str:
    if is_busy:
        return f"{name} is being downloaded now."
    if is_queued:
        return f"{name} waits in the queue. `luci downloads cancel` gives it up."
    return f"Nobody downloads {name} any more; an install would go on from it."


class _Queue:
    """Which versions the queue of downloads still needs; all of them where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self._needed = unfinished_versions(path)

    def needs(self, name: str, version: str = "") -> bool:
        """Tell whether the files of a version are needed; "" = of any version of the model."""
        if self._needed is None:
            return True
        return any(
            one == name and version in ("", its_version) for one, its_version in self._needed
        )


# What lies right in a folder.


def _in_folder(models: Path) -> Iterator[DiskItem]:
    for path in _files(models):
        if _is_part(path):
            yield _part_item(path, is_queued=False)
        elif ".corrupt-" in path.name:
            yield _item(DiskKind.CORRUPT, path, "A download that was not what was promised.")
    for folder in _folders(models):
        _, part, pid = folder.name.rpartition(".part-")
        if part and pid.isdigit():
            size_bytes = sum(_size(path) for path in _files(folder))
            is_busy = _is_locked(folder)
            detail = f"Process {pid} {'writes' if is_busy else 'wrote'} a model here."
            yield DiskItem(DiskKind.LEFTOVER, folder, size_bytes, detail, not is_busy)


def _sources(folder: Path) -> Iterator[DiskItem]:
    """Find what `luci convert hf:OWNER/REPO` has fetched; a conversion holds its folder's lock."""
    for repo in _folders(folder):
        name = repo.name.replace("--", "/", 1)
        for commit in _folders(repo):
            files = list(_files(commit))
            size_bytes = sum(_size(path) for path in files)
            is_busy = _is_locked(commit, fcntl.LOCK_EX)
            state = "is being converted now" if is_busy else "can be fetched again"
            what = "Unfinished: hf" if any(_is_part(path) for path in files) else "hf"
            detail = f"{what}:{name} at {commit.name[:12]} {state}."
            yield DiskItem(DiskKind.SOURCE, commit, size_bytes, detail, not is_busy)


def _kept_aside(home: Path) -> Iterator[DiskItem]:
    for path in _files(home):
        if ".corrupt-" in path.name:
            name = path.name.split(".corrupt-")[0]
            detail = f"A damaged {name}; what could be read of it was carried over."
            yield _item(DiskKind.CORRUPT, path, detail)


# Doubles, and other programs.


def _duplicates(models: tuple[LibraryModel, ...], cache_file: Path | None) -> Iterator[DiskItem]:
    by_size: dict[tuple[int, int], list[LibraryModel]] = defaultdict(list)
    for model in models:
        if model.found.stamp.size_bytes:
            key = (model.found.stamp.size_bytes, len(model.found.files))
            by_size[key].append(model)
    with HeaderCache(cache_file) as cache:
        for alike in by_size.values():
            if len(alike) > 1:
                yield from _same_content(alike, cache)


def _same_content(models: list[LibraryModel], cache: HeaderCache) -> Iterator[DiskItem]:
    by_content: dict[str, list[LibraryModel]] = defaultdict(list)
    places: set[tuple[int, int]] = set()
    order = list(ModelKind)
    for model in sorted(models, key=lambda m: (m.path.is_symlink(), order.index(m.found.kind))):
        try:
            facts = model.path.stat()
            sample = _sample(model, cache)
        except OSError:
            continue
        if (facts.st_dev, facts.st_ino) not in places:  # a link takes no room
            places.add((facts.st_dev, facts.st_ino))
            by_content[sample].append(model)
    for first, *others in by_content.values():
        for other in others:
            if first.found.sha256 and other.found.sha256:
                if first.found.sha256 != other.found.sha256:
                    continue
                certain = "the same sum"
            else:
                certain = "the same size, start, middle and end"
            detail = f"{other.name} has {certain} as {first.name}. {_how_to_remove(other)}"
            yield DiskItem(
                DiskKind.DUPLICATE, other.path, other.found.stamp.size_bytes, detail, False
            )


def _how_to_remove(model: LibraryModel) -> str:
    match model.found.kind:
        case ModelKind.INSTALLED:
            return f"`luci uninstall {model.name}` removes it."
        case ModelKind.FOREIGN:
            return f"It belongs to {model.found.store}; remove it there, or use it from there."
        case _:
            return "Remove the file by hand if you do not need both."


def _sample(model: LibraryModel, cache: HeaderCache) -> str:
    """Sum up three pieces of a file; equal files have equal ones."""
    path, stamp = model.path, model.found.stamp
    known = cache.get(FactKind.SAMPLE, path, stamp)
    if known is not None and isinstance(known.get("sum"), str):
        return str(known["sum"])
    digest = hashlib.sha256()
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        for start in (0, size // 2, max(0, size - SAMPLE_BYTES)):
            file.seek(start)
            digest.update(file.read(SAMPLE_BYTES))
    found = digest.hexdigest()
    cache.put(FactKind.SAMPLE, path, stamp, {"sum": found})
    return found


def _hub_incomplete(places: Places) -> Iterator[DiskItem]:
    for store in places.stores:
        if store.kind is not StoreKind.HUGGING_FACE:
            continue
        for folder in _folders(store.folder):
            for path in _files(folder / "blobs"):
                if path.name.endswith(".incomplete"):
                    detail = (
                        "Its own downloader does not go on from it. Remove it by hand when none of "
                        "its downloads runs."
                    )
                    size_bytes = _size(path)
                    yield DiskItem(DiskKind.HUB_INCOMPLETE, path, size_bytes, detail, False)


# Files and folders.


def _item(kind: DiskKind, path: Path, detail: str) -> DiskItem:
    return DiskItem(kind, path, _size(path), detail, is_cleanable=True)


def _is_part(path: Path) -> bool:
    return path.name.endswith((".part", ".part.json", ".part.json.new"))


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path, is_folder in _names(folder) if not is_folder)


def _folders(folder: Path) -> Iterator[Path]:
    yield from (path for path, is_folder in _names(folder) if is_folder)


def _names(folder: Path) -> list[tuple[Path, bool]]:
    """List a folder by name; links are left out, for what they lead to is somebody else's."""
    found: list[tuple[Path, bool]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if len(found) >= _MAX_NAMES:
                    break
                if not entry.is_symlink():
                    found.append((Path(entry.path), entry.is_dir(follow_symlinks=False)))
    except OSError:
        return []
    return sorted(found)


def _size(path: Path) -> int:
    """Give the room that a file takes on the disk; a file with holes takes less than its length."""
    try:
        facts = path.stat()
    except OSError:
        return 0
    return min(facts.st_size, facts.st_blocks * 512)


def _is_locked(path: Path, wanted: int = fcntl.LOCK_SH) -> bool:
    """Tell whether a process holds the lock of a part; LOCK_EX = also one that it shares."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, wanted | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _remove(path: Path) -> None:
    """Remove a file, or a folder and the plain files in it."""
    if not path.is_dir():
        _unlink(path)
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for file in _files(path):
            _unlink(file)
        path.rmdir()
    finally:
        os.close(descriptor)


def _unlink(path: Path) -> None:
    """Remove a file, unless a process holds its lock; then BlockingIOError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if path.suffix == ".part":
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(descriptor)


def _free_bytes(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def summary(report: DiskReport) -> str:
    """Say in one line what cleaning would win."""
    total = sum(one.size_bytes for one in report.cleanable)
    return f"{format_bytes(total)} can be cleaned, {format_bytes(report.free_bytes)} is free."
