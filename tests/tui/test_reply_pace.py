from __future__ import annotations

import time

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Markdown

from luci_tui.tui.widgets import message
from luci_tui.tui.widgets.message import Reply
from tests.support.screen import wait_until

NEVER_S = 1000.0


class ReplyApp(App[int]):
    def compose(self) -> ComposeResult:
        # Its own timer is out of the way, so that the test says when a redraw is due.
        yield Reply(is_plain=False, redraw_s=NEVER_S)


@pytest.mark.parametrize(("most_s", "expected"), [(2 * NEVER_S, "one"), (0.0, "one two")])
async def test_reply_that_was_dear_to_draw_then_waits_but_not_with_its_end(
    monkeypatch: pytest.MonkeyPatch, most_s: float, expected: str
) -> None:
    monkeypatch.setattr(message, "REDRAW_SHARE", 1e-9)
    monkeypatch.setattr(message, "REDRAW_MAX_S", most_s)
    app = ReplyApp()
    async with app.run_test() as pilot:
        reply = app.query_one(Reply)
        body = reply.query_one(Markdown)
        reply.add("one", "")
        await wait_until(pilot, lambda: body.source == "one")
        redraw = reply._redraw_in_turn  # pyright: ignore[reportPrivateUsage]
        before_s = reply._next_redraw_s  # pyright: ignore[reportPrivateUsage]
        await redraw()
        await wait_until(pilot, lambda: reply._next_redraw_s != before_s)  # pyright: ignore[reportPrivateUsage]
        assert (reply._next_redraw_s > time.monotonic()) is (most_s > 0)  # pyright: ignore[reportPrivateUsage]
        reply.add(" two", "")
        await redraw()
        await pilot.pause()
        await wait_until(pilot, lambda: body.source == expected)
        reply.add(" three", "")
        await reply.finish()
        assert body.source == "one two three"
