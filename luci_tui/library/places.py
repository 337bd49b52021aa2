"""Where the library looks: the home folder, folders of config.toml, stores of other programs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from luci_tui import paths
from luci_tui.errors import ConfigError


class StoreKind(StrEnum):
    """How another program keeps its models, and what it is called."""

    OLDER_LUCI = "~/.luciferai"
    HUGGING_FACE = "Hugging Face"
    OLLAMA = "Ollama"
    LM_STUDIO = "LM Studio"


@dataclass(frozen=True)
class Store:
    """A folder of another program."""

    kind: StoreKind
    folder: Path


@dataclass(frozen=True)
class Places:
    """Every file and folder that the library reads."""

    models: Path
    """LUCI_HOME/models."""
    settings_file: Path
    """library.toml."""
    cache_file: Path | None
    """library.db; None = nothing is remembered."""
    catalogs: tuple[Path, Path]
    """The one that ships with luci, and a person's own."""
    custom: tuple[Path, ...]
    """Folders of a person's own model files, LUCI_HOME/models/custom_models first."""
    stores: tuple[Store, ...] = ()
    problems: tuple[str, ...] = ()
    """What in config.toml cannot be used, one sentence each."""


def find_places(models: Path | None = None) -> Places:
    """Say where to look, by the environment and config.toml.

    Args:
        models: The models folder; None = the one in LUCI_HOME.
    """
    custom_of_home = models / "custom_models" if models else paths.custom_models_folder()
    further, finds_others, problems = _settings()
    return Places(
        models=models or paths.models_folder(),
        settings_file=paths.library_file(),
        cache_file=paths.library_cache_file(),
        catalogs=(paths.shipped_catalog_file(), paths.own_catalog_file()),
        custom=(custom_of_home, *further),
        stores=_stores() if finds_others else (),
        problems=problems,
    )


def _settings() -> tuple[tuple[Path, ...], bool, tuple[str, ...]]:
    """Read the section [library]; most homes have none, and its parser takes a while to import."""
    file = paths.luci_home() / "config.toml"
    try:
        if b"library" not in file.read_bytes():
            return (), True, ()
    except OSError:
        return (), True, ()
    from luci_tui.settings import load_settings

    try:
        found = load_settings(paths.luci_home()).library
    except ConfigError as error:
        return (), True, (error.message,)
    folders = tuple(Path(one).expanduser() for one in found.folders)
    missing = tuple(
        f"The folder {one} of config.toml is not there. Correct [library] folders, or make it."
        for one in folders
        if not one.is_dir()
    )
    return folders, found.finds_others, missing


def _stores() -> tuple[Store, ...]:
    older = paths.old_luci_models_folder()
    stores: list[Store] = []
    if older.resolve() != paths.models_folder().resolve():
        stores.append(Store(StoreKind.OLDER_LUCI, older))
    stores.append(Store(StoreKind.HUGGING_FACE, paths.hugging_face_cache_folder()))
    stores += [Store(StoreKind.OLLAMA, folder) for folder in paths.ollama_models_folders()]
    stores += [Store(StoreKind.LM_STUDIO, folder) for folder in paths.lm_studio_models_folders()]
    # A folder that is a link to another one has the same models.
    by_folder = {store.folder.resolve(): store for store in reversed(stores)}
    return tuple(store for store in stores if store in by_folder.values())
