"""What is left below `models/installed` that belongs to no model, and how it goes.

All of it blocks. Only what luci itself writes there is touched: folders of versions, a manifest
that was not finished, parts and files that were set aside. Whatever a person puts there stays.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from luci_tui.download.part import sync_folder
from luci_tui.errors import CatalogError, GgufError
from luci_tui.library.manifest import MANIFEST_NAME, model_folder, read_manifest

_VERSION = re.compile(r"[0-9a-f]{12}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}")
_LEFTOVER = re.compile(r".*\.gguf(\.part|\.part\.json|\.part\.json\.new|\.corrupt-\w+)")

Version = tuple[str, str]
"""(model, version)"""


@dataclass(frozen=True)
class Garbage:
    """A file or a folder that nothing needs."""

    path: Path
    size_bytes: int
    why: str
    """In a few words."""


def find_garbage(models_folder: Path, keep: Collection[Version]) -> tuple[Garbage, ...]:
    """List what belongs to no installed model and to no unfinished install.

    Args:
        models_folder: Where models lie.
        keep: What the queue still needs.

    Returns:
        Nothing of a model whose manifest cannot be read: it may be all that is left of it.
    """
    installed = models_folder / "installed"
    if not installed.is_dir():
        return ()
    found: list[Garbage] = []
    for folder in sorted(installed.iterdir()):
        if folder.is_dir() and not folder.is_symlink() and _NAME.fullmatch(folder.name):
            needed = {version for name, version in keep if name == folder.name}
            found += _garbage_of(folder, needed)
    return tuple(found)


def remove_garbage(garbage: Iterable[Garbage]) -> int:
    """Remove what `find_garbage` found, and give the bytes.

    Raises:
        OSError: the disk does not let it go.
    """
    removed_bytes = 0
    for one in garbage:
        if one.path.is_dir():
            remove_folder(one.path)
        else:
            one.path.unlink(missing_ok=True)
        removed_bytes += one.size_bytes
        if one.path.parent.is_dir() and not any(one.path.parent.iterdir()):
            one.path.parent.rmdir()
    return removed_bytes


def uninstall(models_folder: Path, name: str) -> int:
    """Remove an installed model and give the bytes that are free now.

    The manifest goes first, so that a kill leaves either the model or garbage.

    Raises:
        CatalogError: no model of this name is installed; code "not_installed".
        OSError: the disk does not let it go.
    """
    folder = model_folder(models_folder, name)
    manifest = folder / MANIFEST_NAME
    if not _NAME.fullmatch(name) or not (manifest.exists() or any(_versions(folder))):
        raise CatalogError(
            f"No model called {name[:100]!r} was installed by luci. `luci llm list` shows the "
            "models; a file that you put there yourself is yours to remove.",
            code="not_installed",
        )
    manifest.unlink(missing_ok=True)
    # After a loss of power, a manifest without its files would be a model that cannot be loaded.
    sync_folder(folder)
    freed_bytes = sum(_size_of(one) for one in _versions(folder))
    remove_versions(folder, keep=())
    (folder / f"{MANIFEST_NAME}.new").unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
    return freed_bytes


def remove_versions(folder: Path, keep: Collection[str]) -> None:
    """Remove all versions of a model but some."""
    for version in _versions(folder):
        if version.name not in keep:
            remove_folder(version)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it; one that is gone already is fine."""
    if folder.exists():
        shutil.rmtree(folder)


def _garbage_of(folder: Path, needed: Collection[str]) -> Iterator[Garbage]:
    try:
        manifest = read_manifest(folder)
    except GgufError:
        return
    current = manifest.version if manifest is not None else ""
    for version in _versions(folder):
        if version.name in needed:
            continue
        if version.name != current:
            why = "an older version" if manifest is not None else "an install that was given up"
            yield Garbage(version, _size_of(version), f"{why} of {folder.name}")
            continue
        for path in sorted(version.iterdir()):
            if path.is_file() and _LEFTOVER.fullmatch(path.name):
                yield Garbage(path, path.stat().st_size, f"left over from {folder.name}")
    new = folder / f"{MANIFEST_NAME}.new"
    if new.is_file():
        yield Garbage(new, new.stat().st_size, f"an unfinished manifest of {folder.name}")


def _versions(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if _VERSION.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            yield path


def _size_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
