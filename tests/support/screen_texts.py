"""Compare what a screen shows with what it showed before: one text file for each state and size.

`LUCI_WRITE_SCREENS=1 pytest tests/tui` writes the files anew; look at the difference before it is
committed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from rich.color import Color as RichColor
from textual.color import Color
from textual.pilot import Pilot

from luci_tui.tui.app import ChatApp
from tests.support.screen import shown_text, wait_until

FOLDER = Path(__file__).parent.parent / "tui" / "screens"
LEAST_CONTRAST = 3.0
"""Of text that is no decoration. Source: WCAG 2.1, 1.4.11, for what is large or bold."""
STEADY_S = 1.0
"""How long a screen stands still before it is written."""
DECORATION = frozenset("╭╮╰╯│─▀▁▂▃▄▅▆▇█▊▎▏▕ ")
"""Frames, scrollbars, and the half blocks of pictures."""


async def check_screen(pilot: Pilot[int], name: str) -> None:
    """Wait until the screen shows as text what the file of this name and size has.

    What a message still has to bring may come a moment later on a busy machine.
    """
    app = _app_of(pilot)
    expected = _text_in_file(app, name)
    assert expected, f"{name} has no file; LUCI_WRITE_SCREENS=1 writes it.\n{_text(app)}"
    await wait_until(pilot, lambda: _text(app) == expected)


async def check_in_both_themes(pilot: Pilot[int], name: str) -> None:
    """Compare the text, which no theme changes, and see that it can be read, dark and light."""
    app = _app_of(pilot)
    if os.environ.get("LUCI_WRITE_SCREENS"):
        _write(app, name, await _steady_text(pilot))
    for theme in ("textual-dark", "textual-light"):
        app.theme = theme
        await pilot.pause()
        await check_screen(pilot, name)
        faint = faint_texts(app)
        assert not faint, f"{theme}: {faint}"


async def _steady_text(pilot: Pilot[int]) -> str:
    """Return what the screen shows once it stands still."""
    app = _app_of(pilot)
    shown, since_s = "", 0.0

    def is_steady() -> bool:
        nonlocal shown, since_s
        if (now := _text(app)) != shown:
            shown, since_s = now, time.monotonic()
        return time.monotonic() - since_s > STEADY_S

    await wait_until(pilot, is_steady)
    return shown


def _app_of(pilot: Pilot[int]) -> ChatApp:
    assert isinstance(pilot.app, ChatApp)
    return pilot.app


def _path_of(app: ChatApp, name: str) -> Path:
    width, height = app.size
    return FOLDER / f"{name}-{width}x{height}.txt"


def _text_in_file(app: ChatApp, name: str) -> str:
    path = _path_of(app, name)
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _write(app: ChatApp, name: str, shown: str) -> None:
    path = _path_of(app, name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(shown, encoding="utf-8")


def _text(app: ChatApp) -> str:
    return "\n".join(line.rstrip() for line in shown_text(app).splitlines()) + "\n"


def faint_texts(app: ChatApp) -> list[str]:
    """Return the pieces of text that hardly stand out from what is behind them.

    What lies behind a dialog is dimmed on purpose, so there only the dialog counts.
    """
    screen = app.screen
    looked_at = screen.children[0].region if screen.is_modal else screen.region
    strips = screen._compositor.render_strips()  # pyright: ignore[reportPrivateUsage]
    found: list[str] = []
    for y, strip in enumerate(strips):
        x = 0
        for segment in strip:
            is_inside = looked_at.contains(x, y)
            x += segment.cell_length
            style = segment.style
            if style is None or not is_inside or set(segment.text) <= DECORATION:
                continue
            front, back = _color(style.color), _color(style.bgcolor)
            if front and back and _contrast(front, back) < LEAST_CONTRAST:
                found.append(f"{segment.text!r}: {front.hex} on {back.hex}")
    return found


def _contrast(one: Color, other: Color) -> float:
    """Source: WCAG 2.1, definition of contrast ratio."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: Color) -> float:
    def linear(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(color.r) + 0.7152 * linear(color.g) + 0.0722 * linear(color.b)


def _color(color: RichColor | None) -> Color | None:
    return None if color is None or color.is_default else Color.from_rich_color(color)
