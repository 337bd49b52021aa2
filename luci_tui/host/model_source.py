"""Where the host installs models from: the hub, the catalogue and plain addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from luci_tui.catalog.catalog import Catalog, load_catalog
from luci_tui.download.hub import Hub
from luci_tui.download.plan import Plan
from luci_tui.download.sources import HubSource
from luci_tui.download.threads import in_thread


class HostSource:
    """A `download.sources.Source` that asks the environment each time it is asked.

    A wrong HF_ENDPOINT is a sentence about one install then, and not the end of a host.

    Args:
        shipped: The catalogue that ships with luci.
        own: A person's own; it may not exist.
    """

    def __init__(self, shipped: Path, own: Path) -> None:
        self._shipped = shipped
        self._own = own

    async def plan(self, wanted: str, *, name: str = "", with_mmproj: bool = False) -> Plan:
        """Make the plan for what a person asks for; see `HubSource.plan`."""
        catalog = await in_thread(load_catalog, self._shipped, self._own)
        source = _source(lambda: catalog)
        return await source.plan(wanted, name=name, with_mmproj=with_mmproj)

    def headers(self, url: str) -> Mapping[str, str]:
        """Return the token for an address of the hub itself, and nothing for any other."""
        return _source(lambda: load_catalog(self._shipped, self._own)).headers(url)


def _source(load: Callable[[], Catalog]) -> HubSource:
    return HubSource(Hub(), load)
