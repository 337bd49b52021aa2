from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from luci_tui.host.heap import keep_heap_compact

def private_kb():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))

if sys.argv[1] == "compact":
    assert keep_heap_compact()
# What large buffers do in a long life: the first one that is freed raises glibc's threshold.
del [b"x" * 1_000_000][0]
large, kept = [], []
for number in range(400):
    large.append(b"x" * (40_000 + number))
    kept.append(bytearray(1000))
before = private_kb()
large.clear()
print(before - private_kb())
"""


def given_back_kb(how: str) -> int:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, how],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_heap_kept_compact_then_large_buffers_leave_no_holes() -> None:
    as_it_is, compact = given_back_kb("as it is"), given_back_kb("compact")
    assert compact > 12_000 > as_it_is
