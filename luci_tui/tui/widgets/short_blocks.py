"""Keep the blocks of growing Markdown short, for each redraw draws the last block anew.

With a paragraph of 20,000 characters one redraw takes a tenth of a second, in which no key is
echoed. So a long paragraph is ended at a space, and a long code block is closed and opened again.
Once the text is whole it is drawn as it is.
"""

from __future__ import annotations

import re

MAX_PARAGRAPH = 2_000
"""Characters."""
MAX_CODE_LINES = 60

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)$")
_NO_PARAGRAPH = re.compile(r"[|>#*+`~\s-]|\d+[.)]")
"""How lines begin that are no paragraph, or may be none."""
_KEPT_OF_LINE = 200
"""Of a line that is not at its end; enough to tell what it is."""


class ShortBlocks:
    """Takes a text piece by piece and gives it back with shorter blocks."""

    def __init__(self) -> None:
        self.has_split = False
        """What was given back is not what was taken."""
        self._line = ""
        """The beginning of the line that is not at its end."""
        self._fence = ""
        """The line that opened the code block; empty = the text is in none."""
        self._n_code_lines = 0
        self._n_characters = 0
        """Of the paragraph."""
        self._is_paragraph = True
        self._n_ticks = 0

    def feed(self, text: str) -> str:
        """Take a piece."""
        parts: list[str] = []
        for line in text.splitlines(keepends=True):
            parts.append(self._in_fence(line) if self._fence else self._outside(line))
        return "".join(parts)

    def _in_fence(self, piece: str) -> str:
        if not self._ends_line(piece):
            return piece
        line, self._line = self._line, ""
        mark = self._mark_of(self._fence)
        if line.strip().startswith(mark) and not line.strip().strip(mark[0]):
            self._fence = ""
            self._begin_block()
            return piece
        self._n_code_lines += 1
        if self._n_code_lines < MAX_CODE_LINES:
            return piece
        self._n_code_lines = 0
        self.has_split = True
        return f"{piece}{mark}\n{self._fence}\n"

    def _outside(self, piece: str) -> str:
        if not self._n_characters and not self._line:
            self._is_paragraph = _NO_PARAGRAPH.match(piece) is None
        elif not self._line and piece.startswith("|"):
            self._is_paragraph = False
        self._n_characters += len(piece)
        self._n_ticks += piece.count("`")
        is_over = self._ends_line(piece)
        if is_over:
            line, self._line = self._line, ""
            if _FENCE.match(line):
                self._fence, self._n_code_lines = line, 0
                return piece
            if not line.strip():
                self._begin_block()
                return piece
        place = piece.rfind(" ")
        is_long = self._n_characters > MAX_PARAGRAPH and self._n_ticks % 2 == 0
        if not (is_long and self._is_paragraph and place >= 0):
            return piece
        rest = piece[place + 1 :]
        self._begin_block()
        self._n_characters = len(rest)
        self._line = "" if is_over else rest[:_KEPT_OF_LINE]
        self.has_split = True
        return f"{piece[:place]}\n\n{rest}"

    def _ends_line(self, piece: str) -> bool:
        """Take a piece of a line; tells whether the line is at its end."""
        has_end = piece.endswith("\n")
        self._line = (self._line + piece.rstrip("\n"))[:_KEPT_OF_LINE]
        return has_end

    def _begin_block(self) -> None:
        self._n_characters = self._n_ticks = 0
        self._is_paragraph = True

    @staticmethod
    def _mark_of(opening: str) -> str:
        found = _FENCE.match(opening)
        return found.group(1) if found else "```"
