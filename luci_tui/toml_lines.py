"""On which line of a TOML file a value is set; the standard library's parser tells no lines."""

from __future__ import annotations

import tomllib

from pydantic import JsonValue

Place = tuple[str | int, ...]
"""Keys and indices that lead to a value."""


def line_of(text: str, place: Place) -> int:
    """Find the line on which the statement begins that sets the value at `place`, or its parent."""
    return lines_of(text, place)[0]


def lines_of(text: str, place: Place) -> tuple[int, int]:
    """Find the first and the last line of that statement, counted from 1.

    What the beginning of a file says can be asked of the parser: the statement ends with the first
    beginning that has the value.
    """
    # Not splitlines(): TOML knows no other ends of lines, and a comment may hold the others.
    lines = [f"{line}\n" for line in text.split("\n")]

    def parsed_until(n_lines: int) -> tuple[int, dict[str, JsonValue]]:
        """Give the longest beginning of at most `n_lines` lines that can be read by itself."""
        while n_lines > 0:
            try:
                return n_lines, tomllib.loads("".join(lines[:n_lines]))
            except tomllib.TOMLDecodeError:
                n_lines -= 1
        return 0, {}

    whole = parsed_until(len(lines))[1]
    while len(place) > 1 and not has_value(whole, place):
        place = place[:-1]
    low, high = 0, len(lines)  # without it, with it
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if has_value(parsed_until(middle)[1], place) else (middle, high)
    start = parsed_until(high - 1)[0]
    while start < high - 1 and not lines[start].split("#")[0].strip():
        start += 1
    return start + 1, high


def has_value(data: JsonValue, place: Place) -> bool:
    """Say whether there is a value at `place`."""
    value = data
    for part in place:
        match value, part:
            case dict(), str() if part in value:
                value = value[part]
            case list(), int() if part < len(value):
                value = value[part]
            case _:
                return False
    return True
