"""Lines of figures, drawn with characters; no colour carries a meaning.

The library for it is imported with this module, so only a mode that draws may import it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from rich.text import Text
from textual_plotext import PlotextPlot

LEAST_WIDTH, LEAST_HEIGHT = 24, 5
"""In a smaller place no line can be read."""
MARKERS = ("*", "+", "o")
"""One for each line; they tell lines apart without colours."""
_PAD = 0.05
"""Share of the range that is left free above and below."""


@dataclass(frozen=True)
class Line:
    """One line of a plot."""

    label: str
    """Empty = it needs none."""
    points: tuple[tuple[float, float], ...]
    is_point_alone: bool = False
    """Mark the points and join nothing."""


@dataclass(frozen=True)
class Drawing:
    """Everything that is drawn."""

    title: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...] = ()
    """What stands below the horizontal axis; empty = the numbers of the rounds."""


class LinePlot(PlotextPlot):
    """A plot that is drawn again only when its figures change."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.theme = "clear"  # the colours of the widget itself
        self._drawing = Drawing("", ())

    def draw(self, drawing: Drawing) -> None:
        """Show other figures."""
        if drawing != self._drawing:
            self._drawing = drawing
            self.refresh()

    def render(self) -> Text:
        """Draw the lines in the room that there is."""
        width, height = self.size
        points = [point for line in self._drawing.lines for point in _finite(line.points)]
        if not points or width < LEAST_WIDTH or height < LEAST_HEIGHT:
            return Text("")
        # plotext says nothing about its types.
        plot = cast("Any", self.plt)
        plot.clear_figure()
        plot.theme("clear")
        plot.title(self._drawing.title)
        for line, marker in zip(self._drawing.lines, MARKERS, strict=False):
            self._add(plot, line, marker)
        plot.ylim(*_range([y for _, y in points]))
        plot.yfrequency(max(2, min(6, height // 2 - 1)))
        xs = sorted({x for x, _ in points})
        ticks = self._drawing.ticks or _numbers(xs, width)
        plot.xlim(xs[0] - 0.2, xs[-1] + 0.2)
        plot.xticks([x for x, _ in ticks], [text for _, text in ticks])
        plot.plotsize(width, height)
        plot._set_size(width, height)  # as PlotextPlot does, for a size that is not the terminal's
        return Text.from_ansi(str(plot.build()))

    @staticmethod
    def _add(plot: Any, line: Line, marker: str) -> None:
        points = _finite(line.points)
        if not points:
            return
        xs, ys = [x for x, _ in points], [y for _, y in points]
        label = line.label or None
        if line.is_point_alone or len(points) == 1:
            plot.scatter(xs, ys, marker=marker, label=label)
        else:
            plot.plot(xs, ys, marker=marker, label=label)


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = (high - low or abs(high) or 1.0) * _PAD
    return (low - pad, high + pad)


def _numbers(xs: Sequence[float], width: int) -> tuple[tuple[float, str], ...]:
    step = max(1, math.ceil(len(xs) * 6 / width))
    return tuple((x, f"{x:.0f}") for x in xs[::step])
