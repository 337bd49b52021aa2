"""What a thread asks of Linux, read back with `sched_getattr`."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from luci_tui.scheduling import SLICE_US, wake_soon

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275, "riscv64": 275}.get(platform.machine(), 0)
IS_LINUX = sys.platform == "linux"
SIZE = 48

pytestmark = pytest.mark.skipif(
    not (IS_LINUX and SCHED_GETATTR), reason="a system call of Linux, whose number is not known"
)


def slice_us() -> int:
    """Give the slice of the calling thread; 0 = this Linux knows none (before 6.12)."""
    found = ctypes.create_string_buffer(SIZE)
    assert ctypes.CDLL(None).syscall(SCHED_GETATTR, 0, found, SIZE, 0) == 0
    runtime_ns: int = struct.unpack("=IIQiIQQQ", found.raw)[5]
    return runtime_ns // 1000


def test_thread_that_moves_words_gets_short_slices_and_what_it_starts_does_not() -> None:
    def ask() -> tuple[bool, int, int]:
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        is_asked = wake_soon() and wake_soon()
        with ThreadPoolExecutor(1) as started:
            inherited_us = started.submit(slice_us).result()
        assert os.getpriority(os.PRIO_PROCESS, 0) == nice
        return is_asked, slice_us(), inherited_us

    with ThreadPoolExecutor(1) as fresh:
        usual_us = fresh.submit(slice_us).result()
        is_asked, own_us, inherited_us = fresh.submit(ask).result()
    assert is_asked
    assert own_us == (SLICE_US if usual_us else 0)
    assert inherited_us == usual_us


def test_thread_with_a_policy_that_somebody_chose_keeps_it() -> None:
    def ask() -> tuple[bool, int]:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        return wake_soon(), os.sched_getscheduler(0)

    with ThreadPoolExecutor(1) as fresh:
        assert fresh.submit(ask).result() == (False, os.SCHED_BATCH)
