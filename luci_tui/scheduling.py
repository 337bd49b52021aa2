"""How soon Linux gives a thread that wakes up a processor."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import sys
from typing import Final

SLICE_US: Final = 100
"""The least that Linux takes. It sorts waiting threads by when their slices would end."""

_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
"""Number of the system call; glibc has no function for it before 2.41."""
_RESET_ON_FORK: Final = 1
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
"""size, policy, flags, nice, priority, runtime (ns), deadline, period: `struct sched_attr`."""


def wake_soon() -> bool:
    """Let the calling thread run soon after it wakes up, though others compute on all processors.

    It gets no larger share of them: its turns come sooner and are shorter. That suits a thread that
    moves words between a model and its readers. Threads and processes that it starts do not
    inherit it.

    Returns:
        Whether it was asked for. Linux before 6.12 takes the request and does nothing about it.

    Source: https://man7.org/linux/man-pages/man2/sched_setattr.2.html, and for the slice
    "sched/eevdf: Use sched_attr::sched_runtime to set request/slice suggestion" in Linux 6.12.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return False
    with contextlib.suppress(OSError):
        policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
        if policy != os.SCHED_OTHER:
            return False  # somebody has chosen another one for luci
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        wanted = _ATTRIBUTES.pack(
            _ATTRIBUTES.size, policy, _RESET_ON_FORK, nice, 0, SLICE_US * 1000, 0, 0
        )
        return ctypes.CDLL(None).syscall(number, 0, wanted, 0) == 0
    return False
