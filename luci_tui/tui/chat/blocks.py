"""The code blocks of a message."""

from __future__ import annotations

from dataclasses import dataclass

from markdown_it import MarkdownIt


@dataclass(frozen=True)
class Block:
    """One code block."""

    language: str
    """As the model named it; empty = it did not."""
    text: str
    """Without an empty line at its end."""

    @property
    def title(self) -> str:
        """What it is, in one line: language, lines, the first of them."""
        lines = self.text.split("\n")
        first = next((line.strip() for line in lines if line.strip()), "")
        n_lines = "1 line" if len(lines) == 1 else f"{len(lines)} lines"
        return f"{self.language or 'text'} · {n_lines} · {first}"


def blocks_of(text: str) -> list[Block]:
    """Give the code blocks of a text in Markdown, also one that was broken off."""
    tokens = MarkdownIt("commonmark", {"html": False}).parse(text)
    return [
        Block(token.info.strip().split(" ")[0], token.content.rstrip("\n"))
        for token in tokens
        if token.type in ("fence", "code_block")
    ]


_SUFFIXES = {
    "bash": "sh",
    "console": "sh",
    "javascript": "js",
    "markdown": "md",
    "python": "py",
    "rust": "rs",
    "shell": "sh",
    "text": "txt",
    "typescript": "ts",
    "yaml": "yml",
}


def file_name(block: Block) -> str:
    """Suggest a name for a file with the block."""
    language = block.language.lower()
    suffix = _SUFFIXES.get(language, language)
    if not (suffix.isascii() and suffix.isalnum() and len(suffix) <= 8):
        suffix = "txt"
    return f"block.{suffix}"
