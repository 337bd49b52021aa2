"""What config.toml says about the screen, read before the first frame.

settings.py reads and checks the same file as a whole, but it needs Pydantic, which takes longer
than a first frame may. Here every value that cannot be used is left at its default without a word;
`check` says the word once the screen stands.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

SETTINGS_FILE = "config.toml"


@dataclass(frozen=True)
class Preferences:
    """How a person wants the screen."""

    theme: str = ""
    """Of Textual; empty = its default."""
    low_bandwidth: bool | None = None
    """None = where the shell runs at the far end of an SSH connection."""
    keys: Mapping[str, str] = field(default_factory=dict[str, str])
    """Other keys, by the id of the action."""


def read_preferences(home: Path) -> Preferences:
    """Read `[screen]` and `[keys]`; what is not there or cannot be used is left at its default."""
    try:
        document = tomllib.loads((home / SETTINGS_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return Preferences()
    screen, keys = _table(document, "screen"), _table(document, "keys")
    theme, low_bandwidth = screen.get("theme"), screen.get("low_bandwidth")
    return Preferences(
        theme=theme if isinstance(theme, str) else "",
        low_bandwidth=low_bandwidth if isinstance(low_bandwidth, bool) else None,
        keys={name: key for name, key in keys.items() if isinstance(key, str)},
    )


def check(home: Path) -> str:
    """Say what is wrong with the settings as a whole; empty = nothing. Slow: for a thread."""
    from luci_tui.errors import ConfigError
    from luci_tui.settings import load_settings

    try:
        load_settings(home)
    except ConfigError as error:
        return f"{error.message} Until then luci runs with what can be read."
    return ""


def _table(document: Mapping[str, object], name: str) -> dict[str, object]:
    found = document.get(name)
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}
