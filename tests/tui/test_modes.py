import subprocess
import sys

import pytest

from luci_tui.errors import HostError
from luci_tui.host.api.messages import Jobs
from luci_tui.tui.mode_list import TABS
from luci_tui.tui.preferences import Preferences
from luci_tui.tui.screens.palette import Command, PaletteScreen
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.keys import Keys, presses
from tests.support.screen import (
    chat_app,
    modes_app,
    prompt_of,
    shown_text,
    wait_for_text,
    wait_until,
)
from tests.support.screen_texts import check_in_both_themes
from tests.support.scripted_engine import Gate, ScriptedEngine, done, text

SIZES = ((80, 24), (120, 40))


@pytest.fixture
def link() -> FakeLink:
    return FakeLink(FakeHost({"/luci/jobs": Jobs(jobs=())}))


async def test_app_without_a_host_has_only_the_chat() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "ready")
        assert "Jobs" not in shown_text(app)
        assert app.current_mode == "chat"


async def test_digit_typed_into_the_prompt_is_text_and_with_alt_goes_to_a_mode(
    link: FakeLink,
) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("4")
        assert prompt_of(app).text == "4"
        await pilot.press("alt+4")
        await wait_for_text(pilot, "No job has run yet")
        await pilot.press("1")
        await wait_for_text(pilot, "│ 4 ")
        assert app.current_mode == "chat"


async def test_click_on_the_row_of_modes_goes_there(link: FakeLink) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        at = shown_text(app).splitlines()[0].index("Jobs")
        await pilot.click("#modebar", offset=(at, 0))
        await wait_for_text(pilot, "No job has run yet")


async def test_tab_and_arrows_choose_a_mode(link: FakeLink) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("shift+tab", "right", "right", "right", "enter")
        await wait_for_text(pilot, "No job has run yet")


async def test_row_of_modes_in_a_narrow_terminal_names_only_the_present_one(
    link: FakeLink,
) -> None:
    app = modes_app(link)
    async with app.run_test(size=(24, 10)) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "[4 Jobs]")
        assert "Chat" not in shown_text(app).splitlines()[0]


@pytest.mark.parametrize("size", SIZES)
async def test_palette_finds_an_action_by_its_name_and_does_it(
    link: FakeLink, size: tuple[int, int]
) -> None:
    app = modes_app(link)
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+p")
        await wait_for_text(pilot, "What do you want to do?")
        await check_in_both_themes(pilot, "palette")
        await pilot.press(*"go jobs", "enter")
        await wait_for_text(pilot, "No job has run yet")


async def test_palette_puts_names_before_what_is_said_about_them(link: FakeLink) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        chosen: list[str | None] = []
        commands = [
            Command("one", "builtin", "", "/models/luci-shell.gguf"),
            Command("two", "my-shell", "", "mine"),
        ]
        app.push_screen(PaletteScreen(commands), chosen.append)
        await wait_for_text(pilot, "> builtin")
        await pilot.press(*"shell")
        await wait_for_text(pilot, "> my-shell")
        await pilot.press("enter")
        await wait_until(pilot, lambda: chosen == ["two"])


async def test_palette_is_left_with_escape_and_with_its_key(link: FakeLink) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        for key in ("escape", "ctrl+p"):
            await pilot.press("ctrl+p")
            await wait_for_text(pilot, "What do you want to do?")
            await pilot.press(key)
            await wait_until(pilot, lambda: "What do you want" not in shown_text(app))


async def test_palette_changes_the_theme(link: FakeLink) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+p")
        await wait_for_text(pilot, "What do you want to do?")
        await pilot.press(*"theme nord", "enter")
        await wait_until(pilot, lambda: app.theme == "nord")


@pytest.mark.parametrize("size", SIZES)
async def test_help_names_the_keys_of_the_mode_and_those_everywhere(
    link: FakeLink, size: tuple[int, int]
) -> None:
    app = modes_app(link, Preferences(keys={"jobs.cancel": "k"}))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "No job has run yet")
        await pilot.press("f1")
        await wait_for_text(pilot, "Esc closes this page.")
        await check_in_both_themes(pilot, "help")
        await pilot.press("escape")
        await wait_for_text(pilot, "No job has run yet")


async def test_action_with_another_key_works_with_that_key_only(link: FakeLink) -> None:
    app = modes_app(link, Preferences(keys={"app.help": "f7"}))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("f1")
        await pilot.pause()
        assert "Esc closes" not in shown_text(app)
        assert "f7 Help" in shown_text(app)
        await pilot.press("f7")
        await wait_for_text(pilot, "Esc closes this page.")


async def test_prompt_sends_with_another_key(link: FakeLink) -> None:
    app = modes_app(link, Preferences(keys={"prompt.send": "ctrl+s", "prompt.newline": "enter"}))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("a", "enter", "b")
        assert prompt_of(app).text == "a\nb"
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "> a")


async def test_key_that_clashes_and_theme_that_is_not_there_are_told(link: FakeLink) -> None:
    app = modes_app(link, Preferences(theme="nothing", keys={"jobs.cancel": "slash"}))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await wait_for_text(pilot, 'there is no theme "nothing"')
        await wait_for_text(pilot, '/ is "live.filter" already')


async def test_host_that_cannot_be_reached_is_one_sentence_and_is_looked_for_again(
    link: FakeLink,
) -> None:
    link.error = HostError("The host does not answer.", code="unreachable")
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "Error: The host does not answer.")
        link.error = None
        await wait_for_text(pilot, "No job has run yet")
        assert link.n_dropped >= 1


async def test_host_that_left_is_told_and_ctrl_r_starts_one(link: FakeLink) -> None:
    there, link.host = link.host, None
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "No host runs. Ctrl-R starts one")
        link.starts = there
        await pilot.press("ctrl+r")
        await wait_for_text(pilot, "No job has run yet")
        assert link.n_started == 2


async def test_answer_goes_on_while_another_mode_is_looked_at(link: FakeLink) -> None:
    gate = Gate()
    engine = ScriptedEngine([text("begun "), gate, text("ended"), done()])
    app = modes_app(link, engine=engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "begun")
        await pilot.press("alt+4")
        await wait_for_text(pilot, "No job has run yet")
        gate.opened.set()
        await pilot.press("1")
        await wait_for_text(pilot, "begun ended")


def test_what_stands_before_the_first_frame_imports_no_mode_and_no_plots() -> None:
    program = (
        "import sys\n"
        "import luci_tui.tui.start\n"
        "late = ('plotext', 'textual_plotext', 'pydantic', 'luci_tui.tui.modes.bench.screen')\n"
        "sys.stdout.write(' '.join(name for name in late if name in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""


# ---- keys


@presses(*(f"mode.{tab.name}" for tab in TABS))
async def test_keys_of_the_modes(link: FakeLink, keys: Keys) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        for tab in TABS:
            action, number = f"mode.{tab.name}", str(tab.number)
            for key in (number, f"alt+{number}"):
                # Letters and numbers are text in the chat; in a list they are keys.
                await pilot.press("alt+8" if tab.name == "jobs" else "alt+4")
                await wait_until(pilot, lambda: app.current_mode in ("jobs", "logs"))
                await wait_until(pilot, lambda: app.screen.focused is not None)
                await keys.press(pilot, action, key, lambda name=tab.name: app.current_mode == name)


@presses("modebar.left", "modebar.right", "modebar.go")
async def test_keys_of_the_row_of_modes(link: FakeLink, keys: Keys) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("shift+tab")
        await wait_for_text(pilot, "[1 Chat]")
        await keys.press(pilot, "modebar.right", "right", "[2 Models]")
        await keys.press(pilot, "modebar.left", "left", "[1 Chat]")
        await pilot.press("right", "right", "right")
        await keys.press(pilot, "modebar.go", "enter", "No job has run yet")


@presses("app.palette", "palette.close", "app.help", "help.close")
async def test_keys_of_palette_and_help(link: FakeLink, keys: Keys) -> None:
    app = modes_app(link)
    question, end = "What do you want to do?", "Esc closes this page."
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        for key in ("escape", "ctrl+p"):
            await keys.press(pilot, "app.palette", "ctrl+p", question)
            await keys.press(pilot, "palette.close", key, lambda: question not in shown_text(app))
        for key in ("escape", "f1", "q", "enter", "question_mark"):
            await keys.press(pilot, "app.help", "f1", end)
            await keys.press(pilot, "help.close", key, lambda: end not in shown_text(app))


@presses("app.quit", "app.copy_or_quit")
async def test_keys_that_quit(link: FakeLink, keys: Keys) -> None:
    app = modes_app(link)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "No job has run yet")
        # Textual asks the screen first, which has nothing to copy.
        said = "Nothing is selected to copy"
        await keys.press(pilot, "app.copy_or_quit", "ctrl+c", said, is_behind=True)
        await keys.press(pilot, "app.quit", "ctrl+q", lambda: app.return_code == 0)
