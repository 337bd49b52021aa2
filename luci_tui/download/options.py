"""How patient a download is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from luci_tui.download.pace import Backoff, Limiter


@dataclass(frozen=True)
class MoveOptions:
    """How patient a download is."""

    stall_s: float = 30.0
    """Without a byte for so long, the connection is given up."""
    connect_s: float = 15.0
    max_attempts: int = 8
    """In a row without a byte."""
    max_restarts: int = 3
    """From the beginning, because the server gave something else than asked for."""
    limiter: Limiter = field(default_factory=Limiter)
    check: Callable[[Path], None] | None = None
    """Looks at the complete file before it gets its name; raises DownloadError."""
    new_backoff: Callable[[], Backoff] = Backoff
