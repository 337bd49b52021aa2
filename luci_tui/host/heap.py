"""The C heap of a process that lives for days: what is free goes back to the system."""

from __future__ import annotations

import ctypes
from typing import Final

LARGE_BYTES: Final = 32 * 1024
"""A buffer of this size or more gets pages of its own, which are gone when it is freed."""
MAX_ARENAS: Final = 2
"""Heaps for threads. glibc would make eight for each processor, each with room to spare."""
TRIM_BYTES: Final = 128 * 1024
"""Free memory at the end of a heap beyond this is given back."""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def keep_heap_compact() -> bool:
    """Keep buffers that come and go from leaving holes in the heap; False = this is no glibc.

    By itself glibc raises the size from which a buffer gets pages of its own with each larger one
    that is freed. From then on the buffers of sockets and pipes lie between what stays, and a host
    with much to do grows by megabytes an hour although nothing is kept.

    Source: https://man7.org/linux/man-pages/man3/mallopt.3.html and malloc.h for the numbers.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    values = (
        (_M_MMAP_THRESHOLD, LARGE_BYTES),
        (_M_ARENA_MAX, MAX_ARENAS),
        (_M_TRIM_THRESHOLD, TRIM_BYTES),
    )
    return all(mallopt(name, value) == 1 for name, value in values)
