from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Markdown

from luci_tui.tui.widgets.message import Reply
from luci_tui.tui.widgets.redraw_pace import MAX_S, RedrawPace, share_of_a_processor
from tests.support.screen import wait_until


class ReplyApp(App[int]):
    def compose(self) -> ComposeResult:
        yield Reply(is_plain=False, redraw_s=0.01)


class Times:
    """A clock, and the processor time of a process, that the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.spent_s = 7.0

    def pace(self, max_s: float = MAX_S) -> RedrawPace:
        return RedrawPace(
            max_s=max_s, share=0.05, clock=lambda: self.now_s, spent=lambda: self.spent_s
        )


def test_first_redraw_is_due() -> None:
    assert Times().pace().is_due()


def test_redraw_that_cost_much_then_the_next_is_due_when_it_is_paid_off() -> None:
    times = Times()
    pace = times.pace(max_s=10)
    pace.begin()
    times.spent_s += 0.05
    times.now_s += 0.99
    assert not pace.is_due()
    times.now_s += 0.02
    assert pace.is_due()


def test_other_work_of_the_screen_then_it_is_paid_off_too() -> None:
    times = Times()
    pace = times.pace(max_s=10)
    pace.begin()
    times.now_s += 1.01
    times.spent_s += 0.05
    assert pace.is_due()
    times.spent_s += 0.05
    assert not pace.is_due()


def test_redraw_however_dear_then_the_next_comes_after_the_longest_wait() -> None:
    times = Times()
    pace = times.pace()
    pace.begin()
    times.spent_s += 60
    times.now_s += MAX_S - 0.01
    assert not pace.is_due()
    times.now_s += 0.02
    assert pace.is_due()


@pytest.mark.parametrize(("n_processors", "share"), [(1, 0.015), (2, 0.03), (8, 0.12), (64, 0.25)])
def test_share_grows_with_the_processors(n_processors: int, share: float) -> None:
    assert share_of_a_processor(n_processors) == pytest.approx(share)


async def test_reply_that_is_not_due_then_it_waits_but_not_with_its_end() -> None:
    app = ReplyApp()
    async with app.run_test() as pilot:
        reply = app.query_one(Reply)
        body = reply.query_one(Markdown)
        times = Times()
        reply.pace = times.pace()
        reply.add("one", "")
        await wait_until(pilot, lambda: body.source == "one")
        times.spent_s += 60
        reply.add(" two", "")
        for _ in range(20):
            await pilot.pause(0.01)
        assert body.source == "one"
        times.now_s += MAX_S
        await wait_until(pilot, lambda: body.source == "one two")
        reply.add(" three", "")
        await reply.finish()
        assert body.source == "one two three"
