"""Draw compared models: size to the right, loss upwards, the Pareto-best joined by a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from luci_tui.library.compare import ComparedModel, ModelsCompared
from luci_tui.units import format_bytes

WIDTH: Final = 720
HEIGHT: Final = 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 40, 56, 60
_BEST: Final = "#1f6fb2"
_OTHER: Final = "#8a8a8a"
_N_TICKS: Final = 5


def svg_of(compared: ModelsCompared) -> str:
    """Return the picture as SVG; models without a place in it are named below it."""
    placed = [row for row in compared.measured if row.loss is not None]
    x_ticks = _ticks([row.scored.size_bytes for row in placed])
    y_ticks = _ticks([row.loss or 0.0 for row in placed])
    parts = _frame(compared, x_ticks, y_ticks)
    spots = [(row, _x(row, x_ticks), _y(row, y_ticks)) for row in placed]
    best = sorted((x, y) for row, x, y in spots if row.is_best)
    if len(best) > 1:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in best)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{_BEST}"/>')
    for row, x, y in spots:
        colour = _BEST if row.is_best else _OTHER
        # Form says the same as colour.
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour}"/>'
            if row.is_best
            else f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{colour}"/>'
        )
        anchor = "end" if x > WIDTH - 180 else "start"
        shift = -10 if anchor == "end" else 10
        parts.append(_text(_name(row.scored.model), x + shift, y - 8, anchor=anchor))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _frame(
    compared: ModelsCompared, x_ticks: Sequence[float], y_ticks: Sequence[float]
) -> list[str]:
    is_embedding = any(row.scored.embedding_distance is not None for row in compared.measured)
    loss = "embedding distance" if is_embedding else "KL divergence, nats per token"
    subtitle = f"to {Path(compared.base).name}, on {Path(compared.text).name}"
    bottom = HEIGHT - _BOTTOM
    parts = [
        _text(f"Size against {loss}", WIDTH / 2, 22, anchor="middle", size=15),
        _text(subtitle, WIDTH / 2, 40, anchor="middle"),
        f'<path d="M{_LEFT} {_TOP} V{bottom} H{WIDTH - _RIGHT}" fill="none" stroke="#333"/>',
    ]
    for tick in x_ticks:
        x = _scaled(tick, x_ticks, _LEFT, WIDTH - _RIGHT)
        parts.append(_text(format_bytes(int(tick)), x, bottom + 18, anchor="middle"))
    for tick in y_ticks:
        y = _scaled(tick, y_ticks, bottom, _TOP)
        parts.append(_text(f"{tick:.3g}", _LEFT - 8, y + 4, anchor="end"))
    left_out = {
        "Not measured against it": [
            _name(row.scored.model) for row in compared.measured if row.loss is None
        ],
        "Could not be measured": [_name(row.model) for row in compared.failed],
    }
    shown = [f"{why}: {', '.join(names)}" for why, names in left_out.items() if names]
    parts += [_text(one, _LEFT, HEIGHT - 12 - 14 * up) for up, one in enumerate(reversed(shown))]
    return parts


def _ticks(values: Sequence[float]) -> list[float]:
    """Give round numbers from 0 to above the largest value."""
    largest = max(values, default=0.0) or 1.0
    step = 10 ** math.floor(math.log10(largest / _N_TICKS))
    step = next(step * factor for factor in (1, 2, 5, 10) if step * factor * _N_TICKS >= largest)
    return [step * index for index in range(_N_TICKS + 1)]


def _scaled(value: float, ticks: Sequence[float], start: float, end: float) -> float:
    return start + (end - start) * value / ticks[-1]


def _x(row: ComparedModel, ticks: Sequence[float]) -> float:
    return _scaled(row.scored.size_bytes, ticks, _LEFT, WIDTH - _RIGHT)


def _y(row: ComparedModel, ticks: Sequence[float]) -> float:
    return _scaled(row.loss or 0.0, ticks, HEIGHT - _BOTTOM, _TOP)


def _name(model: str) -> str:
    return Path(model).name.removesuffix(".gguf")


def _text(words: str, x: float, y: float, *, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="#222">'
        f"{escape(words)}</text>"
    )
