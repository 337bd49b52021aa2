"""What was said, as long as it may be: only what is near the view is a widget.

An entry that was never drawn has a guessed height. When it is drawn and turns out otherwise, the
view stays with what the reader sees; at the end of the transcript it follows what grows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import cast

from textual.containers import VerticalScroll
from textual.geometry import Region, Size
from textual.layout import WidgetPlacement
from textual.reactive import Reactive
from textual.scrollbar import ScrollBar
from textual.widget import Widget
from textual.widgets import Static

from luci_tui.tui.chat.column import Column

PAGES_DRAWN = 1
"""Pages above and below the view that are drawn before they are scrolled to."""
PAGES_KEPT = 3
"""Pages above and below the view beyond which nothing stays drawn."""
N_AT_ONCE = 12
"""Entries that become widgets in one go; keys are read between two of them."""
MAX_KEPT = 200
"""Entries that cannot be drawn anew and therefore stay; the oldest of more of them go."""


class Entry(ABC):
    """Something that stands in the transcript: it outlives the widget that draws it."""

    is_message = False
    """Whether the cursor may stand on it."""
    is_kept = False
    """Whether its widget stays, however far away it is: it grows, or cannot be made again."""

    def __init__(self) -> None:
        self.place = -1
        """Where it stands, from 0; -1 = in no transcript."""
        self.widget: Widget | None = None
        """What draws it; None = it is far from the view."""

    @abstractmethod
    def make(self) -> Widget:
        """Make the widget; one with the attribute `is_settled` sets it when it is whole."""

    @abstractmethod
    def guess_rows(self, width: int) -> int:
        """Guess how tall the widget will be."""


class WidgetEntry(Entry):
    """A widget that somebody else made; it stays drawn."""

    is_kept = True

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self._made = widget

    def make(self) -> Widget:
        """Give the widget."""
        return self._made

    def guess_rows(self, width: int) -> int:
        """Guess; it is measured at once."""
        del width
        return 2


class Transcript(VerticalScroll, can_focus=False):
    """The entries, the newest at the end."""

    virtual_size: Reactive[Size] = Reactive(Size(0, 0))
    """Does not ask for another layout; a scrollbar that comes or goes does."""

    def __init__(self, *header: Widget, id: str | None = None) -> None:
        super().__init__(*header, id=id)
        self._header = header
        self._entries: list[Entry] = []
        self._drawn: dict[Widget, Entry] = {}
        self._column = Column()
        self._end = Static(id="transcript-end")
        """Says how far one can scroll when the last entries are not drawn."""
        self._n_header_rows = 0
        self._is_fitting = False

    # ---- what it holds

    @property
    def entries(self) -> Sequence[Entry]:
        """All of them, in their order."""
        return self._entries

    async def add(self, *items: Entry | Widget) -> None:
        """Put entries, or widgets, at the end and draw them."""
        entries = self._take(items)
        await self.mount_all([self._make(entry) for entry in entries], before=self._end)
        self._drop_old_kept()
        self._fit_soon()

    def extend(self, entries: Iterable[Entry]) -> None:
        """Put many entries at the end; those that are seen are drawn soon."""
        self._take(entries)
        self.refresh(layout=True)
        self._fit_soon()

    async def cut(self, n_kept: int) -> None:
        """Take away all but the first entries."""
        gone = self._entries[n_kept:]
        del self._entries[n_kept:]
        self._column.cut(n_kept)
        old = [entry.widget for entry in gone if entry.widget is not None]
        for entry in gone:
            self._forget(entry)
            entry.place = -1
        await self.remove_children(old)

    async def drop(self, selector: str) -> None:
        """Take away widgets that somebody else made, and the room they have."""
        gone = list(self.query_children(selector))
        for widget in gone:
            if (entry := self._drawn.get(widget)) is not None:
                self._forget(entry)
                self._column.measure(entry.place, 0)
        await self.remove_children(gone)

    def _take(self, items: Iterable[Entry | Widget]) -> list[Entry]:
        entries = [one if isinstance(one, Entry) else WidgetEntry(one) for one in items]
        for place, entry in enumerate(entries, start=len(self._entries)):
            entry.place = place
        self._entries += entries
        width = self._column.width or self.screen.size.width
        self._column.add(entry.guess_rows(width) for entry in entries)
        return entries

    def _drop_old_kept(self) -> None:
        """Let go of the oldest widgets that cannot be made again."""
        kept = [entry for entry in self._drawn.values() if isinstance(entry, WidgetEntry)]
        for entry in sorted(kept, key=lambda one: one.place)[: max(0, len(kept) - MAX_KEPT)]:
            self._let_go(entry)
            self._column.measure(entry.place, 0)

    def _make(self, entry: Entry) -> Widget:
        widget = entry.widget = entry.make()
        widget.add_class("entry")
        self._drawn[widget] = entry
        self.drawn(entry, widget)
        return widget

    def _forget(self, entry: Entry) -> None:
        if entry.widget is not None:
            del self._drawn[entry.widget]
            entry.widget = None

    def _let_go(self, entry: Entry) -> None:
        widget = entry.widget
        self._forget(entry)
        if widget is not None:
            widget.remove()

    # ---- where everything stands

    @property
    def is_following(self) -> bool:
        """The view is at the end and stays there when something is added."""
        return self._anchored and not self._anchor_released

    def follow(self) -> None:
        """Go to the end and stay there."""
        self.anchor()

    def on_mount(self) -> None:
        """Begin at the end."""
        self.mount(self._end)
        self.follow()

    def process_layout(self, placements: list[WidgetPlacement]) -> list[WidgetPlacement]:
        """Put every widget where its entry stands among all entries, drawn or not."""
        placed = {one.widget: one for one in placements}
        end = placed.pop(self._end, None)
        if end is None:
            return placements
        pinned = self._pinned()
        header = [placed[widget] for widget in self._header if widget in placed]
        # What is on its way out is in no dictionary and gets no place any more.
        mine = [(self._drawn[one], placed[one]) for one in placed if one in self._drawn]
        self._n_header_rows = max(
            (one.region.bottom + one.margin.bottom for one in header), default=0
        )
        self._measure(end.region.width, mine)
        moved = [
            one._replace(region=one.region.at_offset((one.region.x, row + one.margin.top)))
            for row, one in ((self.row_of(entry), one) for entry, one in mine)
        ]
        if pinned is not None:
            self._set_scroll(self.row_of(pinned[0]) + pinned[1])
        self._fit_soon()
        total = self._n_header_rows + self._column.total
        bottom = max((one.region.bottom + one.margin.bottom for one in moved), default=0)
        if total > max(bottom, self._n_header_rows):
            moved.append(end._replace(region=Region(0, total - 1, end.region.width, 1)))
        return header + moved

    def _measure(self, width: int, mine: list[tuple[Entry, WidgetPlacement]]) -> None:
        if width != self._column.width:
            self._column.set_width(width, lambda place: self._entries[place].guess_rows(width))
        for entry, one in mine:
            rows = one.region.height + one.margin.top + one.margin.bottom
            if not getattr(entry.widget, "is_settled", True):
                # Its parts still come; it would be small now and push what follows to and fro.
                rows = max(rows, self._column.rows(entry.place))
            self._column.measure(entry.place, rows)

    def row_of(self, entry: Entry) -> int:
        """Return the row in which an entry begins, as far as is known."""
        return self._n_header_rows + self._column.top(entry.place)

    def in_sight(self, entry: Entry) -> bool:
        """Tell whether any row of an entry is seen."""
        first, height = self.row_of(entry), self.scrollable_content_region.height
        top = self.scroll_offset.y
        return first < top + height and first + self._column.rows(entry.place) > top

    def bring(self, entry: Entry) -> None:
        """Scroll as little as needed to show an entry, or its beginning if it is too tall."""
        first, rows = self.row_of(entry), self._column.rows(entry.place)
        height, top = self.scrollable_content_region.height, self.scroll_offset.y
        if first < top or rows >= height:
            row = first
        elif first + rows > top + height:
            row = first + rows - height
        else:
            return
        self.scroll_to(y=row, animate=False, immediate=True, force=True)

    def drawn(self, entry: Entry, widget: Widget) -> None:
        """Take in that an entry has got a widget."""

    def steady_entry(self) -> Entry | None:
        """Give the entry that must not move while others turn out taller; None = the first seen."""
        return None

    def _pinned(self) -> tuple[Entry, int] | None:
        """Give the entry that stays where it is seen, and how far the view is scrolled into it."""
        if self.is_following or not self._entries:
            return None
        row = self.scroll_offset.y
        entry = self.steady_entry()
        if entry is None or not self.in_sight(entry):
            entry = self._entries[self._column.at(row - self._n_header_rows)]
        return entry, row - self.row_of(entry)

    def _set_scroll(self, row: int) -> None:
        """Scroll in the middle of a layout, as Textual does for a widget that follows its end."""
        row = max(0, row)
        if row == self.scroll_offset.y:
            return
        self.set_reactive(Widget.scroll_y, float(row))
        target = cast("Reactive[float]", Widget.scroll_target_y)
        self.set_reactive(target, float(row))
        self.vertical_scrollbar.set_reactive(ScrollBar.position, float(row))

    # ---- what is drawn

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Draw what comes near."""
        super().watch_scroll_y(old_value, new_value)
        self._fit_soon()

    def _fit_soon(self) -> None:
        if not self._is_fitting and self.is_attached:
            self._is_fitting = True
            self.call_later(self._fit)

    def _fit(self) -> None:
        """Make widgets of what is near the view, and let go of what is far."""
        self._is_fitting = False
        height = self.scrollable_content_region.height
        if not height or not self._entries:
            return
        near = self._near(height, PAGES_DRAWN)
        missing = [place for place in near if self._entries[place].widget is None]
        middle = self._near(height, 0)
        missing.sort(key=lambda place: max(middle.start - place, place - middle.stop + 1, 0))
        self._draw(sorted(missing[:N_AT_ONCE]))
        kept = self._near(height, PAGES_KEPT)
        for entry in list(self._drawn.values()):
            if not entry.is_kept and entry.place not in kept:
                self._let_go(entry)
        if len(missing) > N_AT_ONCE:
            self._fit_soon()

    def _near(self, height: int, n_pages: int) -> range:
        top = self._column.total - height if self.is_following else self.scroll_offset.y
        top -= self._n_header_rows
        return self._column.between(top - n_pages * height, top + (n_pages + 1) * height)

    def _draw(self, places: Sequence[int]) -> None:
        """Make the widgets of these entries, which are in order, each before the one below it."""
        below = sorted(self._drawn.values(), key=lambda entry: -entry.place)
        before: Widget = self._end
        for place in reversed(places):
            while below and below[0].place > place:
                before = below.pop(0).widget or before
            if not isinstance(self._entries[place], WidgetEntry):
                widget = self._make(self._entries[place])
                self.mount(widget, before=before)
                before = widget
