"""The key of an endpoint: from a file that only its owner can read, or from the environment."""

from __future__ import annotations

import stat
from pathlib import Path

from luci_tui import config
from luci_tui.errors import ModelLoadError
from luci_tui.manager.entries import Endpoint

MAX_KEY_BYTES = 4096


def read_key(endpoint: Endpoint) -> str:
    """Read the key of an endpoint; "" = it needs none. Blocks.

    Raises:
        ModelLoadError: it is not where it should be, or others can read it; code "api_key".
    """
    if endpoint.api_key_env:
        key = config.environment_secret(endpoint.api_key_env)
        what = f"The environment variable {endpoint.api_key_env}"
    elif endpoint.api_key_file:
        key = _key_file(Path(endpoint.api_key_file))
        what = f"The key file {endpoint.api_key_file}"
    else:
        return ""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ModelLoadError(
            f"{what} for {endpoint.base_url} has no key in it, or more than one. "
            "It must hold the key and nothing else.",
            code="api_key",
        )
    return key


def _key_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            text = file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise ModelLoadError(
            f"The key file {path} cannot be read ({error.strerror}). Check its path and its owner.",
            code="api_key",
        ) from error
    if mode & 0o077:
        raise ModelLoadError(
            f"The key file {path} can be read by others (mode {mode:04o}). Run `chmod 600 {path}`.",
            code="api_key",
        )
    return text.decode("utf-8", errors="replace").strip()
