"""API keys: a file that only its owner reads, and a comparison that takes as long for any guess."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from luci_tui import paths
from luci_tui.errors import ConfigError

MIN_KEY_CHARACTERS = 16
MAX_FILE_BYTES = 64 * 1024
_KEY_BYTES = 32


def key_file() -> Path:
    """Return where the keys lie; the file may not exist yet."""
    return paths.api_key_file()


class KeyRing:
    """The keys that a request may show. Only their hashes are kept.

    Args:
        keys: The keys; none = every key is refused.
    """

    def __init__(self, keys: tuple[str, ...] = ()) -> None:
        self._digests = tuple(_digest(key.encode()) for key in keys)

    def __len__(self) -> int:
        return len(self._digests)

    def client_of(self, key: bytes) -> str | None:
        """Return a name for who shows this key, or None if it is not one of them."""
        shown = _digest(key)
        found = None
        # All are compared, each in constant time, so that the time says nothing about a guess.
        for digest in self._digests:
            if hmac.compare_digest(shown, digest):
                found = digest.hex()[:16]
        return found


def load_keys(path: Path) -> tuple[str, ...]:
    """Return the keys in the file, one a line; make the file with a random key if there is none.

    Raises:
        ConfigError: others may read the file, or it holds no usable key.
    """
    if not os.path.lexists(path):
        _create(path)
    return read_keys(path)


def read_keys(path: Path) -> tuple[str, ...]:
    """Return the keys in a file that is there.

    Raises:
        ConfigError: others may read the file, or it holds no usable key.
    """
    keys = tuple(line.strip() for line in _read(path).splitlines() if line.strip())
    short = [number for number, key in enumerate(keys, 1) if len(key) < MIN_KEY_CHARACTERS]
    if not keys or short:
        where = f"key {short[0]} has fewer than {MIN_KEY_CHARACTERS} characters" if short else ""
        msg = f"{path} cannot be used: {where or 'it holds no key'}. Delete it for a random key."
        raise ConfigError(msg, code="bad_key_file")
    return keys


def _create(path: Path) -> None:
    """Write a random key under a name of its own first, so that no one ever reads half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(fd, 0o600)
            os.write(fd, f"luci-{secrets.token_urlsafe(_KEY_BYTES)}\n".encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            # Unlike a rename, a link never replaces what another process has just made.
            os.link(part, path)
        except FileExistsError:
            return
    except OSError as error:
        msg = (
            f"The API key cannot be written to {path}: {error.strerror}. Make the folder writable."
        )
        raise ConfigError(msg, code="bad_key_file") from error
    finally:
        part.unlink(missing_ok=True)


def _read(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        msg = f"The API key file {path} cannot be read: {error.strerror}. Delete it for a new one."
        raise ConfigError(msg, code="bad_key_file") from error
    try:
        _require_private(path, os.fstat(fd))
        return os.read(fd, MAX_FILE_BYTES).decode("ascii")
    except UnicodeDecodeError as error:
        msg = f"The API key file {path} is not plain ASCII text. Delete it for a new one."
        raise ConfigError(msg, code="bad_key_file") from error
    finally:
        os.close(fd)


def _require_private(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        problem, remedy = "is no regular file", "Delete it for a new one"
    elif found.st_uid != os.geteuid():
        problem, remedy = f"belongs to user {found.st_uid}", "Delete it for a new one"
    elif mode & 0o077:
        problem, remedy = f"has mode {mode:04o}, so others may use it", f"Run chmod 600 {path}"
    else:
        return
    raise ConfigError(f"The API key file {path} {problem}. {remedy}.", code="bad_key_file")


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
