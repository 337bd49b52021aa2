"""The settings file: `config.toml` in the home folder, all of it optional.

It is not part of config.py because that one is imported before a screen's first frame, and this
one needs Pydantic.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from luci_tui.errors import ConfigError

SETTINGS_FILE = "config.toml"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HostSettings(_Section):
    """Section `[host]`: the background process."""

    idle_exit_s: float = Field(default=600, ge=0)
    """The host leaves after so long without anything to do; 0 = never."""
    drain_s: float = Field(default=10, ge=0, le=3600)
    """Running answers and jobs get so long to end when the host is asked to leave."""
    model_ttl_s: float = 300
    """A model that nobody uses is unloaded after so long; 0 = at once, negative = never."""
    log_texts: bool = False
    """True = the session logs hold what users and models say, not only when and how long."""
    max_jobs: int = Field(default=8, ge=1, le=64)
    """Most jobs that run at the same time."""


class DownloadSettings(_Section):
    """Section `[downloads]`: how models are fetched."""

    max_parallel: int = Field(default=3, ge=1, le=16)
    """Most files at the same time."""
    limit_bytes_per_s: int = Field(default=0, ge=0, le=10**13)
    """Of all files together; 0 = none. `luci downloads limit` sets another one."""
    reserve_bytes: int = Field(default=2 * 1024**3, ge=0, le=10**15)
    """What downloads leave free on the disk."""


class CostSettings(_Section):
    """Section `[cost]`: what a person knows about power and prices; None = no estimate is made."""

    watts: float | None = Field(default=None, gt=0, le=100_000, allow_inf_nan=False)
    """Power that this machine takes more while a model computes."""
    price_per_kwh: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    currency: str = Field(default="", max_length=8)
    """What all prices are in, those of models.toml included, e.g. "EUR"."""


class ServeLimits(_Section):
    """Section `[serve]`: how much the HTTP API takes; `luci serve` has an option for each."""

    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024, le=1024**3)
    """The longest body of a request."""
    max_connections: int = Field(default=256, ge=1, le=65536)
    """Connections at once; one more is told to come later."""
    max_running: int = Field(default=16, ge=1, le=4096)
    """Answers that run at once, over all models."""
    max_queued: int = Field(default=128, ge=0, le=65536)
    """Requests that wait, over all clients."""
    max_queued_per_client: int = Field(default=64, ge=0, le=65536)
    """Of one client."""

    header_timeout_s: float = Field(default=10.0, gt=0, le=86400)
    """From the first byte of a request, or from the connection, to the end of its headers."""
    body_timeout_s: float = Field(default=30.0, gt=0, le=86400)
    """From the end of the headers to the end of the body."""
    queue_timeout_s: float = Field(default=300.0, gt=0, le=86400)
    """How long a request waits for its turn."""
    write_timeout_s: float = Field(default=60.0, gt=0, le=86400)
    """How long a client may leave what it was sent unread."""
    keep_alive_s: float = Field(default=30.0, ge=1, le=86400)
    """How long an idle connection stays open."""


class ScreenSettings(_Section):
    """Section `[screen]`: how the full-screen app looks; tui/preferences.py reads it, too."""

    theme: str = Field(default="", max_length=64)
    """A theme of the screen, such as "nord", or "ansi-dark" for the terminal's own colours;
    empty = the usual one. Ctrl-P lists them."""
    low_bandwidth: bool | None = None
    """True = fewer redraws; not set = where luci runs at the far end of an SSH connection."""


class KeySettings(_Section):
    """Section `[keys]`: other keys for the screen, such as `"jobs.cancel" = "k,delete"`.

    The names are the ids of actions, which F1 shows; tui/keymap.py knows them.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    # The annotation is how Pydantic is told what the values of unnamed fields are.
    __pydantic_extra__: dict[str, str] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]


class LibrarySettings(_Section):
    """Section `[library]`: where models are looked for."""

    folders: tuple[str, ...] = Field(default=(), max_length=64)
    """Further folders of a person's own model files; `~` is the home folder."""
    finds_others: bool = True
    """Whether the stores of other programs are looked at: Hugging Face, Ollama, LM Studio."""


class Settings(_Section):
    """Everything that the settings file may hold."""

    host: HostSettings = HostSettings()
    downloads: DownloadSettings = DownloadSettings()
    cost: CostSettings = CostSettings()
    serve: ServeLimits = ServeLimits()
    screen: ScreenSettings = ScreenSettings()
    keys: KeySettings = KeySettings()
    library: LibrarySettings = LibrarySettings()


def load_settings(home: Path) -> Settings:
    """Read the settings of a home folder; a file that is not there leaves every default.

    Raises:
        ConfigError: the file cannot be read or holds something that cannot be used; the message
            names the line.
    """
    path = home / SETTINGS_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as text ({error}). Correct it or take it away."
        raise ConfigError(msg, code="settings") from error
    try:
        return Settings.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        msg = f"{path} is no valid TOML: {error}. Correct that line."
        raise ConfigError(msg, code="settings") from error
    except ValidationError as error:
        msg = f"{path}{_complaint(error.errors()[0], text)}"
        raise ConfigError(msg, code="settings") from error


def _complaint(detail: ErrorDetails, text: str) -> str:
    """Say where the first bad setting stands and what is wrong with it."""
    names = [str(part) for part in detail["loc"]]
    dotted = ".".join(names)
    where = f", line {_line_of(names, text)}"
    if detail["type"] == "extra_forbidden":
        return f"{where}: there is no setting {dotted}. Take the line out or correct the name."
    value = repr(detail["input"])[:80]
    return f"{where}: {dotted} cannot be {value} ({detail['msg'].lower()}). Correct the value."


def _line_of(names: list[str], text: str) -> int:
    """Find the line of a setting: that of its key, else that of its section, else the first."""
    found, section = 1, list[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        heading = re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line)
        if heading:
            section = heading[1].split(".")
            if names[: len(section)] == section:
                found = number
            continue
        key = re.match(r"\s*[\"']?([A-Za-z0-9_.-]+)[\"']?\s*=", line)
        path = [*section, *key[1].split(".")] if key else []
        if path and names[: len(path)] == path:
            return number
    return found
