"""What a hub says, once it has been checked: nothing that it sends is believed unread."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from luci_tui.errors import DownloadError

MAX_FILES = 20_000
"""Most files of one repository that are looked at."""
MAX_PATH = 400
MAX_SIZE_BYTES = 1 << 50
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,99}")


@dataclass(frozen=True)
class RepoFile:
    """One file of a repository."""

    path: str
    size_bytes: int
    sha256: str = ""
    """Of the content; empty = a small file that the hub has no sum of."""


@dataclass(frozen=True)
class RepoFacts:
    """One repository at one commit."""

    repo: str
    """As the hub calls it, which is another name than asked for where it was renamed."""
    commit: str
    """40 hexadecimal digits."""
    gated: str = ""
    """ "auto" = accepted at once, "manual" = somebody has to agree; empty = open."""
    licence: str = ""
    downloads: int = 0
    """In the last 30 days."""
    files: tuple[RepoFile, ...] = ()
    """In the order of their paths."""


@dataclass(frozen=True)
class Account:
    """Who a token belongs to."""

    name: str
    kind: str
    """ "user" or "org"."""
    token_name: str
    role: str
    """ "read", "write", "fineGrained"; empty = the hub does not say."""
    organisations: tuple[str, ...]


class _Lfs(Protocol):
    sha256: str
    size: int


class HubTreeFile(Protocol):
    """A file as huggingface_hub describes it; no field has to be what it should."""

    path: str
    size: int
    lfs: _Lfs | None


def checked_commit(value: object, repo: str) -> str:
    """Return a commit that is one.

    Raises:
        DownloadError: it is none; code "untrusted".
    """
    if not isinstance(value, str) or not _COMMIT.fullmatch(value):
        raise _untrusted(repo, "a commit that is none", value)
    return value


def checked_files(entries: Iterable[HubTreeFile], repo: str) -> tuple[RepoFile, ...]:
    """Return the files of a tree, sorted by path.

    A file with a path that no plain file could have is refused together with its repository: a
    hub that sends one is broken, or means harm.

    Raises:
        DownloadError: code "untrusted".
    """
    files = [_checked_file(entry, repo) for entry in entries]
    if len({file.path for file in files}) < len(files):
        raise _untrusted(repo, "a path twice", "")
    return tuple(sorted(files, key=lambda file: file.path))


def is_repo_name(text: str) -> bool:
    """Tell whether it has the form owner/name that the hub allows."""
    is_form = bool(_REPO.fullmatch(text)) and ".." not in text and "--" not in text
    return is_form and not text.endswith((".git", "-", "."))


def is_revision(text: str) -> bool:
    """Tell whether it may be a branch, a tag or a commit."""
    is_form = bool(_REVISION.fullmatch(text)) and ".." not in text and "//" not in text
    return is_form and not text.endswith(("/", ".", ".lock"))


def is_repo_path(text: str) -> bool:
    """Tell whether it is a plain path inside a repository."""
    parts = text.split("/")
    is_plain = text.isprintable() and len(text) <= MAX_PATH and "\\" not in text
    return is_plain and not any(part in ("", ".", "..") for part in parts)


def plain_words(value: object, limit: int = 100) -> str:
    """Return what a hub says in words, cut, on one line and without control characters."""
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value if c.isprintable())[:limit].strip()


def plain_count(value: object) -> int:
    """Return a number that is one and not below 0, else 0."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count else 0  # pyright: ignore[reportReturnType]


def _checked_file(entry: HubTreeFile, repo: str) -> RepoFile:
    path, size, sha256 = entry.path, entry.size, ""
    if not isinstance(path, str) or not is_repo_path(path):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _untrusted(repo, "a path that is none", path)
    if entry.lfs is not None:
        size, sha256 = entry.lfs.size, entry.lfs.sha256
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _untrusted(repo, f"a sha256 of {plain_words(path)} that is none", sha256)
        if size != entry.size:
            raise _untrusted(repo, f"two sizes of {plain_words(path)}", f"{size}, {entry.size}")
    is_size = isinstance(size, int) and not isinstance(size, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not is_size or not 0 <= size <= MAX_SIZE_BYTES:
        raise _untrusted(repo, f"a size of {plain_words(path)} that is none", size)
    return RepoFile(path, size, sha256)


def _untrusted(repo: str, what: str, value: object) -> DownloadError:
    shown = plain_words(str(value), 60)
    return DownloadError(
        f"The hub gives {what} for {plain_words(repo)} ({shown!r}). "
        "Nothing was fetched; try another mirror or tell the hub's operator.",
        code="untrusted",
    )
