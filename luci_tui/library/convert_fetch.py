"""Bring the source of a conversion from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from luci_tui.errors import CatalogError

_PREFIX: Final = "hf:"


def is_remote(source: str) -> bool:
    """Tell whether a source lies at the hub."""
    return source.startswith(_PREFIX)


def fetch_source(source: str) -> Path:
    """Return the folder of a source at the hub.

    Raises:
        CatalogError: it cannot be fetched.
    """
    repo = source.removeprefix(_PREFIX)
    msg = (
        f"luci convert reads a folder. Fetch {repo} with `hf download {repo} --local-dir FOLDER` "
        "and name the folder."
    )
    raise CatalogError(msg, code="remote_source")
