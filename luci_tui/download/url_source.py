"""Plans for addresses: one file whose size nobody says before the server does."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from luci_tui.download.plan import Plan, PlannedFile
from luci_tui.errors import CatalogError, DownloadError


class UrlSource:
    """A source that knows http and https addresses alone."""

    async def plan(self, wanted: str, *, name: str = "") -> Plan:
        """Make the plan for one address.

        Raises:
            CatalogError: it is no address.
            DownloadError: it is none of a GGUF file, or the name cannot be one.
        """
        if not wanted.startswith(("https://", "http://")):
            msg = f"{wanted[:100]!r} is no http or https address. Give one of a .gguf file."
            raise CatalogError(msg, code="unknown_model")
        file_name = unquote(urlsplit(wanted).path).rpartition("/")[2]
        try:
            file = PlannedFile(name=file_name, url=wanted)
            return Plan(name=name or file_name.removesuffix(".gguf"), source=wanted, files=(file,))
        except ValidationError as error:
            raise DownloadError(
                f"{wanted[:200]} cannot be installed: it ends in no plain name of a .gguf file, or "
                f"{(name or file_name)[:100]!r} is no name for a model. Give one with --name.",
                code="invalid_url",
            ) from error

    def headers(self, url: str) -> Mapping[str, str]:
        """Return nothing: there is no token for any address."""
        del url
        return {}
