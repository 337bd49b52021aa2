"""The catalogue: the one that ships with luci, and a person's own entries over it."""

from __future__ import annotations

import difflib
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from luci_tui.catalog.entries import CatalogEntry
from luci_tui.errors import CatalogError, ConfigError

MAX_FILE_BYTES = 4 * 1024 * 1024
N_SUGGESTIONS = 3


class Catalog:
    """Entries by name. An alias is as good as a name; a part of one stands for nothing.

    Raises:
        ConfigError: two entries share a name or an alias.
    """

    def __init__(self, entries: Iterable[CatalogEntry]) -> None:
        self.entries = tuple(entries)
        self._by_name: dict[str, CatalogEntry] = {}
        for entry in self.entries:
            for name in (entry.name, *entry.aliases):
                if name.lower() in self._by_name:
                    msg = f"The catalogue has the name {name} twice. Rename one of them."
                    raise ConfigError(msg)
                self._by_name[name.lower()] = entry

    def resolve(self, name: str) -> CatalogEntry:
        """Return the model with that name or alias; case does not matter.

        Raises:
            CatalogError: there is none; the message suggests some that are spelt alike.
        """
        found = self._by_name.get(name.lower())
        if found is None:
            alike = difflib.get_close_matches(name.lower(), self._by_name, N_SUGGESTIONS, 0.6)
            hint = f"Did you mean {', '.join(alike)}?" if alike else "`luci catalog list` has all."
            msg = f"The catalogue has no model called {name[:100]!r}. {hint}"
            raise CatalogError(msg, code="unknown_model")
        return found

    def list_models(
        self, *, tier: int | None = None, tag: str | None = None
    ) -> tuple[CatalogEntry, ...]:
        """Return the models of a tier and with a tag, smallest first."""
        chosen = [
            entry
            for entry in self.entries
            if tier in (None, entry.tier) and (tag is None or tag in entry.tags)
        ]
        return tuple(sorted(chosen, key=lambda entry: (entry.tier, entry.size_bytes, entry.name)))

    def tier_counts(self) -> dict[int, int]:
        """Return how many models each tier has."""
        counts = Counter(entry.tier for entry in self.entries)
        return {tier: counts[tier] for tier in range(4)}

    def tags(self) -> tuple[str, ...]:
        """Return all tags."""
        return tuple(sorted({tag for entry in self.entries for tag in entry.tags}))


def load_catalog(shipped: Path, own: Path | None = None) -> Catalog:
    """Read the catalogue that ships with luci, and a person's own over it.

    An own entry of the same name replaces fields of the shipped one; another name adds a model.

    Raises:
        ConfigError: a file cannot be read, or an entry is not what it should be; names both.
    """
    tables = {str(table.get("name")): table for table in _tables(shipped)}
    for table in _tables(own) if own is not None and own.exists() else ():
        name = str(table.get("name"))
        tables[name] = tables.get(name, {}) | table
    return Catalog(_entry(table, own or shipped) for table in tables.values())


def get_model_info(catalog: Catalog, name: str) -> dict[str, object]:
    """Return all that the catalogue says about a model, as plain data."""
    return catalog.resolve(name).model_dump(mode="json")


def _tables(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            msg = f"{path} is larger than {MAX_FILE_BYTES // 1024**2} MiB. Shorten it."
            raise ConfigError(msg)
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        msg = f"{path} cannot be read as a catalogue ({error}). Correct it, or remove it."
        raise ConfigError(msg) from error
    unknown = data.keys() - {"model"}
    models: object = data.get("model", [])
    if unknown or not isinstance(models, list):
        msg = f"{path} may hold [[model]] tables and nothing else. Correct it."
        raise ConfigError(msg)
    tables = cast("list[object]", models)
    return [cast("dict[str, Any]", table) for table in tables if isinstance(table, dict)]


def _entry(table: dict[str, Any], path: Path) -> CatalogEntry:
    try:
        return CatalogEntry.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        name = str(table.get("name", "without a name"))[:100]
        msg = f'{path}: the model {name!r} has no usable "{where}": {first["msg"]}. Correct it.'
        raise ConfigError(msg) from error
