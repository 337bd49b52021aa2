import time

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult

from luci_tui.tui.widgets.rows import Column, Row, Rows
from luci_tui.tui.widgets.text import LEAST_PATH, bar, one_line, short_path
from tests.support.layouts import Layouts

COLUMNS = (Column("name"), Column("size", 8, is_number=True), Column("when", 10, rank=1))


class RowsApp(App[None]):
    CSS_PATH = None

    def __init__(self, rows: list[Row], columns: tuple[Column, ...] = COLUMNS) -> None:
        super().__init__()
        self.columns = columns
        self.rows = rows
        self.chosen: list[str] = []

    def compose(self) -> ComposeResult:
        yield Rows(self.columns)

    def on_mount(self) -> None:
        self.query_one(Rows).set_rows(self.rows, "Nothing is here.")

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        self.chosen.append(message.key)


def some(n_rows: int) -> list[Row]:
    return [Row(f"k{n}", (f"model-{n:05}", f"{n} B", "today")) for n in range(n_rows)]


def lines_of(rows: Rows) -> list[str]:
    return [rows.render_line(y).text.rstrip() for y in range(rows.size.height)]


async def test_rows_are_drawn_with_titles_and_a_mark_at_the_cursor() -> None:
    app = RowsApp(some(2))
    async with app.run_test(size=(40, 5)):
        assert lines_of(app.query_one(Rows)) == [
            "  name                  size  when",
            "> model-00000            0 B  today",
            "  model-00001            1 B  today",
            "",
            "",
        ]


async def test_column_of_less_worth_goes_where_there_is_no_room() -> None:
    app = RowsApp(some(1))
    async with app.run_test(size=(26, 3)):
        assert lines_of(app.query_one(Rows))[1] == "> model-00000          0 B"


async def test_every_key_moves_the_cursor() -> None:
    app = RowsApp(some(30))
    async with app.run_test(size=(40, 11)) as pilot:
        rows = app.query_one(Rows)
        for keys, key in (
            (("down", "j"), "k2"),
            (("up",), "k1"),
            (("k",), "k0"),
            (("pagedown",), "k9"),
            (("pageup",), "k0"),
            (("end",), "k29"),
            (("home",), "k0"),
            (("G",), "k29"),
            (("g", "up"), "k0"),
        ):
            await pilot.press(*keys)
            assert rows.key == key
        await pilot.press("enter")
        assert app.chosen == ["k0"]


async def test_click_moves_the_cursor_and_a_second_one_chooses() -> None:
    app = RowsApp(some(5))
    async with app.run_test(size=(40, 10)) as pilot:
        rows = app.query_one(Rows)
        await pilot.click(Rows, offset=(3, 3))
        assert rows.key == "k2"
        assert app.chosen == []
        await pilot.click(Rows, offset=(3, 3), times=2)
        assert app.chosen == ["k2"]
        await pilot.click(Rows, offset=(3, 0))
        await pilot.click(Rows, offset=(3, 8))
        assert rows.key == "k2"


async def test_cursor_stays_with_its_row_when_others_come_and_go() -> None:
    app = RowsApp(some(5))
    async with app.run_test(size=(40, 10)) as pilot:
        rows = app.query_one(Rows)
        await pilot.press("down", "down")
        rows.set_rows([Row("new", ("new", "", "")), *some(5)])
        assert rows.key == "k2"
        rows.set_rows(some(2))
        assert rows.key == "k1"
        rows.set_rows([])
        assert rows.key == ""


async def test_empty_list_and_filter_without_a_hit_say_so() -> None:
    app = RowsApp([])
    async with app.run_test(size=(60, 4)):
        rows = app.query_one(Rows)
        assert lines_of(rows)[1] == "  Nothing is here."
        rows.set_rows(some(3))
        rows.set_filter("zzz")
        assert lines_of(rows)[1] == '  Nothing here has "zzz". Esc takes the filter away.'


async def test_filter_over_ten_thousand_rows_finds_all_words_within_50_ms() -> None:
    app = RowsApp(some(10_000))
    async with app.run_test(size=(60, 20)):
        rows = app.query_one(Rows)
        rows.set_filter("m")
        fastest_s = 9.0
        for _ in range(5):
            start_s = time.perf_counter()
            rows.set_filter("MODEL 0999")
            lines_of(rows)
            fastest_s = min(fastest_s, time.perf_counter() - start_s)
        assert rows.n_shown == 11
        assert fastest_s < 0.05


async def test_filter_lays_the_screen_out_only_where_a_scrollbar_comes_or_goes() -> None:
    app = RowsApp(some(1000))
    async with app.run_test(size=(40, 9)) as pilot:
        rows = app.query_one(Rows)
        await pilot.pause()
        layouts = Layouts(app)
        for text, n_shown in (("l-000", 100), ("9", 271), ("", 1000), ("99", 19)):
            rows.set_filter(text)
            await pilot.pause()
            assert (rows.n_shown, rows.show_vertical_scrollbar) == (n_shown, True)
        assert rows.vertical_scrollbar.window_virtual_size == 20
        assert layouts.count == 0
        rows.set_filter("00099")
        await pilot.pause()
        assert (rows.n_shown, rows.show_vertical_scrollbar) == (1, False)
        assert layouts.count == 1
        rows.set_filter("")
        await pilot.pause()
        await pilot.press("end")
        assert (rows.key, rows.show_vertical_scrollbar) == ("k999", True)
        assert rows.line_of("k999").y == 8


async def test_list_that_grows_with_its_rows_takes_the_room() -> None:
    app = RowsApp(some(2))
    app.CSS = "Rows { height: auto; }"
    async with app.run_test(size=(40, 11)) as pilot:
        rows = app.query_one(Rows)
        assert rows.size.height == 3
        rows.set_rows(some(7))
        await pilot.pause()
        assert rows.size.height == 8


async def test_wide_characters_keep_the_columns() -> None:
    app = RowsApp([Row("a", ("日本語モデル" * 4, "1 B", "today"))])
    async with app.run_test(size=(40, 3)):
        strip = app.query_one(Rows).render_line(1)
        assert strip.cell_length == 40
        assert "…" in strip.text


def test_text_of_a_cell_has_one_line_and_nothing_that_acts() -> None:
    assert one_line("a\nb\tc\x1b[2J\u202e[red]") == "a b c[red]"


def test_bar_is_full_only_when_all_is_done() -> None:
    assert bar(0.999) == "[###################-]  99%"
    assert bar(1.0) == "[####################] 100%"
    assert bar(-1) == "[--------------------]   0%"


@pytest.mark.parametrize(
    ("path", "width", "shown"),
    [
        ("/home/me/.luciferai", 19, "/home/me/.luciferai"),
        ("/home/me/.luciferai", 18, "/home…e/.luciferai"),
        ("/a/very/long/way/to/the/home/of/luci", 20, "/a/ver…/home/of/luci"),
        ("/home/me/.luciferai", 3, "/ho…uciferai"),
        ("/日本語/日本語/日本語", 14, "/日…語/日本語"),
    ],
)
def test_short_path_keeps_both_ends(path: str, width: int, shown: str) -> None:
    assert short_path(path, width) == shown
    assert cell_len(shown) <= max(width, LEAST_PATH)


async def test_column_that_takes_what_is_left_takes_no_more_than_its_most() -> None:
    columns = (
        Column("name", 6),
        Column("value", least=4, most=10, is_number=True),
        Column("by", 3),
    )
    app = RowsApp([Row("a", ("a", "1", "me"))], columns)
    async with app.run_test(size=(60, 5)):
        assert lines_of(app.query_one(Rows))[1] == "> a                1  me"
