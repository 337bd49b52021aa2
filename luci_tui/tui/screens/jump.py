"""Jump: a label on everything that can be gone to, and typing it goes there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Offset, Size
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from luci_tui.tui.screens.steady import Steady

LETTERS = "asdfghjklqwertyuiopzxcvbnm"
"""The ones under the fingers first."""
MAX_SPOTS = len(LETTERS) ** 2


@dataclass(frozen=True)
class Spot:
    """A place that can be gone to."""

    at: Offset
    """Where on the screen its label stands."""
    go: Callable[[], object]
    label: str = ""
    """Empty = it gets a letter."""
    text: str = ""
    """What is drawn there; empty = the label in brackets."""


@runtime_checkable
class HasSpots(Protocol):
    """A widget with several places in it."""

    def jump_spots(self) -> list[Spot]:
        """Return the places, as they stand on the screen."""
        ...


def spots_of(screen: Screen[object]) -> list[Spot]:
    """List everything on a screen that can be gone to and is seen, from the top left."""
    spots: list[Spot] = []
    for widget in screen.focus_chain:
        region = widget.region.intersection(screen.region)
        if not region.area or not _is_seen(widget, region.offset):
            continue
        if isinstance(widget, HasSpots):
            spots += widget.jump_spots()
        else:
            spots.append(Spot(region.offset, widget.focus))
    spots.sort(key=lambda spot: (spot.at.y, spot.at.x))
    return spots[:MAX_SPOTS]


def labels_for(n_spots: int, letters: str = LETTERS) -> list[str]:
    """Give each spot a label; none is the beginning of another.

    Args:
        n_spots: How many there are.
        letters: What labels are made of.
    """
    n_letters = 1 if n_spots <= len(letters) else math.ceil(math.log(n_spots, len(letters)))
    product = itertools.product(letters, repeat=n_letters)
    return ["".join(one) for one in itertools.islice(product, n_spots)]


def _is_seen(widget: Widget, at: Offset) -> bool:
    """Tell whether no other widget lies above it, and it is not scrolled away."""
    try:
        found, _ = widget.screen.get_widget_at(at.x, at.y)
    except Exception:
        return False
    return found is widget or widget in found.ancestors


class JumpScreen(Steady, ModalScreen["Spot | None"]):
    """The labels; gives the spot that was typed, None = nowhere.

    Args:
        spots: What can be gone to.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f6,alt+j", "leave", "Stay", id="jump.leave", priority=True),
    ]

    def __init__(self, spots: Sequence[Spot]) -> None:
        super().__init__()
        labels = iter(labels_for(sum(not spot.label for spot in spots)))
        self._spots = {spot.label or next(labels): spot for spot in spots}
        self._typed = ""
        self._drawn_for = Size()
        self._is_left = False

    def compose(self) -> ComposeResult:
        """Put a label on each spot, and say what to do."""
        for label, spot in self._spots.items():
            mark = Static(spot.text or f"[{label}]", markup=False, classes="jump-label", name=label)
            mark.styles.offset = (spot.at.x, spot.at.y)
            yield mark
        text = "Type a label. Esc goes back." if self._spots else "There is nothing to go to here."
        yield Static(text, id="jump-advice", markup=False)

    def on_mount(self) -> None:
        """Remember for which size the labels are."""
        self._drawn_for = self.size

    def on_resize(self, event: events.Resize) -> None:
        """Go back when the labels stand in the wrong places."""
        if event.size != self._drawn_for:
            self._leave(None)

    def on_key(self, event: events.Key) -> None:
        """Take the letter of a label."""
        event.stop()
        event.prevent_default()
        typed = self._typed + (event.character or "").lower()
        if not event.character or not any(label.startswith(typed) for label in self._spots):
            return
        self._typed = typed
        if typed in self._spots:
            self._leave(self._spots[typed])
            return
        for mark in self.query(".jump-label"):
            mark.display = (mark.name or "").startswith(typed)

    def on_click(self) -> None:
        """Go back."""
        self._leave(None)

    def action_leave(self) -> None:
        """Go back."""
        self._leave(None)

    def _leave(self, spot: Spot | None) -> None:
        # Keys that were typed on come until the screen is gone; it can be left once.
        if not self._is_left:
            self._is_left = True
            self.dismiss(spot)
