"""When a screen was looked at last, so that the next one can say what has ended since."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from luci_tui import paths


class Seen:
    """The moment of the last look, in a small file.

    It is a convenience: where it cannot be read or written, nothing is told, or something twice.

    Args:
        home: Home folder of luci; None = nothing is kept.
    """

    def __init__(self, home: Path | None) -> None:
        self._path = None if home is None else paths.seen_file(home)

    def read(self) -> float | None:
        """Return the last look in seconds since 1970; None = there was none, or nobody knows."""
        if self._path is None:
            return None
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return float(found["seen_at"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    @property
    def is_first(self) -> bool:
        """No screen was ever opened on this home folder."""
        return self._path is not None and not self._path.exists()

    def mark(self, now_s: float) -> None:
        """Somebody has seen everything up to now."""
        if self._path is None:
            return
        part = self._path.with_name(f"{self._path.name}.part-{os.getpid()}")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.write_text(json.dumps({"seen_at": now_s}) + "\n", encoding="utf-8")
            part.chmod(0o600)
            part.replace(self._path)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
