"""Make model text safe for a terminal.

A model can print anything: escape sequences that move the cursor, set the window title or write
the clipboard, and characters that turn the direction of the text around. Only line feed and tab
survive; a carriage return before a line feed is dropped like any other control character.

Sources: ECMA-48 sections 5.3 to 5.6 (escape, control sequences and control strings); Unicode
Standard Annex 9 (explicit directional characters), which "Trojan Source" (CVE-2021-42574) abuses.
"""

from __future__ import annotations

from enum import Enum, auto

MAX_CONTROL_STRING = 1024
"""A control string longer than this is taken to be text again, so that it cannot hide an answer."""

_ESC = "\x1b"
_BEL = "\x07"
_STRING_OPENERS_ESC = frozenset("]PX^_")
"""After ESC: OSC, DCS, SOS, PM, APC."""
_STRING_OPENERS_C1 = frozenset("\x9d\x90\x98\x9e\x9f")
_CSI_C1 = "\x9b"
_ST_C1 = "\x9c"
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class _State(Enum):
    TEXT = auto()
    ESCAPE = auto()
    SEQUENCE = auto()
    STRING = auto()
    STRING_ESCAPE = auto()


class Sanitizer:
    """Filter a stream of text; a sequence that is cut between two pieces is still recognised."""

    def __init__(self) -> None:
        self._state = _State.TEXT
        self._n_swallowed = 0

    def feed(self, text: str) -> str:
        """Return the part of `text` that may reach a terminal."""
        if self._state is _State.TEXT and text.isprintable() and text.isascii():
            return text
        return "".join(char for char in text if self._keep(char))

    def _keep(self, char: str) -> bool:
        match self._state:
            case _State.TEXT:
                return self._text(char)
            case _State.ESCAPE:
                return self._escape(char)
            case _State.SEQUENCE:
                return self._sequence(char)
            case _State.STRING | _State.STRING_ESCAPE:
                return self._string(char)

    def _text(self, char: str) -> bool:
        self._state = _State.TEXT
        if char in "\n\t":
            return True
        if char == _ESC:
            self._state = _State.ESCAPE
        elif char == _CSI_C1:
            self._open(_State.SEQUENCE)
        elif char in _STRING_OPENERS_C1:
            self._open(_State.STRING)
        return not _is_control(char)

    def _escape(self, char: str) -> bool:
        if char == "[":
            self._open(_State.SEQUENCE)
            return False
        if char in _STRING_OPENERS_ESC:
            self._open(_State.STRING)
            return False
        if " " <= char <= "/":
            return False
        if "0" <= char <= "~":
            self._state = _State.TEXT
            return False
        return self._text(char)

    def _sequence(self, char: str) -> bool:
        self._n_swallowed += 1
        if " " <= char <= "?" and self._n_swallowed <= MAX_CONTROL_STRING:
            return False
        if "@" <= char <= "~":
            self._state = _State.TEXT
            return False
        return self._text(char)

    def _string(self, char: str) -> bool:
        was_escape = self._state is _State.STRING_ESCAPE
        self._state = _State.STRING
        self._n_swallowed += 1
        if char in (_BEL, _ST_C1):
            self._state = _State.TEXT
            return False
        if was_escape:
            # ESC \ ends the string; ESC and anything else starts another sequence.
            self._state = _State.ESCAPE
            return self._escape(char)
        if char == _ESC:
            self._state = _State.STRING_ESCAPE
            return False
        if char == "\n" or self._n_swallowed > MAX_CONTROL_STRING:
            return self._text(char)
        return False

    def _open(self, state: _State) -> None:
        self._state = state
        self._n_swallowed = 0


def sanitize(text: str) -> str:
    """Return `text` without anything that a terminal would act on."""
    return Sanitizer().feed(text)


def _is_control(char: str) -> bool:
    code = ord(char)
    return (
        code < 0x20
        or 0x7F <= code <= 0x9F
        or char in _BIDI
        # A lone surrogate cannot be encoded as UTF-8.
        or 0xD800 <= code <= 0xDFFF
    )
