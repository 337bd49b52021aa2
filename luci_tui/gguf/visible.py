"""Show text of a file to a person, with everything escaped that a terminal would act on."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories of controls, format characters (all bidi marks among them), surrogates,
private use, and line separators."""


def visible(text: str, max_chars: int = 0, *, keep_lines: bool = False) -> str:
    """Escape control, bidi and other characters that nobody can see.

    Args:
        text: Anything that a file may say.
        max_chars: Longer text is cut, and says how much is missing; 0 = never.
        keep_lines: Leave line feeds and tabs as they are.
    """
    shown = text if not max_chars else text[:max_chars]
    if not shown.isascii() or not shown.isprintable():
        kept = "\n\t" if keep_lines else ""
        shown = "".join(char if char in kept else _escaped(char) for char in shown)
    n_missing = len(text) - max_chars
    return f"{shown}... ({n_missing} more characters)" if max_chars and n_missing > 0 else shown


def _escaped(char: str) -> str:
    if unicodedata.category(char) not in _HIDDEN:
        return char
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
