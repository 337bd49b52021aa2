"""The row of modes: where one is, and where one can go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

if TYPE_CHECKING:
    from luci_tui.tui.screens.jump import Spot


@dataclass(frozen=True)
class Tab:
    """One mode in the row."""

    name: str
    title: str
    number: int


class ModeBar(Widget, can_focus=True):
    """The row of modes; Left and Right choose where it has the focus, a click anywhere.

    Args:
        tabs: The modes that there are.
        present: Name of the one that is shown.
    """

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"modebar--present", "modebar--chosen"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "choose(-1)", "Before", show=False, id="modebar.left"),
        Binding("right", "choose(1)", "Next", show=False, id="modebar.right"),
        Binding("enter", "go", "Go there", id="modebar.go"),
    ]

    class Asked(Message):
        """The person wants to go to a mode."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, tabs: Sequence[Tab], present: str) -> None:
        super().__init__(id="modebar")
        self._tabs = tuple(tabs)
        self._present = present
        self._chosen = present
        self.display = len(tabs) > 1

    def action_choose(self, step: int) -> None:
        """Move the choice."""
        names = [tab.name for tab in self._tabs]
        self._chosen = names[(names.index(self._chosen) + step) % len(names)]
        self.refresh()

    def action_go(self) -> None:
        """Go to the chosen mode."""
        self.post_message(self.Asked(self._chosen))

    def on_blur(self) -> None:
        """Forget the choice."""
        self._chosen = self._present

    def on_click(self, event: events.Click) -> None:
        """Go to the mode under the mouse."""
        at = 0
        for tab, label in zip(self._tabs, self.labels(), strict=True):
            at += len(label)
            if event.x < at:
                self.post_message(self.Asked(tab.name))
                return

    def jump_spots(self) -> list[Spot]:
        """See `screens/jump.py`; a mode has its number for a label."""
        from luci_tui.tui.screens.jump import Spot

        spots: list[Spot] = []
        at = 0
        for tab, label in zip(self._tabs, self.labels(), strict=True):
            go = partial(self.post_message, self.Asked(tab.name))
            title = label[1:-1].partition(" ")[2] if label.startswith("[") else ""
            # The bracket behind the title of the one that is marked is drawn over.
            text = f"[{tab.number}]{title} " if title else ""
            spots.append(Spot(self.region.offset + Offset(at, 0), go, str(tab.number), text))
            at += len(label)
        return spots

    def labels(self) -> list[str]:
        """Return what is written for each mode, as much as there is room for."""
        wide = [self._label(tab, tab.title) for tab in self._tabs]
        if sum(map(len, wide)) <= self.size.width:
            return wide
        return [
            self._label(tab, tab.title if tab.name == self._present else "") for tab in self._tabs
        ]

    def _label(self, tab: Tab, title: str) -> str:
        text = f"{tab.number} {title}".rstrip()
        # Brackets show the present mode where there are no colours, and take no more room.
        is_marked = tab.name == (self._chosen if self.has_focus else self._present)
        return f"[{text}]" if is_marked else f" {text} "

    def render_line(self, y: int) -> Strip:
        """Draw the row."""
        base = self.rich_style
        width = self.size.width
        if y:
            return Strip.blank(width, base)
        segments = [
            Segment(label, self._style(tab, base))
            for tab, label in zip(self._tabs, self.labels(), strict=True)
        ]
        return Strip(segments).adjust_cell_length(width, base)

    def _style(self, tab: Tab, base: Style) -> Style:
        if self.has_focus and tab.name == self._chosen:
            return base + self.get_component_rich_style("modebar--chosen", partial=True)
        if tab.name == self._present:
            return base + self.get_component_rich_style("modebar--present", partial=True)
        return base
