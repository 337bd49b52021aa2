"""Which notices of a host have been told, so that not every command says them again.

They stand in `run/told.json` beside the description of the host that they belong to: another host
begins anew. It is a convenience: where the file cannot be read or written, a notice is told again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import cast

from luci_tui.host.run_files import RunFiles, read_info

MAX_KEPT = 64
"""Notices that are remembered; there are few in the life of a host."""


def untold(files: RunFiles, notices: Iterable[str]) -> list[str]:
    """Return the notices that nobody was told since the host started; they count as told now."""
    wanted = list(dict.fromkeys(notices))
    if not wanted:
        return []
    info = read_info(files)
    host = [info.pid, info.started_at] if info else []
    told = _read(files, host)
    fresh = [notice for notice in wanted if notice not in told]
    if fresh:
        _write(files, {"host": host, "told": [*told, *fresh][-MAX_KEPT:]})
    return fresh


def _read(files: RunFiles, host: list[float]) -> list[str]:
    try:
        found = json.loads((files.folder / "told.json").read_text(encoding="utf-8"))
        is_of_this_host = host and found["host"] == host
        return [str(one) for one in cast("list[object]", found["told"])] if is_of_this_host else []
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _write(files: RunFiles, content: dict[str, object]) -> None:
    part = files.folder / f"told.json.part-{os.getpid()}"
    try:
        part.write_text(json.dumps(content) + "\n", encoding="utf-8")
        part.replace(files.folder / "told.json")
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
