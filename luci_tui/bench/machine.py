"""What computes here, in a few words that stand beside figures."""

from __future__ import annotations

import os
import platform
import re
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@cache
def machine_words() -> str:
    """Name the processor and how many CPUs this process sees."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{' '.join(name.split())}, {os.cpu_count() or 1} CPUs"
