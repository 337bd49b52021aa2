import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static

from luci_tui.tui import app as tui_app
from luci_tui.tui.chat.column import Column
from luci_tui.tui.chat.entries import NoticeEntry, ReplyEntry, UserEntry
from luci_tui.tui.chat.shown import Shown
from luci_tui.tui.widgets.transcript import Entry, Transcript
from tests.support.screen import WAIT_S

SIZE = (80, 24)
OPEN_S = 1.0
"""A chat of 5,000 messages is open within this time."""


class TranscriptApp(App[None]):
    CSS_PATH: ClassVar = [Path(tui_app.__file__).parent / part for part in tui_app.THEME]
    ENABLE_COMMAND_PALETTE = False

    def compose(self) -> ComposeResult:
        yield Transcript(Static("header"), id="transcript")


def reply(number: int) -> Entry:
    text = f"answer {number} " + "word " * (number % 90) + "\n\n- one\n- two\n"
    return ReplyEntry(Shown(is_user=False, text=text, truth=f"truth {number}"))


def turns(n_messages: int) -> list[Entry]:
    """Make questions and answers of very different height."""
    return [
        reply(number) if number % 2 else UserEntry(Shown(is_user=True, text=f"question {number}"))
        for number in range(n_messages)
    ]


def text_of(app: App[None]) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


def beside_scrollbar(app: App[None]) -> list[str]:
    return [line[:78].rstrip() for line in text_of(app).splitlines()]


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, text_of(pilot.app)
        await pilot.pause()


def n_drawn(transcript: Transcript) -> int:
    return sum(entry.widget is not None for entry in transcript.entries)


async def test_transcript_of_5000_messages_then_only_what_is_near_is_drawn() -> None:
    app = TranscriptApp()
    async with app.run_test(size=SIZE) as pilot:
        transcript = app.query_one(Transcript)
        transcript.extend(turns(5000))
        await until(pilot, lambda: "truth 4999" in text_of(app))
        assert 0 < n_drawn(transcript) < 60


async def test_transcript_scrolled_to_its_beginning_then_that_is_shown_and_the_end_let_go() -> None:
    app = TranscriptApp()
    async with app.run_test(size=SIZE) as pilot:
        transcript = app.query_one(Transcript)
        transcript.extend(turns(1000))
        await until(pilot, lambda: "truth 999" in text_of(app))
        transcript.scroll_home(animate=False)
        await until(pilot, lambda: "question 0" in text_of(app) and "header" in text_of(app))
        await until(pilot, lambda: transcript.entries[-1].widget is None)
        assert n_drawn(transcript) < 60


async def test_transcript_read_upwards_then_no_message_is_skipped() -> None:
    app = TranscriptApp()
    async with app.run_test(size=SIZE) as pilot:
        transcript = app.query_one(Transcript)
        transcript.extend(turns(60))
        await until(pilot, lambda: "truth 59" in text_of(app))
        seen: set[str] = set()
        while transcript.scroll_offset.y > 0:
            await until(pilot, lambda: is_settled(transcript))
            seen |= {line.strip() for line in text_of(app).splitlines()}
            transcript.scroll_relative(y=-10, animate=False, immediate=True)
            await pilot.pause()
        await until(pilot, lambda: is_settled(transcript))
        seen |= {line.strip() for line in text_of(app).splitlines()}
        for number in range(0, 60, 2):
            assert f"> question {number}" in seen
            assert f"truth {number + 1}" in seen


def is_settled(transcript: Transcript) -> bool:
    """Tell whether all that is in sight is whole."""
    view = transcript.region
    rows = sum(
        entry.widget.region.intersection(view).height
        for entry in transcript.entries
        if entry.widget is not None and getattr(entry.widget, "is_settled", True)
    )
    shown = [entry for entry in transcript.entries if entry.widget is not None]
    return rows > view.height // 3 and all(
        getattr(entry.widget, "is_settled", True) for entry in shown
    )


async def test_transcript_scrolled_up_then_what_is_seen_stays_when_something_comes() -> None:
    app = TranscriptApp()
    async with app.run_test(size=SIZE) as pilot:
        transcript = app.query_one(Transcript)
        transcript.extend(turns(100))
        await until(pilot, lambda: "truth 99" in text_of(app))
        transcript.scroll_relative(y=-200, animate=False, immediate=True)
        await until(pilot, lambda: "truth 99" not in text_of(app) and is_settled(transcript))
        before = beside_scrollbar(app)
        await transcript.add(NoticeEntry("something new"))
        await pilot.pause()
        assert beside_scrollbar(app) == before
        transcript.follow()
        await until(pilot, lambda: "something new" in text_of(app))


async def test_transcript_made_narrower_then_the_first_message_in_sight_stays() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(120, 40)) as pilot:
        transcript = app.query_one(Transcript)
        transcript.extend(turns(200))
        await until(pilot, lambda: "truth 199" in text_of(app))
        middle = transcript.entries[100]
        transcript.scroll_to(y=transcript.row_of(middle), animate=False, immediate=True)
        await until(pilot, lambda: "question 100" in text_of(app).splitlines()[1])
        await pilot.resize_terminal(*SIZE)
        await until(pilot, lambda: "question 100" in "\n".join(text_of(app).splitlines()[:4]))


async def test_transcript_cut_then_the_rest_is_at_the_end() -> None:
    app = TranscriptApp()
    async with app.run_test(size=SIZE) as pilot:
        transcript = app.query_one(Transcript)
        transcript.extend(turns(100))
        await until(pilot, lambda: "truth 99" in text_of(app))
        await transcript.cut(50)
        await until(pilot, lambda: "truth 49" in text_of(app))
        assert len(transcript.entries) == 50


async def test_widgets_of_others_then_they_stay_however_far_away() -> None:
    app = TranscriptApp()
    async with app.run_test(size=SIZE) as pilot:
        transcript = app.query_one(Transcript)
        other = Static("made by somebody else")
        await transcript.add(other)
        transcript.extend(turns(300))
        await until(pilot, lambda: "truth 299" in text_of(app))
        transcript.scroll_home(animate=False)
        await until(pilot, lambda: "made by somebody else" in text_of(app))
        assert other.is_attached


@pytest.mark.parametrize(("row", "place"), [(-5, 0), (0, 0), (2, 0), (3, 1), (9, 2), (99, 2)])
def test_column_then_it_knows_which_entry_covers_a_row(row: int, place: int) -> None:
    column = Column()
    column.add([3, 4, 5])
    assert column.at(row) == place


def test_column_measured_then_all_below_moves() -> None:
    column = Column()
    column.add([3, 4, 5])
    column.measure(1, 10)
    assert [column.top(place) for place in range(4)] == [0, 3, 13, 18]
    column.cut(1)
    assert column.total == 3
