"""Numbers as people read and write them: bytes, durations, rates, counts."""

from __future__ import annotations

import re

from luci_tui.errors import ConfigError

_BINARY_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([kmg]?i?)b?(?:/s)?", re.IGNORECASE)


def format_bytes(size_bytes: int) -> str:
    """Write a size in binary units with three significant digits, e.g. "7.62 GiB"."""
    if size_bytes < 0:
        return "-" + format_bytes(-size_bytes)
    if size_bytes < 1024:
        return f"{size_bytes} B"
    value = size_bytes / 1024
    n_steps = 0
    # 1000 and more would be shown with four digits, which the next unit shows better.
    while value >= 999.5 and n_steps < len(_BINARY_UNITS) - 1:
        value /= 1024
        n_steps += 1
    return f"{_three_digits(value)} {_BINARY_UNITS[n_steps]}"


def format_duration(seconds: float) -> str:
    """Write a duration in the unit that fits, e.g. "85 ms", "2.4 s", "3 min 05 s", "2 h 07 min"."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms" if seconds < 0.00995 else f"{seconds * 1000:.0f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_rate(tokens_per_s: float) -> str:
    """Write a rate in tokens per second, e.g. "61.3 tok/s"."""
    return f"{_three_digits(tokens_per_s)} tok/s"


def format_count(value: int, noun: str) -> str:
    """Write a count with its noun, e.g. "1 token", "12 tokens"."""
    return f"{value} {noun}" if value == 1 else f"{value} {noun}s"


def format_parameters(n_params: int) -> str:
    """Write the size of a model as model names do, e.g. "5.64M", "1.1B", "70.6B"."""
    for step, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if n_params >= step:
            return f"{n_params / step:.3g}{letter}"
    return str(n_params)


def parse_rate(text: str) -> int | None:
    """Read bytes per second as a person writes them; 0 = no limit, None = as the settings say.

    Raises:
        ConfigError: it cannot be understood.
    """
    if text.lower() == "default":
        return None
    if text.lower() in ("none", "off"):
        return 0
    match = _RATE.fullmatch(text.strip())
    unit = match[2].lower() if match else "?"
    if match is None or unit not in _UNITS:
        msg = f'{text[:40]!r} is no rate: write 5MB, 800k or 1.5MiB, "none" or "default".'
        raise ConfigError(msg)
    return round(float(match[1]) * _UNITS[unit])


def _three_digits(value: float) -> str:
    if value < 9.995:
        return f"{value:.2f}"
    if value < 99.95:
        return f"{value:.1f}"
    return f"{value:.0f}"
