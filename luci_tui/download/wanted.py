"""What a person wrote to name a model: a repository, one of its files, an address, or a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from luci_tui.config import PUBLIC_HUB
from luci_tui.download.hub_facts import is_repo_name, is_repo_path, is_revision, plain_words
from luci_tui.errors import CatalogError

MAX_WANTED = 2000
_SECRET_QUERY = re.compile(
    r"(^|[&;])([^=&;]*(token|secret|signature|passw|auth|credential|api.?key|access.?key)[^=&;]*"
    r"|key|sig)=",
    re.I,
)
_QUANT = re.compile(r"[A-Za-z0-9_-]{2,24}")


@dataclass(frozen=True)
class HubWish:
    """Something at the hub."""

    repo: str
    revision: str = "main"
    path: str = ""
    """Empty = whichever file fits best."""
    quant: str = ""
    """Quant type to take; empty = any."""


@dataclass(frozen=True)
class UrlWish:
    """A file at an address that is no hub's."""

    url: str


@dataclass(frozen=True)
class NameWish:
    """A model of the catalogue."""

    name: str


Wish = HubWish | UrlWish | NameWish


def read_wish(text: str, endpoint: str) -> Wish:
    """Understand what a person wrote.

    Args:
        text: "hf:owner/repo[@revision][/path.gguf]", "hf:owner/repo[@revision]:QUANT", an address
            of the hub or of a file, or a name of the catalogue.
        endpoint: Address of the hub in use.

    Raises:
        CatalogError: it is none of these, or a part of it cannot be a name; code "bad_name".
    """
    text = text.strip()
    if not text or len(text) > MAX_WANTED or not text.isprintable():
        raise _bad(text, "is no name of a model")
    if text.lower().startswith(("http://", "https://")):
        return _address(text, endpoint)
    for prefix in ("hf://", "hf:"):
        if text.startswith(prefix):
            return _at_hub(text.removeprefix(prefix), text)
    return NameWish(text)


def _at_hub(rest: str, text: str) -> HubWish:
    owner, _, rest = rest.partition("/")
    name, slash, path = rest.partition("/")
    quant = ""
    if not slash:
        name, colon, quant = name.partition(":")
        if colon and not _QUANT.fullmatch(quant):
            raise _bad(text, f"asks for {plain_words(quant)!r}, which is no quant type")
    name, at, revision = name.partition("@")
    # A branch with a slash in its name is written as in the hub's addresses: refs%2Fpr%2F1.
    revision = unquote(revision) if at else "main"
    return _checked(HubWish(f"{owner}/{name}", revision, path, quant), text)


def _address(text: str, endpoint: str) -> Wish:
    try:
        parts = urlsplit(text)
        is_place = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError as error:
        raise _bad(text, "is no address") from error
    if not is_place:
        raise _bad(text, "is no address")
    if parts.username or parts.password or _SECRET_QUERY.search(parts.query):
        msg = (
            f"The address at {plain_words(parts.hostname)} holds a password or a key, which would "
            "be written down with the download. Use one without."
        )
        raise CatalogError(msg, code="secret")
    for hub in (endpoint, PUBLIC_HUB):
        if text.startswith(hub + "/") and (wish := _hub_page(text, hub)):
            return wish
    name = unquote(parts.path.rpartition("/")[2])
    if not name.endswith(".gguf"):
        raise _bad(text, "is no address of a GGUF file: it does not end in .gguf")
    return UrlWish(urlunsplit((parts.scheme.lower(), parts.netloc, parts.path, parts.query, "")))


def _hub_page(text: str, hub: str) -> HubWish | None:
    """Understand an address of the hub's pages; None = it is another one."""
    path = text.removeprefix(hub + "/").partition("?")[0].partition("#")[0].rstrip("/")
    parts = [unquote(part) for part in path.split("/")]
    match parts:
        case [owner, name] if "." not in name or not name.endswith(".gguf"):
            return _checked(HubWish(f"{owner}/{name}"), text)
        case [owner, name, "blob" | "resolve" | "raw", revision, *rest] if rest:
            return _checked(HubWish(f"{owner}/{name}", revision, "/".join(rest)), text)
        case [owner, name, "tree", revision]:
            return _checked(HubWish(f"{owner}/{name}", revision), text)
        case _:
            return None


def _checked(wish: HubWish, text: str) -> HubWish:
    if not is_repo_name(wish.repo):
        raise _bad(text, "names no repository: write owner/name")
    if not is_revision(wish.revision):
        raise _bad(text, "names no revision: a branch, a tag or a commit")
    if wish.path and not is_repo_path(wish.path):
        raise _bad(text, "names no file of a repository")
    if wish.path and not wish.path.endswith(".gguf"):
        raise _bad(text, "names a file that is no GGUF file")
    return wish


def _bad(text: str, what: str) -> CatalogError:
    msg = (
        f"{plain_words(text)!r} {what}. A model is named like hf:owner/repo, "
        "hf:owner/repo/file.gguf, hf:owner/repo:Q4_K_M, an address, or as in `luci catalog list`."
    )
    return CatalogError(msg, code="bad_name")
