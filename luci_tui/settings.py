"""The settings: sections and their fields, read from `config.toml` in the home folder.

All of it is optional. Profiles in the file and variables of the environment come before it, as
setting_sources.py says. A field's docstring is what `luci config show` and docs/settings.md say
about it. This module is not part of config.py because that one is imported before a screen's
first frame, and this one needs Pydantic.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from luci_tui import paths
from luci_tui.setting_sources import Reading, read_sources

SETTINGS_FILE = "config.toml"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    is_read_at_start: ClassVar[bool] = True
    """The host reads it when it starts, so that a change needs `luci host restart`."""


class HostSettings(_Section):
    """Section `[host]`: the background process."""

    idle_exit_s: float = Field(default=600, ge=0, allow_inf_nan=False)
    """Seconds without anything to do after which the host leaves; 0 = never."""
    drain_s: float = Field(default=10, ge=0, le=3600)
    """Seconds that running answers and jobs get to end when the host is asked to leave."""
    model_ttl_s: float = Field(default=300, allow_inf_nan=False)
    """Seconds after which a model that nobody uses is unloaded; 0 = at once, negative = never."""
    log_texts: bool = False
    """True = the session logs hold what users and models say, not only when and how long."""
    max_jobs: int = Field(default=8, ge=1, le=64)
    """Most jobs that run at the same time."""


class DownloadSettings(_Section):
    """Section `[downloads]`: how models are fetched."""

    max_parallel: int = Field(default=3, ge=1, le=16)
    """Most files at the same time."""
    limit_bytes_per_s: int = Field(default=0, ge=0, le=10**13)
    """Bytes per second of all files together; 0 = no limit. `luci downloads limit` sets another."""
    reserve_bytes: int = Field(default=2 * 1024**3, ge=0, le=10**15)
    """Bytes that downloads leave free on the disk."""


class CostSettings(_Section):
    """Section `[cost]`: power and prices, as far as a person knows; without them no estimate."""

    is_read_at_start = False

    watts: float | None = Field(default=None, gt=0, le=100_000, allow_inf_nan=False)
    """Power that this machine takes more while a model computes."""
    price_per_kwh: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Of electricity, in `currency`."""
    currency: str = Field(default="", max_length=8)
    """What all prices are in, those of models.toml included, e.g. "EUR"."""


class ServeLimits(_Section):
    """Section `[serve]`: how much the HTTP API takes; `luci serve` has an option for each."""

    is_read_at_start = False

    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024, le=1024**3)
    """The longest body of a request, in bytes."""
    max_connections: int = Field(default=256, ge=1, le=65536)
    """Connections at once; one more is told to come later."""
    max_running: int = Field(default=16, ge=1, le=4096)
    """Answers that run at once, over all models."""
    max_queued: int = Field(default=128, ge=0, le=65536)
    """Requests that wait, over all clients."""
    max_queued_per_client: int = Field(default=64, ge=0, le=65536)
    """Requests of one client that wait."""

    header_timeout_s: float = Field(default=10.0, gt=0, le=86400)
    """Seconds from a request's first byte, or the connection, to the end of its headers."""
    body_timeout_s: float = Field(default=30.0, gt=0, le=86400)
    """Seconds from the end of the headers to the end of the body."""
    queue_timeout_s: float = Field(default=300.0, gt=0, le=86400)
    """Seconds that a request waits for its turn."""
    write_timeout_s: float = Field(default=60.0, gt=0, le=86400)
    """Seconds that a client may leave what it was sent unread."""
    keep_alive_s: float = Field(default=30.0, ge=1, le=86400)
    """Seconds that an idle connection stays open."""


class ScreenSettings(_Section):
    """Section `[screen]`: how the full-screen app looks."""

    is_read_at_start = False

    theme: str = Field(default="", max_length=64)
    """A theme of the screen, such as "nord", or "ansi-dark" for the terminal's own colours;
    empty = the usual one. Ctrl-P lists them."""
    low_bandwidth: bool | None = None
    """True = fewer redraws; not set = where luci runs at the far end of an SSH connection."""
    history: bool = True
    """Whether earlier prompts are kept in history.jsonl; false = they are forgotten when luci is
    left."""
    bell: bool = True
    """Whether the terminal's bell rings when long work ends while nobody looks."""


class KeySettings(_Section):
    """Section `[keys]`: other keys for the screen, as `"jobs.cancel" = "f8"`; F1 shows the ids."""

    model_config = ConfigDict(frozen=True, extra="allow")

    is_read_at_start = False

    # The annotation is how Pydantic is told what the values of unnamed fields are.
    __pydantic_extra__: dict[str, str] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]


class LibrarySettings(_Section):
    """Section `[library]`: where models are looked for."""

    folders: tuple[str, ...] = Field(default=(), max_length=64)
    """Further folders of a person's own model files; `~` is the home folder. Commands look there at
    once, a host watches those that it knew when it started."""
    finds_others: bool = True
    """Whether the stores of other programs are looked at: Hugging Face, Ollama, LM Studio."""


class Settings(BaseModel):
    """Everything that the settings file may hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: HostSettings = HostSettings()
    downloads: DownloadSettings = DownloadSettings()
    cost: CostSettings = CostSettings()
    serve: ServeLimits = ServeLimits()
    screen: ScreenSettings = ScreenSettings()
    keys: KeySettings = KeySettings()
    library: LibrarySettings = LibrarySettings()


def read_settings(
    home: Path, environment: Mapping[str, str] | None = None, *, text: str | None = None
) -> Reading[Settings]:
    """Read what can be used of the settings of a home folder, and say what cannot.

    Args:
        home: Where the file lies; one that is not there leaves every default.
        environment: None = that of this process.
        text: What counts as the content of the file; None = what it holds.
    """
    if environment is None:
        environment = paths.setting_variables()
    return read_sources(Settings, home / SETTINGS_FILE, environment, text)


def load_settings(home: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of a home folder, all of which must be usable; see `read_settings`.

    Raises:
        ConfigError: the file or the environment holds something that cannot be used; the message
            names the line or the variable.
    """
    return read_settings(home, environment).usable()
