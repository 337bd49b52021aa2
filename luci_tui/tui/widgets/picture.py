"""A picture drawn in half blocks: two pixels, one above the other, in each cell.

It needs no protocol that only some terminals know. The words about a picture stand elsewhere, so
that nothing is lost where it cannot be drawn.
"""

from __future__ import annotations

import asyncio
import io
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import work
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from luci_tui.errors import LuciError

MAX_COLUMNS = 40
MAX_ROWS = 12
"""Cells that a picture may take; it is there to be recognised."""
_UPPER_HALF = "▀"


class PictureView(Widget):
    """A small view of a picture file; nothing where it cannot be drawn.

    Args:
        content: The file, or what reads it; a LuciError of that leaves nothing to be drawn.
    """

    ALLOW_SELECT = False

    def __init__(self, content: bytes | Callable[[], Awaitable[bytes]]) -> None:
        super().__init__()
        self._content = content
        self._strips: list[Strip] = []
        self.is_settled = False
        """It is as tall as it stays; the transcript asks."""

    def on_mount(self) -> None:
        """Read the picture, unless colours are unwanted: it is made of nothing else."""
        # Textual leaves the app's result type open.
        self.is_settled = self.app.no_color  # pyright: ignore[reportUnknownMemberType]
        if not self.is_settled:
            self._draw()

    @work(exit_on_error=False)
    async def _draw(self) -> None:
        content, self._content = self._content, b""
        with suppress(LuciError):  # the words about it stand there in any case
            file = content if isinstance(content, bytes) else await content()
            self._strips = await asyncio.to_thread(half_blocks, file)
        self.is_settled = True
        self.refresh(layout=True)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Take as many cells as the picture has."""
        del viewport
        return min(container.width, max((strip.cell_length for strip in self._strips), default=0))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Take as many lines as the picture has."""
        del container, viewport, width
        return len(self._strips)

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        if y >= len(self._strips):
            return Strip.blank(self.size.width, self.rich_style)
        return self._strips[y].adjust_cell_length(self.size.width)


def guess_rows(width: int, height: int) -> int:
    """Say how many lines a picture of so many pixels takes."""
    if not width or not height:
        return 0
    shrink = min(1.0, MAX_COLUMNS / width, 2 * MAX_ROWS / height)
    return -(-max(1, round(height * shrink)) // 2)


def half_blocks(content: bytes) -> list[Strip]:
    """Draw a picture file, one strip a line; empty = it cannot be decoded. Blocks."""
    # Pillow is imported with the first picture: most chats have none.
    from PIL import Image, ImageOps

    formats = ["PNG", "JPEG", "GIF", "WEBP", "BMP"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which were checked before
            picture = Image.open(io.BytesIO(content), formats=formats)
            picture.draft("RGB", (4 * MAX_COLUMNS, 8 * MAX_ROWS))
            upright = ImageOps.exif_transpose(picture).convert("RGB")
            upright.thumbnail((MAX_COLUMNS, 2 * MAX_ROWS))
    except Exception:
        # A damaged file makes Pillow raise nearly anything, and a view of it is owed to nobody.
        return []
    width, height = upright.size
    data = upright.tobytes()
    return [
        Strip([_cell(data, width, height, x, y) for x in range(width)], width)
        for y in range(0, height, 2)
    ]


def _cell(data: bytes, width: int, height: int, x: int, y: int) -> Segment:
    upper = _color(data, width, x, y)
    lower = _color(data, width, x, y + 1) if y + 1 < height else None
    return Segment(_UPPER_HALF, Style(color=upper, bgcolor=lower))


def _color(data: bytes, width: int, x: int, y: int) -> Color:
    start = 3 * (y * width + x)
    return Color.from_rgb(*data[start : start + 3])
