"""What the environment says about the terminal and the hub, and secrets that it holds.

paths.py reads the rest of the environment.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

PUBLIC_HUB = "https://huggingface.co"
_QUIET_HUB_LIBRARY = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_XET_TELEMETRY_ENABLED": "0",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_XET": "1",
}
"""With telemetry off the library does not ask the hub for its list of agent harnesses either."""


_EDITORS = ("sensible-editor", "nano", "vi")
"""Tried where nobody says which one."""


@dataclass(frozen=True)
class TerminalFacts:
    """What is known about the terminal that this process talks to."""

    is_terminal: bool
    """Both standard input and standard output are terminals."""
    term: str
    """`$TERM`; empty = not set."""
    is_ssh: bool
    """The shell runs at the far end of an SSH connection."""
    multiplexer: str
    """"tmux" or "screen", if the shell runs inside one; else empty."""
    has_true_color: bool
    """`$COLORTERM` promises 24-bit colour."""
    no_color: bool
    """`$NO_COLOR` is set and not empty: colours are unwanted. Source: https://no-color.org"""
    is_web: bool = False
    """The screen is drawn for a browser, see `tui/web.py`."""

    @property
    def has_title(self) -> bool:
        """Whether it has a title, as far as its name says; a console shows the sequence as text."""
        return self.term not in ("", "dumb", "linux", "unknown")


@dataclass(frozen=True)
class HubEnvironment:
    """What the environment says about the hub, under the names that its own library uses."""

    endpoint: str = PUBLIC_HUB
    """`$HF_ENDPOINT` without a slash at the end."""
    token: str = field(default="", repr=False)
    """Empty = not in the environment."""
    token_variable: str = ""
    """Where `token` is from."""
    token_file: Path = Path()
    """Where a login is stored; it may not exist."""
    is_offline: bool = False
    """`$HF_HUB_OFFLINE`: no request is to be made."""


def hub_environment() -> HubEnvironment:
    """Read what is said about the hub, each time anew."""
    env = os.environ
    variables = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
    variable = next((name for name in variables if env.get(name, "").strip()), "")
    cache = Path(env.get("XDG_CACHE_HOME") or "~/.cache")
    home = _path(env.get("HF_HOME") or str(cache / "huggingface"))
    offline = env.get("HF_HUB_OFFLINE") or env.get("TRANSFORMERS_OFFLINE") or ""
    return HubEnvironment(
        endpoint=(env.get("HF_ENDPOINT", "").strip() or PUBLIC_HUB).rstrip("/"),
        token=env.get(variable, "").strip(),
        token_variable=variable,
        token_file=_path(env.get("HF_TOKEN_PATH") or str(home / "token")),
        is_offline=offline.upper() in ("1", "ON", "YES", "TRUE"),
    )


def quiet_hub_library() -> None:
    """Tell huggingface_hub, before it is imported, to make no request that nobody asked for.

    It prints no progress of its own either, and large files go over plain HTTP.
    """
    os.environ.update(_QUIET_HUB_LIBRARY)


def certificates() -> str:
    """Return the file or folder of certificates that servers are checked against; "" = none said.

    The names are those that OpenSSL, requests and curl go by; the first one that is set counts.
    """
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    return next((found for name in names if (found := os.environ.get(name, "").strip())), "")


def terminal_facts() -> TerminalFacts:
    """Read the facts from the environment and the standard streams."""
    env = os.environ
    return TerminalFacts(
        is_terminal=_is_terminal(sys.stdin) and _is_terminal(sys.stdout),
        term=env.get("TERM", ""),
        is_ssh=bool(env.get("SSH_CONNECTION") or env.get("SSH_TTY")),
        multiplexer=_multiplexer(env.get("TMUX", ""), env.get("STY", ""), env.get("TERM", "")),
        has_true_color=env.get("COLORTERM", "").lower() in {"truecolor", "24bit"},
        no_color=bool(env.get("NO_COLOR")),
        is_web="WebDriver" in env.get("TEXTUAL_DRIVER", ""),
    )


def _multiplexer(tmux: str, sty: str, term: str) -> str:
    """Name what the shell runs in; TERM crosses an SSH connection, the other variables do not."""
    if tmux or term.startswith("tmux"):
        return "tmux"
    return "screen" if sty else ""


def environment_secret(name: str) -> str:
    """Return the secret that a setting says is in the environment variable `name`; "" = not set."""
    return os.environ.get(name, "").strip()


def editor_command() -> list[str]:
    """Return the editor that a person likes, with its options; empty = there is none."""
    for name in ("VISUAL", "EDITOR"):
        command = os.environ.get(name, "").strip()
        try:
            words = shlex.split(command)
        except ValueError:  # a quotation mark alone: the path of a program may have one
            words = [command]
        if words:
            return words
    return [found] if (found := next(filter(None, map(shutil.which, _EDITORS)), None)) else []


def _path(text: str) -> Path:
    return Path(os.path.expandvars(text)).expanduser()


def _is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(isatty is not None and isatty())
