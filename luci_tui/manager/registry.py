"""Which model a name stands for: the built-in one, those of models.toml, of the library, paths.

Names are compared whole and as they are written; part of a name never stands for a model.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from luci_tui import paths
from luci_tui.errors import CatalogError, ConfigError, ModelLoadError
from luci_tui.library.own_settings import ModelSettings
from luci_tui.library.places import find_places
from luci_tui.library.records import FoundModel
from luci_tui.library.usable import Usable, UsableModels
from luci_tui.manager import models_toml
from luci_tui.manager.entries import (
    BUILTIN,
    LoadOptions,
    ModelEntry,
    builtin_entry,
    entry_for_file,
)


@dataclass(frozen=True)
class _Stamp:
    """What changes when a file is written."""

    inode: int
    size_bytes: int
    mtime_ns: int


class Registry:
    """The models that can be asked for. Reads files, which are small: any thread, one at a time."""

    def __init__(self, file: Path | None = None, folder: Path | None = None) -> None:
        """Look at the given places.

        Args:
            file: The models.toml; None = the one in LUCI_HOME.
            folder: The folder of models; None = the one in LUCI_HOME.
        """
        self.file = file or paths.models_file()
        self._folder = folder or paths.models_folder()
        self._library = UsableModels(partial(find_places, folder))
        self._stamp: _Stamp | None = None
        self._document = models_toml.Document()
        self._made_from: tuple[Path | None, models_toml.Document, Usable] | None = None
        self._described: tuple[ModelEntry, ...] = ()
        """Without what a person has set in library.toml."""
        self._entries: tuple[ModelEntry, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What in models.toml cannot be used, one sentence each; the rest works without it."""
        return self._read().problems

    async def refresh(self) -> None:
        """Look through changed folders in a thread, so that what is asked next need not."""
        # Most often nothing has changed, and a thread takes longer than looking at that.
        if not self._library.is_current():
            await asyncio.to_thread(self._library.refresh)

    def names(self) -> tuple[ModelEntry, ...]:
        """List every model that has a name: built-in, of models.toml, of the library if enabled."""
        return self._all()

    def find(self, name: str) -> ModelEntry:
        """Return the model of this name or alias; a path is no name.

        Raises:
            CatalogError: there is no such model; the message names similar ones.
            ModelLoadError: the built-in model is asked for and not part of this installation.
        """
        entry = self._look_up(name)
        if entry is None:
            raise self._unknown(name)
        return entry

    def resolve(self, name: str) -> ModelEntry:
        """Return the model of this name, alias or path.

        A relative path is one of this process: a front end makes it absolute before it asks a
        process that runs elsewhere. Whether the file can be loaded is not looked at.

        Raises:
            CatalogError: there is no such model; the message names similar ones.
            ModelLoadError: the built-in model is asked for and not part of this installation.
        """
        path = _as_path(name)
        entry = self._look_up(name)
        if entry is not None:
            return entry
        if path is None:
            raise self._unknown(name)
        for entry in self._all():
            if entry.path and Path(entry.path) == path and entry.name == path.stem:
                return entry
        return _with_own(entry_for_file(path, str(path)), self._library.get())

    def described(self, entry: ModelEntry) -> ModelEntry:
        """Return an entry of `resolve` without what a person has set in library.toml."""
        self._all()
        for one in self._described:
            if one.name == entry.name:
                return one
        return entry_for_file(Path(entry.path), entry.name)

    def own(self, entry: ModelEntry) -> ModelSettings:
        """Return what a person has set in library.toml about an entry of `resolve`."""
        return self._library.get().own.get(entry.name, ModelSettings())

    def is_in_models_toml(self, entry: ModelEntry) -> bool:
        """Tell whether an entry of `resolve` is described in models.toml."""
        return any(one.name == entry.name for one in self._read().entries)

    def set_entry(self, entry: ModelEntry) -> None:
        """Write an entry into models.toml, in place of the one of that name if there is one.

        Raises:
            ConfigError: the file is broken, a name is taken, or the file cannot be written.
        """
        taken = {BUILTIN: BUILTIN}
        for other in self._read().entries:
            if other.name != entry.name:
                taken |= dict.fromkeys((other.name, *other.aliases), other.name)
        for name in (entry.name, *entry.aliases):
            if name in taken:
                raise ConfigError(
                    f'The name "{name}" is taken by the model "{taken[name]}". Choose another one.'
                )
        models_toml.replace_entry(self.file, entry.name, entry)

    def remove_entry(self, name: str) -> None:
        """Take the entry of this name out of models.toml; the model's file stays.

        Raises:
            CatalogError: models.toml has no entry of this name.
            ConfigError: the file is broken or cannot be written.
        """
        if all(entry.name != name for entry in self._read().entries):
            raise CatalogError(
                f'{self.file} has no model "{name}", so none was removed. '
                "Look at the list of models; a file in the models folder is removed by hand."
            )
        models_toml.replace_entry(self.file, name, None)

    def _look_up(self, name: str) -> ModelEntry | None:
        for entry in self._all():
            if name == entry.name or name in entry.aliases:
                return entry
        if name == BUILTIN:
            place = paths.builtin_model_candidates()[-1]
            raise ModelLoadError(
                f"This installation has no built-in model at {place}. Name a GGUF file instead.",
                code="builtin_missing",
            )
        return None

    def _all(self) -> tuple[ModelEntry, ...]:
        """List all entries; they are made anew only when something has changed."""
        made_from = (paths.builtin_model_file(), self._read(), self._library.get())
        if made_from != self._made_from:
            self._described = tuple(_entries(*made_from))
            self._entries = tuple(_with_own(one, made_from[2]) for one in self._described)
            self._made_from = made_from
        return self._entries

    def _read(self) -> models_toml.Document:
        """Read models.toml, unless it is the file that was read last."""
        try:
            facts = self.file.stat()
        except OSError:
            # Missing, or not to be read: `read` knows the difference.
            self._stamp = None
            return models_toml.read(self.file)
        stamp = _Stamp(facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if stamp != self._stamp:
            self._document, self._stamp = models_toml.read(self.file), stamp
        return self._document

    def _unknown(self, name: str) -> CatalogError:
        disabled = self._library.disabled().get(name)
        if disabled is not None:
            return CatalogError(
                f'The model "{name}" is disabled. `luci llm enable {disabled}` makes it usable.',
                code="disabled",
            )
        installable = self._library.installable(name)
        if installable:
            return CatalogError(
                f'The model "{name}" is not installed. `luci install {installable}` fetches it.',
                code="not_installed",
            )
        known = [one for entry in self._all() for one in (entry.name, *entry.aliases)]
        by_lower = {one.lower(): one for one in known}
        close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
        if close:
            hint = "Did you mean " + " or ".join(f'"{by_lower[one]}"' for one in close) + "?"
        else:
            hint = (
                "`luci llm list` shows those that are here, `luci search` and `luci install` get "
                f"others, and a GGUF file is used by its path or from {self._folder}."
            )
        problems = "".join(f" {problem}" for problem in self._read().problems[:1])
        return CatalogError(f'There is no model "{name}". {hint}{problems}')


def _entries(
    builtin: Path | None, document: models_toml.Document, library: Usable
) -> Iterator[ModelEntry]:
    if builtin is not None:
        yield builtin_entry(builtin)
    written = document.entries
    yield from written
    taken = {name for entry in written for name in (entry.name, *entry.aliases)} | {BUILTIN}
    used_paths = {entry.path for entry in written}
    for found in library.models:
        if found.name not in taken and str(found.path) not in used_paths:
            yield _library_entry(found, taken)


def _library_entry(found: FoundModel, taken: set[str]) -> ModelEntry:
    """Make the entry of a model of the library; names in models.toml go before its aliases."""
    return ModelEntry(
        name=found.name,
        aliases=tuple(alias for alias in found.aliases if alias not in taken),
        path=str(found.path),
        load=LoadOptions(mmproj_path="" if found.mmproj is None else str(found.mmproj)),
    )


def _with_own(entry: ModelEntry, library: Usable) -> ModelEntry:
    """Ask a model as library.toml says."""
    own = library.own.get(entry.name)
    if own is None or not (own.sampling or own.system):
        return entry
    return entry.model_copy(
        update={
            "sampling": entry.sampling.with_changes(own.sampling),
            "system": own.system or entry.system,
        }
    )


def _as_path(name: str) -> Path | None:
    """Read a name as a path if it is written like one; None = it is not."""
    if "\0" in name or not ("/" in name or name.startswith("~") or name.endswith(".gguf")):
        return None
    try:
        return Path(name).expanduser().absolute()
    except RuntimeError:  # "~nobody": a user who does not exist
        return None
