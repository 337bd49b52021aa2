"""The token for the hub: where it is found, kept and removed. It is never printed or logged."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from luci_tui.config import HubEnvironment
from luci_tui.errors import ConfigError

MAX_TOKEN_BYTES = 4096
_TOKEN = re.compile(r"[\x21-\x7e]{8,4096}")


@dataclass(frozen=True)
class HubToken:
    """A token and where it is from."""

    secret: str = field(repr=False)
    source: str
    """As a person would look for it: "HF_TOKEN in the environment", or a file."""
    is_from_environment: bool


def find_token(environment: HubEnvironment) -> HubToken | None:
    """Return the token in use: of the environment, else of the login; None = there is none.

    Raises:
        ConfigError: there is one that cannot be read, or that is none.
    """
    if environment.token:
        source = f"{environment.token_variable} in the environment"
        return HubToken(checked_token(environment.token, source), source, True)
    try:
        with environment.token_file.open("rb") as file:
            data = file.read(MAX_TOKEN_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        msg = (
            f"The token in {environment.token_file} cannot be read ({error.strerror}). "
            "Correct its permissions, or run `luci login`."
        )
        raise ConfigError(msg) from error
    text = data.decode("utf-8", "replace").strip()
    if not text:
        return None
    source = str(environment.token_file)
    return HubToken(checked_token(text, source), source, False)


def checked_token(text: str, source: str) -> str:
    """Return a token that may stand in a header.

    Raises:
        ConfigError: it may not; the message does not contain it.
    """
    if not _TOKEN.fullmatch(text):
        msg = (
            f"{source[:1].upper()}{source[1:]} is no token: it needs 8 characters or more, without "
            "spaces. Make one at the hub's settings page and run `luci login`."
        )
        raise ConfigError(msg)
    return text


def store_token(environment: HubEnvironment, secret: str) -> Path:
    """Keep a token where huggingface_hub keeps it, readable by its owner alone.

    Raises:
        ConfigError: it cannot be written; an old one stays.
    """
    path = environment.token_file
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_private(path.parent)
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        msg = (
            f"The token cannot be stored in {path} ({error.strerror}). Correct the folder's "
            "permissions, or set HF_TOKEN in the environment."
        )
        raise ConfigError(msg) from error
    return path


def remove_token(environment: HubEnvironment) -> bool:
    """Remove the stored token; False = there was none.

    Raises:
        ConfigError: it cannot be removed.
    """
    try:
        environment.token_file.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        msg = (
            f"{environment.token_file} cannot be removed ({error.strerror}). "
            "Correct the folder's permissions."
        )
        raise ConfigError(msg) from error
    return True


def may_expire(environment: HubEnvironment) -> bool:
    """Tell whether a login through the browser keeps tokens here that its library renews."""
    try:
        with environment.token_file.with_name("stored_tokens").open("rb") as file:
            return b"refresh_token" in file.read(1 << 20)
    except OSError:
        return False


def _make_private(folder: Path) -> None:
    """Shut others out of a folder of one's own; another's is left as it is."""
    if folder.stat().st_uid == os.getuid():
        folder.chmod(0o700)
