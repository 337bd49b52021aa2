"""The systemd user unit of the host."""

from __future__ import annotations

import sys
from pathlib import Path

from luci_tui import paths

UNIT_NAME = "luci-host.service"


def unit_path() -> Path:
    """Return where a user's own units lie."""
    return paths.user_config_folder() / "systemd" / "user" / UNIT_NAME


def unit_text(home: Path, profile: str = "") -> str:
    """Return a unit that runs the host of a home folder until logout; "" = no profile of settings.

    The host leaves without being restarted when another one has the lock (75), and is given the
    time that it needs to drain. Source: systemd.service(5), systemd.syntax(7) for the quoting.
    """
    variables = [f"LUCI_HOME={home.absolute()}", *([f"LUCI_PROFILE={profile}"] if profile else [])]
    return f"""\
[Unit]
Description=luci host: local models, chats and jobs

[Service]
Type=exec
Environment={" ".join(_quoted(one) for one in variables)}
ExecStart={_quoted(sys.executable).replace("$", "$$")} -P -m luci_tui.host.process --idle-exit-s 0
Restart=on-failure
RestartPreventExitStatus=75
SuccessExitStatus=75
KillMode=mixed
TimeoutStopSec=60
UMask=0077

[Install]
WantedBy=default.target
"""


def _quoted(text: str) -> str:
    """Put a value in quotes: backslash, quote and percent mean something to systemd there."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
