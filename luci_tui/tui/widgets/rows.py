"""A list of rows with columns, a cursor and a filter, which draws only what is seen.

Ten thousand rows cost no more to scroll than ten. Nothing here reads markup, and every cell has
to be safe already; `text.one_line` makes it so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Offset, Region, Size
from textual.message import Message
from textual.reactive import Reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from luci_tui.tui.keymap import binding

if TYPE_CHECKING:
    from luci_tui.tui.screens.jump import Spot

MARK = "> "
"""Before the row with the cursor, so that it shows without colours."""
_NO_MARK = " " * len(MARK)
_GAP = "  "


@dataclass(frozen=True)
class Column:
    """One column."""

    title: str
    width: int = 0
    """Cells; 0 = what the others leave."""
    least: int = 12
    """Of a column that takes what the others leave: below it, others go."""
    most: int = 0
    """Of such a column: what it would take beyond stays empty at the right; 0 = nothing does."""
    is_number: bool = False
    """Numbers stand at the right."""
    rank: int = 0
    """Where there is no room, the column with the highest rank goes first; 0 = it stays."""


@dataclass(frozen=True)
class Row:
    """One row."""

    key: str
    """Unique in the list; the cursor stays with it."""
    cells: tuple[str, ...]
    tone: str = ""
    """"error", "warning", "muted" or empty; never the only sign of something."""

    @property
    def haystack(self) -> str:
        """What a filter looks in."""
        return " ".join(self.cells).casefold()


class Rows(ScrollView, can_focus=True):
    """The list.

    Args:
        columns: From the left.
        id: Of the widget.
        has_header: Whether the titles of the columns stand above.
        is_one_of_many: Other lists stand beside it, so that it marks its row only with the focus.
    """

    ALLOW_SELECT = False
    # Textual lays the whole screen out when it changes; `_set_virtual_size` does what is needed.
    virtual_size: Reactive[Size] = Reactive(Size(0, 0))
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--header",
        "rows--cursor",
        "rows--error",
        "rows--warning",
        "rows--muted",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("list.up", "move(-1)"),
        binding("list.down", "move(1)"),
        binding("list.page_up", "page(-1)"),
        binding("list.page_down", "page(1)"),
        binding("list.first", "first"),
        binding("list.last", "last"),
        binding("list.choose", "choose"),
    ]

    class Moved(Message):
        """The cursor stands on another row, or on none any more."""

        def __init__(self, rows: Rows, key: str) -> None:
            super().__init__()
            self.rows = rows
            self.key = key

    class Chosen(Message):
        """The row with the cursor was taken."""

        def __init__(self, rows: Rows, key: str) -> None:
            super().__init__()
            self.rows = rows
            self.key = key

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        id: str | None = None,
        has_header: bool = True,
        is_one_of_many: bool = False,
    ) -> None:
        super().__init__(id=id)
        self._is_one_of_many = is_one_of_many
        self._columns = tuple(columns)
        self._n_header = 1 if has_header else 0
        self._all: list[Row] = []
        self._haystacks: list[str] | None = None
        self._shown: list[Row] = []
        self._cursor = 0
        self._words: tuple[str, ...] = ()
        self._empty = ""
        self._layout: tuple[int, list[int]] = (-1, [])

    # ---- what it holds

    @property
    def n_all(self) -> int:
        """Rows without a filter."""
        return len(self._all)

    @property
    def n_shown(self) -> int:
        """Rows that pass the filter."""
        return len(self._shown)

    @property
    def key(self) -> str:
        """The row with the cursor; empty = there is none."""
        return self._shown[self._cursor].key if self._shown else ""

    @property
    def row(self) -> Row | None:
        """The row with the cursor; None = there is none."""
        return self._shown[self._cursor] if self._shown else None

    @property
    def is_at_end(self) -> bool:
        """The cursor stands on the last row, or there is none."""
        return self._cursor >= len(self._shown) - 1

    @property
    def n_below(self) -> int:
        """Rows below the one with the cursor."""
        return max(0, len(self._shown) - 1 - self._cursor)

    def set_rows(self, rows: Sequence[Row], empty: str = "") -> None:
        """Show other rows; the cursor stays with its row where that is still there.

        Args:
            rows: All of them.
            empty: What to say where no row is shown.
        """
        if rows == self._all and empty == self._empty:
            return
        self._all = list(rows)
        self._haystacks = None
        self._empty = empty
        self._update_shown()

    def add_rows(self, rows: Sequence[Row], max_rows: int) -> None:
        """Add rows at the end; the oldest go when there are too many."""
        at_end = self.is_at_end
        self._all = [*self._all, *rows][-max_rows:]
        self._haystacks = None
        self._update_shown()
        if at_end:
            self.action_last()

    def prepare_filter(self) -> None:
        """Read all rows for a filter, so that its first letter takes no longer than the others."""
        if self._haystacks is None:
            self._haystacks = [row.haystack for row in self._all]

    def set_filter(self, text: str) -> None:
        """Show only the rows that hold every one of the words."""
        self._words = tuple(text.casefold().split())
        self._update_shown()

    def go_to(self, key: str) -> None:
        """Put the cursor on a row, if it is shown."""
        for index, row in enumerate(self._shown):
            if row.key == key:
                self._go(index)
                return

    def _update_shown(self) -> None:
        old_key, old_cursor = self.key, self._cursor
        if self._words:
            self.prepare_filter()
            texts = self._haystacks or []
            found = [index for index, text in enumerate(texts) if self._words[0] in text]
            for word in self._words[1:]:
                found = [index for index in found if word in texts[index]]
            self._shown = [self._all[index] for index in found]
        else:
            self._shown = self._all
        index = next((i for i, row in enumerate(self._shown) if row.key == old_key), None)
        self._cursor = min(old_cursor, max(0, len(self._shown) - 1)) if index is None else index
        self._layout = (-1, [])
        self._set_virtual_size(Size(0, len(self._shown) + self._n_header))
        self._show_cursor()
        self.refresh()
        if self.key != old_key:
            self.post_message(self.Moved(self, self.key))

    def _set_virtual_size(self, size: Size) -> None:
        if size == self.virtual_size:
            return
        self.virtual_size = size
        # Asks for a layout where a scrollbar comes or goes, and nowhere else.
        self._scroll_update(size)
        if self.styles.auto_dimensions:
            self.refresh(layout=True)

    # ---- the cursor

    def action_move(self, n_rows: int) -> None:
        """Move the cursor by some rows."""
        self._go(self._cursor + n_rows)

    def action_page(self, direction: int) -> None:
        """Move the cursor by a page."""
        self._go(self._cursor + direction * max(1, self._n_lines - 1))

    def action_first(self) -> None:
        """Go to the first row."""
        self._go(0)

    def action_last(self) -> None:
        """Go to the last row."""
        self._go(len(self._shown) - 1)

    def action_choose(self) -> None:
        """Take the row with the cursor."""
        if self._shown:
            self.post_message(self.Chosen(self, self.key))

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; a second click takes the row."""
        index = self.scroll_offset.y + event.y - self._n_header
        if event.y < self._n_header or not 0 <= index < len(self._shown):
            return
        self._go(index)
        if event.chain == 2:
            self.action_choose()

    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        self._show_cursor()

    @property
    def _n_lines(self) -> int:
        """Rows that are seen at once."""
        return max(1, self.scrollable_content_region.height - self._n_header)

    def _go(self, index: int) -> None:
        index = max(0, min(index, len(self._shown) - 1))
        if index == self._cursor or not self._shown:
            return
        self._cursor = index
        self._show_cursor()
        self.refresh()
        self.post_message(self.Moved(self, self.key))

    def _show_cursor(self) -> None:
        top, n_lines = self.scroll_offset.y, self._n_lines
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, immediate=True, force=True)
        elif self._cursor >= top + n_lines:
            self.scroll_to(y=self._cursor - n_lines + 1, animate=False, immediate=True, force=True)

    # ---- looks

    def render_line(self, y: int) -> Strip:
        """Draw one line of what is seen."""
        width = self.scrollable_content_region.width
        base = self.rich_style
        if not self._shown:
            return self._empty_line(y, width, base)
        widths = self._widths(width)
        if y < self._n_header:
            style = base + self.get_component_rich_style("rows--header", partial=True)
            titles = tuple(column.title for column in self._columns)
            return self._line(_NO_MARK, titles, widths, width, style)
        index = self.scroll_offset.y + y - self._n_header
        if index >= len(self._shown):
            return Strip.blank(width, base)
        row = self._shown[index]
        style = base
        if row.tone:
            style += self.get_component_rich_style(f"rows--{row.tone}", partial=True)
        is_cursor = index == self._cursor and (self.has_focus or not self._is_one_of_many)
        if is_cursor and self.has_focus:
            style += self.get_component_rich_style("rows--cursor", partial=True)
        return self._line(MARK if is_cursor else _NO_MARK, row.cells, widths, width, style)

    def _line(
        self, mark: str, cells: Sequence[str], widths: Sequence[int], width: int, style: Style
    ) -> Strip:
        parts: list[str] = []
        for cell, column, cell_width in zip(cells, self._columns, widths, strict=True):
            if cell_width > 0:
                parts.append(_fit(cell, cell_width, is_number=column.is_number))
        text = set_cell_size(mark + _GAP.join(parts), width)
        return Strip([Segment(text, style)], width)

    def _empty_line(self, y: int, width: int, base: Style) -> Strip:
        text = self._empty
        if self._words and self._all:
            text = f'Nothing here has "{" ".join(self._words)}". Esc takes the filter away.'
        lines = textwrap.wrap(text, max(10, width - len(MARK)))
        if not 0 <= y - 1 < len(lines):
            return Strip.blank(width, base)
        style = base + self.get_component_rich_style("rows--muted", partial=True)
        return Strip([Segment(set_cell_size(_NO_MARK + lines[y - 1], width), style)], width)

    def _widths(self, width: int) -> list[int]:
        """Give every column its cells; 0 = there is no room for it."""
        if self._layout[0] == width:
            return self._layout[1]
        widths = [column.width or column.least for column in self._columns]
        by_rank = sorted(
            (index for index, column in enumerate(self._columns) if column.rank),
            key=lambda index: -self._columns[index].rank,
        )
        while by_rank and self._total(widths) > width:
            widths[by_rank.pop(0)] = 0
        flexible = [
            index
            for index, column in enumerate(self._columns)
            if not column.width and widths[index]
        ]
        left = width - self._total(widths)
        for n_after, index in enumerate(reversed(flexible), start=1):
            share = left // (len(flexible) - n_after + 1)
            column = self._columns[index]
            widths[index] = max(1, min(widths[index] + share, column.most or width))
            left -= share
        self._layout = (width, widths)
        return widths

    @staticmethod
    def _total(widths: Sequence[int]) -> int:
        used = [width for width in widths if width]
        return len(MARK) + sum(used) + len(_GAP) * (len(used) - 1)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Ask for as many lines as there are rows, for lists that grow with them."""
        del container, viewport, width
        return max(2, len(self._shown) + self._n_header)

    def watch_has_focus(self, has_focus: bool) -> None:
        """Draw the cursor otherwise without the focus."""
        super().watch_has_focus(has_focus)
        self.refresh()

    def line_of(self, key: str) -> Region:
        """Return where a row is drawn, for whoever clicks on it; empty = it is not in sight."""
        for index, row in enumerate(self._shown):
            if row.key == key:
                y = index - self.scroll_offset.y + self._n_header
                if self._n_header <= y < self.size.height:
                    return Region(0, y, self.size.width, 1)
        return Region()

    def jump_spots(self) -> list[Spot]:
        """See `screens/jump.py`: the rows that are seen, or the list where it is empty."""
        from luci_tui.tui.screens.jump import Spot

        top = self.region.offset
        if not self._shown:
            return [Spot(top, self.focus)]
        first = self.scroll_offset.y
        seen = self._shown[first : first + self._n_lines]
        return [
            Spot(top + Offset(0, y), partial(self._jump_to, row.key))
            for y, row in enumerate(seen, start=self._n_header)
        ]

    def _jump_to(self, key: str) -> None:
        self.focus()
        self.go_to(key)


def _fit(cell: str, width: int, *, is_number: bool) -> str:
    length = cell_len(cell)
    if length > width:
        return set_cell_size(cell, width - 1) + "…" if width > 1 else set_cell_size(cell, width)
    return " " * (width - length) + cell if is_number else cell + " " * (width - length)
