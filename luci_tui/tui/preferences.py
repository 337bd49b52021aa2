"""What config.toml says about the screen, read before the first frame.

settings.py reads and checks the same file as a whole, but it needs Pydantic, which takes longer
than a first frame may. Here every value that cannot be used is left at its default without a word;
the chat says the word once the screen stands.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from luci_tui import paths

SETTINGS_FILE = "config.toml"
_TRUTHS = {"true": True, "false": False}
"""As TOML writes them."""


@dataclass(frozen=True)
class Preferences:
    """How a person wants the screen."""

    theme: str = ""
    """Of Textual; empty = its default."""
    low_bandwidth: bool | None = None
    """None = where the shell runs at the far end of an SSH connection."""
    keys: Mapping[str, str] = field(default_factory=dict[str, str])
    """Other keys, by the id of the action."""
    keeps_history: bool = True
    """Earlier prompts are kept in a file."""
    bell: bool = True
    """Whether the bell rings when long work ends while nobody looks."""


def read_preferences(home: Path, environment: Mapping[str, str] | None = None) -> Preferences:
    """Read `[screen]` and `[keys]`: the file, over it the profile, over it the environment.

    Args:
        home: Where the file lies; what cannot be used of it is left at its default.
        environment: None = that of this process.
    """
    variables = paths.setting_variables() if environment is None else environment
    try:
        document = tomllib.loads((home / SETTINGS_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        document = {}
    profile = _table(_table(document, "profile"), variables.get("LUCI_PROFILE", "").strip())
    screen = _table(document, "screen") | _table(profile, "screen")
    keys = _table(document, "keys") | _table(profile, "keys")
    theme, low_bandwidth = screen.get("theme"), screen.get("low_bandwidth")
    theme = variables.get("LUCI_SCREEN_THEME", "").strip() or theme
    bell = _TRUTHS.get(variables.get("LUCI_SCREEN_BELL", ""), screen.get("bell"))
    low_bandwidth = _TRUTHS.get(variables.get("LUCI_SCREEN_LOW_BANDWIDTH", ""), low_bandwidth)
    history = _TRUTHS.get(variables.get("LUCI_SCREEN_HISTORY", ""), screen.get("history"))
    return Preferences(
        theme=theme if isinstance(theme, str) else "",
        low_bandwidth=low_bandwidth if isinstance(low_bandwidth, bool) else None,
        keeps_history=history is not False,
        bell=bell if isinstance(bell, bool) else True,
        keys={name: key for name, key in keys.items() if isinstance(key, str)},
    )


def _table(document: Mapping[str, object], name: str) -> dict[str, object]:
    found = document.get(name)
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}
