import pytest

from luci_tui.host.api.messages import Jobs, JobState
from luci_tui.tui.screens.jump import LETTERS, MAX_SPOTS, labels_for
from luci_tui.tui.widgets.prompt import PromptInput
from luci_tui.tui.widgets.rows import Rows
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.keys import Keys, presses
from tests.support.screen import NOW_S, modes_app, prompt_of, shown_text, wait_for_text, wait_until
from tests.support.screen_texts import check_in_both_themes
from tests.tui.test_away import job

SIZES = ((80, 24), (120, 40))
JOBS = tuple(job(number, JobState.RUNNING, None) for number in (12, 11, 10))


@pytest.fixture
def link() -> FakeLink:
    return FakeLink(FakeHost({"/luci/jobs": Jobs(jobs=JOBS)}))


@pytest.mark.parametrize("n_spots", [0, 1, len(LETTERS), len(LETTERS) + 1, MAX_SPOTS])
def test_labels_for_any_number_are_unlike_and_none_begins_another(n_spots: int) -> None:
    labels = labels_for(n_spots)
    assert len(set(labels)) == n_spots
    assert len({len(label) for label in labels}) <= 1


@pytest.mark.parametrize("size", SIZES)
async def test_jump_labels_rows_and_goes_to_the_one_that_is_typed(
    link: FakeLink, size: tuple[int, int]
) -> None:
    app = modes_app(link)
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "quantize m12")
        await pilot.press("f6")
        await wait_for_text(pilot, "Type a label. Esc goes back.")
        await check_in_both_themes(pilot, "jump")
        await pilot.press("d")
        await wait_until(pilot, lambda: app.screen.query_one(Rows).key == "10")


async def test_jump_to_the_number_of_a_mode_goes_there(link: FakeLink) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("alt+j")
        await wait_for_text(pilot, "Type a label.")
        await pilot.press("4")
        await wait_for_text(pilot, "quantize m12")


async def test_jump_from_the_row_of_modes_to_the_prompt(link: FakeLink) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("shift+tab")
        await wait_until(pilot, lambda: not isinstance(app.focused, PromptInput))
        await pilot.press("f6")
        await wait_for_text(pilot, "[a]")
        await pilot.press("a")
        await wait_until(pilot, lambda: isinstance(app.focused, PromptInput))
        assert prompt_of(app).text == ""


async def test_jump_with_more_places_than_letters_then_two_are_typed() -> None:
    jobs = tuple(job(number, JobState.RUNNING, None) for number in range(30, 0, -1))
    app = modes_app(FakeLink(FakeHost({"/luci/jobs": Jobs(jobs=jobs)})))
    async with app.run_test(size=(80, 40)) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "quantize m30")
        await pilot.press("f6")
        await wait_for_text(pilot, "[as]")
        await pilot.press("s")
        await wait_until(pilot, lambda: "[as]" not in shown_text(app))
        assert "[sa]" in shown_text(app)
        await pilot.press("a")
        await wait_until(pilot, lambda: app.screen.query_one(Rows).key == "4")


async def test_jump_takes_no_other_letter_and_escape_goes_back(link: FakeLink) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "quantize m12")
        await pilot.press("f6")
        await wait_for_text(pilot, "Type a label.")
        await pilot.press("x", "enter")
        assert "Type a label." in shown_text(app)
        await pilot.press("escape")
        await wait_until(pilot, lambda: "Type a label." not in shown_text(app))
        assert "quantize m12" in shown_text(app)


async def test_jump_with_nowhere_to_go_then_it_says_so() -> None:
    app = modes_app(FakeLink(FakeHost({"/luci/jobs": Jobs(jobs=())})))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        for widget in app.screen.focus_chain:
            widget.disabled = True
        await pilot.press("f6")
        await wait_for_text(pilot, "There is nothing to go to here.")


async def test_jump_in_a_terminal_that_gets_another_size_goes_back(link: FakeLink) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("f6")
        await wait_for_text(pilot, "Type a label.")
        await pilot.resize_terminal(100, 30)
        await wait_until(pilot, lambda: "Type a label." not in shown_text(app))


@presses("app.jump", "jump.leave")
async def test_keys_of_the_jump(link: FakeLink, keys: Keys) -> None:
    app = modes_app(link)
    advice = "Type a label."
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        for key, leave in (("f6", "escape"), ("f6", "f6"), ("alt+j", "alt+j")):
            await keys.press(pilot, "app.jump", key, advice)
            await keys.press(pilot, "jump.leave", leave, lambda: advice not in shown_text(app))


@pytest.mark.parametrize("size", SIZES)
async def test_more_places_than_letters_look_as_drawn(size: tuple[int, int]) -> None:
    many = tuple(job(number, JobState.DONE, NOW_S - number) for number in range(60, 0, -1))
    app = modes_app(FakeLink(FakeHost({"/luci/jobs": Jobs(jobs=many)})))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "quantize m60")
        await pilot.press("f6")
        await wait_for_text(pilot, "Type a label. Esc goes back.")
        await check_in_both_themes(pilot, "jump-many")
