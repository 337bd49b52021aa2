"""Draw what a terminal shows as SVG, in colours."""

from __future__ import annotations

import io
import re

from rich.console import Console
from rich.text import Text


def svg_of(screen: str, n_columns: int, title: str) -> str:
    """Draw it.

    Args:
        screen: Lines with the escape sequences of their colours.
        n_columns: Width of the terminal.
        title: Stands in the frame; made the same each time, so is the rest of the file.
    """
    text = Text.from_ansi(screen, no_wrap=True, overflow="crop", end="")
    console = Console(
        width=n_columns,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        record=True,
        legacy_windows=False,
    )
    console.print(text, crop=True)
    name = re.sub(r"\W+", "-", title).strip("-")
    return console.export_svg(title=title, unique_id=f"terminal-{name}")
