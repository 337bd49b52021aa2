"""Whether a name is still free: models.toml comes before the library, and no two share one."""

from __future__ import annotations

from collections.abc import Iterable

from luci_tui import paths
from luci_tui.errors import ConfigError
from luci_tui.library.records import LibraryModel
from luci_tui.library.store import Library
from luci_tui.manager.models_toml import read


def check_free(library: Library, model: LibraryModel, aliases: Iterable[str]) -> None:
    """Refuse names that stand for another model.

    Raises:
        ConfigError: one of them is taken.
    """
    wanted = list(aliases)
    if not wanted:
        return
    entries = read(paths.models_file()).entries
    written = {name for entry in entries for name in (entry.name, *entry.aliases)}
    for alias in wanted:
        if alias in written:
            msg = f'The name "{alias}" is taken in models.toml. Choose another one.'
            raise ConfigError(msg)
        other = library.get(alias)
        if other is not None and other.name != model.name:
            msg = f'The name "{alias}" is taken by the model {other.name}. Choose another one.'
            raise ConfigError(msg)
