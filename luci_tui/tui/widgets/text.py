"""Small pieces of text for lists and details: safe, short, on one line."""

from __future__ import annotations

import time

from rich.cells import cell_len

from luci_tui.chat.sanitize import sanitize

BAR_WIDTH = 20
LEAST_PATH = 12
"""Cells that a path gets, however little room there is."""
_FULL, _EMPTY = "#", "-"


def one_line(text: str) -> str:
    """Make text of anybody safe for one cell of a list."""
    if text.isascii() and text.isprintable():
        return text
    return " ".join(sanitize(text).split())


def short_path(path: str, width: int) -> str:
    """Write a path in so many cells; what lies in the middle of a longer one is left out."""
    whole = one_line(path)
    n_kept = len(whole) - 1
    shown = whole
    while cell_len(shown) > max(width, LEAST_PATH) and n_kept > 1:
        n_end = n_kept - n_kept // 3  # the end says more than the beginning
        shown = f"{whole[: n_kept // 3]}…{whole[-n_end:]}"
        n_kept -= 1
    return shown


def bar(fraction: float, width: int = BAR_WIDTH) -> str:
    """Draw how much is done, e.g. "[#####---------------]  25%"."""
    share = min(1.0, max(0.0, fraction))
    # Full and 100 % are shown only when nothing is left.
    n_full = width if share >= 1 else min(width - 1, round(share * width))
    return f"[{_FULL * n_full}{_EMPTY * (width - n_full)}] {percent(share):>4}"


def percent(fraction: float) -> str:
    """Write a share, which is 100 % only when it is whole."""
    share = min(1.0, max(0.0, fraction))
    return f"{int(share * 100)}%"


def clock(at_s: float, now_s: float) -> str:
    """Write a moment: the time of day, with the date where it was not today.

    Args:
        at_s: Seconds since 1970.
        now_s: The present, likewise.
    """
    at, now = time.localtime(at_s), time.localtime(now_s)
    is_today = (at.tm_year, at.tm_yday) == (now.tm_year, now.tm_yday)
    return time.strftime("%H:%M:%S" if is_today else "%m-%d %H:%M", at)
