"""What models really took in memory when they ran, kept beside the facts of their headers."""

from __future__ import annotations

import time
from pathlib import Path

from luci_tui.library.fit import Measured
from luci_tui.library.header_cache import FactKind, HeaderCache
from luci_tui.library.records import Stamp


def note_measured(cache_file: Path, path: Path, n_ctx: int, rss_bytes: int) -> None:
    """Remember what the worker of a model had in RAM at its end; the largest figure stays.

    Args:
        cache_file: library.db.
        path: The file that was loaded; one that is gone by now is not remembered.
        n_ctx: Tokens of context of each slot.
        rss_bytes: Pages of the mapped file included.
    """
    stamp = _stamp(path)
    if stamp is None or rss_bytes <= 0:
        return
    with HeaderCache(cache_file) as cache:
        known = cache.get(FactKind.MEASURED, path, stamp)
        if known is not None and known.get("n_ctx") == n_ctx:
            rss_bytes = max(rss_bytes, int(known.get("rss_bytes", 0)))
        facts = {"n_ctx": n_ctx, "rss_bytes": rss_bytes, "at": time.time()}
        cache.put(FactKind.MEASURED, path, stamp, facts)


def read_measured(cache_file: Path | None, path: Path) -> Measured | None:
    """Give what was remembered of a file as it is now; None = it has not run, or not since."""
    stamp = _stamp(path)
    if stamp is None:
        return None
    with HeaderCache(cache_file) as cache:
        known = cache.get(FactKind.MEASURED, path, stamp)
    if known is None:
        return None
    try:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(known["at"])))
        return Measured(int(known["rss_bytes"]), int(known["n_ctx"]), when, "the worker's RAM")
    except (KeyError, TypeError, ValueError):
        return None


def _stamp(path: Path) -> Stamp | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return Stamp(facts.st_size, facts.st_mtime_ns, facts.st_ino & (2**63 - 1))
