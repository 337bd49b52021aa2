"""The footer leaves keys out where not all fit, but never those that find the others."""

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.pilot import Pilot

from luci_tui.tui.widgets.key_footer import KeyFooter


class FooterApp(App[None]):
    CSS_PATH = None
    BINDINGS = [  # noqa: RUF012
        *(Binding(letter, "bell", f"Word {letter}", id=f"some.{letter}") for letter in "abc"),
        Binding("q", "screen.bell", "Away", id="some.leave"),
        Binding("d", "app.beep", "Word d", id="some.d"),
        Binding("f1", "app.help", "Help", id="app.help"),
    ]

    def compose(self) -> ComposeResult:
        yield KeyFooter()


def shown(app: FooterApp) -> list[str]:
    footer = app.query_one(KeyFooter)
    return [child.description for child in footer.query("FooterKey")]  # type: ignore[attr-defined]


async def until(pilot: Pilot[None], app: FooterApp, words: list[str]) -> None:
    for _ in range(100):
        if shown(app) == words:
            return
        await pilot.pause()
    assert shown(app) == words


async def test_footer_that_gets_narrow_then_the_last_keys_go_and_the_way_out_stays() -> None:
    app = FooterApp()
    async with app.run_test(size=(80, 5)) as pilot:
        await until(pilot, app, ["Word a", "Away", "Word d", "Help"])
        await pilot.resize_terminal(32, 5)
        await until(pilot, app, ["Word a", "Away", "Help"])
        await pilot.resize_terminal(20, 5)
        await until(pilot, app, ["Away", "Help"])
        await pilot.resize_terminal(80, 5)
        await until(pilot, app, ["Word a", "Away", "Word d", "Help"])
