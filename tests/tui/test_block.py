"""Text that changes often: it is laid out anew only where it takes other room."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.containers import Vertical

from luci_tui.tui.widgets.block import Block
from tests.support.layouts import Layouts

WIDTH = 20


class BlockApp(App[None]):
    CSS = """
    .tall { height: auto; }
    .wide { width: auto; height: 1; }
    .fixed { height: 3; }
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.block = Block(classes=kind)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self.block


@pytest.mark.parametrize(
    ("kind", "first", "then", "takes_other_room"),
    [
        ("tall", "one line", "another", False),
        ("tall", "one line", "two lines, since it is too long", True),
        ("tall", "one line", "two\nlines", True),
        ("tall", "two\nlines", "one", True),
        ("wide", "1 of 9", "2 of 9", False),
        ("wide", "1 of 9", "10 of 19", True),
        ("fixed", "one", "two\nlines", False),
    ],
)
async def test_other_words_are_laid_out_where_they_take_other_room(
    kind: str, first: str, then: str, takes_other_room: bool
) -> None:
    app = BlockApp(kind)
    async with app.run_test(size=(WIDTH, 9)) as pilot:
        app.block.say(first)
        await pilot.pause()
        layouts = Layouts(app)
        app.block.say(then)
        await pilot.pause()
        assert bool(layouts.count) == takes_other_room
        drawn = "\n".join(
            strip.text.rstrip() for strip in app.block.render_lines(app.block.size.region)
        )
        assert drawn.strip().replace("\n", " ") == then.replace("\n", " ")


async def test_words_that_are_said_while_hidden_take_their_room_when_shown() -> None:
    app = BlockApp("tall")
    async with app.run_test(size=(WIDTH, 9)) as pilot:
        app.block.say("one line")
        await pilot.pause()
        app.block.display = False
        await pilot.pause()
        app.block.say("three\nlines\nnow")
        app.block.display = True
        await pilot.pause()
        assert app.block.size.height == 3
