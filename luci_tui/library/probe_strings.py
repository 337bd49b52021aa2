"""Strings on which two tokenizers are compared: the same for every model, made from a seed."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from typing import Final

N_STRINGS: Final = 1000
SEED: Final = 20_261

_SCRIPTS: Final = {
    "latin": (0x00C0, 0x017F),
    "greek": (0x0391, 0x03C9),
    "cyrillic": (0x0410, 0x044F),
    "hebrew": (0x05D0, 0x05EA),
    "arabic": (0x0627, 0x064A),
    "devanagari": (0x0905, 0x0939),
    "thai": (0x0E01, 0x0E2E),
    "hiragana": (0x3041, 0x3096),
    "cjk": (0x4E00, 0x9FA5),
    "hangul": (0xAC00, 0xD7A3),
}
"""First and last character of a run of letters."""
_EMOJI: Final = ("🙂", "🦙", "🚀", "👍🏽", "👩‍🚀", "🇫🇮", "❤️", "1️⃣", "🧪", "🎉")
_SPACES: Final = (" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "\u00a0", "\u3000", "\t\t")
_WORDS: Final = (
    *("the", "model", "Reads", "I've", "don't", "WE'LL", "can't", "it's", "naïve", "café"),
    *("list", "every", "FILE", "camelCase", "snake_case", "kebab-case", "U.S.", "e.g.", "vs", "a"),
)
_CODE: Final = (
    "def f(x: int) -> int:\n    return x ** 2",
    'if (a != b && c <= 0x1F) { printf("%d\\n", a); }',
    "SELECT name, count(*) FROM t WHERE id IN (1, 2, 3);",
    "find . -name '*.py' -exec grep -nH 'TODO' {} + | sort -k2",
    '{"key": [1.5e-3, null, true], "nested": {"a": "b"}}',
    "<div class='x'>&nbsp;</div>\n<!-- note -->",
    "git commit -m \"fix: don't lose 'quotes'\" && echo $?",
    "for (let i = 0; i < n; ++i) { sum += arr[i]; }\n\n\n",
)


def probe_strings(n: int = N_STRINGS, seed: int = SEED) -> tuple[str, ...]:
    """Make `n` strings: scripts, digits, whitespace, emoji, code, and mixtures of them."""
    chance = random.Random(seed)
    kinds: tuple[Callable[[random.Random], str], ...] = (
        *(_sentence, _script, _digits, _whitespace, _emoji, _code, _mixture, _punctuation),
    )
    return tuple(kinds[index % len(kinds)](chance) for index in range(n))


def _sentence(chance: random.Random) -> str:
    words = chance.choices(_WORDS, k=chance.randint(3, 14))
    return " ".join(words) + chance.choice(".?!;…")


def _script(chance: random.Random) -> str:
    first, last = _SCRIPTS[chance.choice(list(_SCRIPTS))]
    words = (
        "".join(chr(chance.randint(first, last)) for _ in range(chance.randint(1, 8)))
        for _ in range(chance.randint(1, 6))
    )
    return " ".join(words)


def _digits(chance: random.Random) -> str:
    number = str(chance.randrange(10 ** chance.randint(1, 12)))
    forms = (
        *(number, f"{number}.{number[:2]}", f"-{number}", f"${number},000.00", f"{number}%"),
        *(f"0x{int(number):X}", f"1{number}e-5", f"2026-07-0{number[0]} 12:3{number[0]}:59"),
    )
    return chance.choice(forms)


def _whitespace(chance: random.Random) -> str:
    parts = (
        chance.choice(_SPACES) + chance.choice(_WORDS) + chance.choice(("", *_SPACES))
        for _ in range(chance.randint(1, 6))
    )
    return "".join(parts)


def _emoji(chance: random.Random) -> str:
    parts = (chance.choice(_EMOJI) + chance.choice(("", " ", "ok")) for _ in range(4))
    return "".join(parts)


def _code(chance: random.Random) -> str:
    text = chance.choice(_CODE)
    start = chance.randrange(len(text) // 2)
    return text[start : start + chance.randint(5, len(text))]


def _punctuation(chance: random.Random) -> str:
    marks = (
        string.punctuation
        + "\u2013\u2014\u2018\u2019\u201c\u201d\u00ab\u00bb\u00bf\u00a1\u00b0\u00a7"
    )
    pieces = ("".join(chance.choices(marks, k=chance.randint(1, 4))) for _ in range(4))
    return chance.choice(_WORDS).join(pieces)


def _mixture(chance: random.Random) -> str:
    kinds = (_sentence, _script, _digits, _whitespace, _emoji, _code, _punctuation)
    return chance.choice(("", " ", "\n")).join(kind(chance) for kind in chance.sample(kinds, 3))
