"""What a program that uses luci as a library asks of it: models by name, by tier, with all facts.

    from luci_tui.library.lookup import get_model_info, list_models, resolve

    list_models(tier=0)              # what is on this machine
    list_models(with_catalog=True)   # and what could be installed
    resolve("llama3.1")              # "llama3.1-8b"
    get_model_info("llama3.1-8b")["size_bytes"]

Everything blocks; the home folder is that of the environment.
"""

from __future__ import annotations

from luci_tui.catalog.catalog import Catalog, load_catalog
from luci_tui.catalog.entries import CatalogEntry
from luci_tui.errors import CatalogError
from luci_tui.library.store import Library


def resolve(name: str) -> str:
    """Return the name that a name or an alias stands for; what is on this machine goes first.

    Raises:
        CatalogError: neither the library nor the catalogue has such a model.
        ConfigError: a person's own catalogue cannot be read.
    """
    library = Library()
    found = library.get(name)
    return found.name if found is not None else _entry(library, name).name


def get_model_info(name: str) -> dict[str, object]:
    """Return all that is known about a model as plain data; raises as `resolve` does.

    "kind" is "catalogue" for one that is not on this machine.
    """
    library = Library()
    found = library.get(name)
    return found.to_json() if found is not None else entry_facts(_entry(library, name))


def list_models(
    *, tier: int | None = None, with_catalog: bool = False
) -> tuple[dict[str, object], ...]:
    """Return all that is known about the models of a tier, or of all.

    Args:
        tier: 0 to 3; None = all.
        with_catalog: Also those of the catalogue that are not on this machine.

    Raises:
        ConfigError: a person's own catalogue cannot be read.
    """
    library = Library()
    models = [one.to_json() for one in library.models if tier in (None, one.tier)]
    if with_catalog:
        models += [entry_facts(entry) for entry in missing_entries(library, tier)]
    return tuple(models)


def missing_entries(library: Library, tier: int | None = None) -> list[CatalogEntry]:
    """Give the entries of the catalogue that are not on this machine, smallest first."""
    here = {one.found.catalog_name for one in library.models}
    entries = _catalog(library).list_models(tier=tier)
    return [entry for entry in entries if entry.name not in here]


def entry_facts(entry: CatalogEntry) -> dict[str, object]:
    """Give what the catalogue says about a model, in the form of one that is here."""
    facts = entry.model_dump(mode="json")
    return {**facts, "kind": "catalogue", "enabled": False, "tier_source": "catalogue"}


def _entry(library: Library, name: str) -> CatalogEntry:
    try:
        return _catalog(library).resolve(name)
    except CatalogError as error:
        raise CatalogError(library.unknown(name), code="unknown_model") from error


def _catalog(library: Library) -> Catalog:
    return load_catalog(*library.places.catalogs)
