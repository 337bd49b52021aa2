import asyncio
from pathlib import Path

import pytest
from textual.app import App

from luci_tui.catalog.entries import CatalogEntry
from luci_tui.errors import DownloadError
from luci_tui.host.api.messages import Jobs
from luci_tui.library.suggest import Pace, Suggestion
from luci_tui.tui.app import ChatApp
from luci_tui.tui.first_look import FirstLook
from luci_tui.tui.messages import AnswerBegan
from luci_tui.tui.modes.system.words import MachineFigures
from luci_tui.tui.widgets.welcome import Welcome
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.keys import Keys, presses
from tests.support.screen import chat_screen, modes_app, prompt_of, shown_text, wait_for_text
from tests.support.screen_texts import check_in_both_themes
from tests.support.scripted_engine import ScriptedEngine, done, text

GIB = 1024**3
SIZES = ((80, 24), (120, 40))
MACHINE = MachineFigures(
    ram_total_bytes=16 * GIB,
    ram_available_bytes=8 * GIB,
    cpu_fraction=0.0,
    n_cores=2,
    disk_total_bytes=200 * GIB,
    disk_free_bytes=112 * GIB,
    home="/home/me/.luciferai",
)


def suggestion(name: str, size_bytes: int, pace: Pace) -> Suggestion:
    entry = CatalogEntry(
        name=name,
        repo="org/name",
        files=("a.gguf",),
        size_bytes=size_bytes,
        parameters_b=1.0,
        n_ctx=4096,
        tier=1,
        licence="mit",
    )
    return Suggestion(entry, size_bytes + GIB // 2, pace)


THREE = (
    suggestion("llama3.2-1b", GIB // 2, Pace.QUICK),
    suggestion("qwen3-4b-2507", 2 * GIB, Pace.STEADY),
    suggestion("gemma3-12b", 6 * GIB, Pace.SLOW),
)


def look(
    suggestions: tuple[Suggestion, ...] = THREE,
    gpus: tuple[str, ...] | None = (),
    n_catalogue: int = 170,
) -> FirstLook:
    return FirstLook(MACHINE, gpus, suggestions, n_catalogue)


def app_of(found: FirstLook, host: FakeHost | None = None, **fields: object) -> ChatApp:
    async def look_around() -> FirstLook:
        return found

    fake = host or FakeHost({"/luci/jobs": Jobs(jobs=())})
    return modes_app(FakeLink(fake), look_around=look_around, **fields)


@pytest.mark.parametrize("size", SIZES)
async def test_first_start_welcomes_and_swallows_no_key(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    app = app_of(look(), home=tmp_path)
    async with app.run_test(size=size) as pilot:
        await pilot.press(*"hello")
        await wait_for_text(pilot, "gemma3-12b")
        await check_in_both_themes(pilot, "welcome")
        assert prompt_of(app).text == "hello"


async def test_second_start_shows_the_empty_chat_and_a_key_brings_the_welcome(
    tmp_path: Path,
) -> None:
    (tmp_path / "screen.json").write_text('{"seen_at": 0}')
    app = app_of(look(), home=tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        assert "Welcome" not in shown_text(app)
        await pilot.press("alt+4", "f2")
        await wait_for_text(pilot, "gemma3-12b")


async def test_first_prompt_then_the_welcome_makes_room(tmp_path: Path) -> None:
    async def look_around() -> FirstLook:
        return look()

    app = modes_app(
        FakeLink(FakeHost({})),
        engine=ScriptedEngine([text("yes"), done()]),
        look_around=look_around,
        home=tmp_path,
    )
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "gemma3-12b")
        await pilot.press(*"hello", "enter")
        await wait_for_text(pilot, "TTFT")
        assert "gemma3-12b" not in shown_text(app)
        assert chat_screen(app).transcript.max_scroll_y == 0, "its rows are gone too"


async def test_answer_that_begins_while_the_welcome_is_on_its_way_then_it_does_not_come(
    tmp_path: Path,
) -> None:
    app = app_of(look(), home=tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "gemma3-12b")
        app.action_welcome()
        await app.on_answer_began(AnswerBegan())
        await pilot.pause()
        assert "welcome" not in {worker.group for worker in app.workers}
        assert not app.screen.query(Welcome)


async def test_welcome_taken_away_while_it_is_laid_out_then_the_screen_goes_on(
    tmp_path: Path,
) -> None:
    async def look_around() -> FirstLook:
        return look()

    (tmp_path / "screen.json").write_text('{"seen_at": 0}')
    app = app_of(look(), home=tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        # How many steps mounting takes is Textual's; one of these falls between its two halves.
        for n_steps in range(0, 40, 2):
            mounting = app.screen.mount(Welcome(look_around))
            for _ in range(n_steps):
                await asyncio.sleep(0)
            await app.screen.query(Welcome).remove()
            await mounting
        await wait_for_text(pilot, "ready")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (look((), n_catalogue=170), "No model of the catalogue fits into 8.00 GiB"),
        (look((), n_catalogue=0), "Every model of the catalogue is here already"),
        (look(gpus=None), "GPU not known"),
        (look(gpus=("RTX\x1b[2J 4090 (20.0 GiB free)",)), "4090 (20.0 GiB free)"),
    ],
)
async def test_welcome_says_what_this_machine_is(
    tmp_path: Path, found: FirstLook, expected: str
) -> None:
    app = app_of(found, home=tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for_text(pilot, expected)
        assert "\x1b" not in shown_text(app)


async def test_suggestion_is_gone_to_and_asked_before_it_is_installed(tmp_path: Path) -> None:
    refuses = FakeHost({"/luci/downloads/plan": DownloadError("The hub is away.", code="offline")})
    app = app_of(look(), refuses, home=tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await wait_for_text(pilot, "gemma3-12b")
        await pilot.press("shift+tab")
        await wait_for_text(pilot, "> gemma3-12b")
        await pilot.press("up")
        await wait_for_text(pilot, "> qwen3-4b-2507")
        await pilot.press("up", "down", "enter")
        await wait_for_text(pilot, "The hub is away.")
    (asked,) = refuses.asked
    assert asked.path == "/luci/downloads/plan"
    assert getattr(asked.body, "wanted", "") == "qwen3-4b-2507"


@presses("app.welcome", "welcome.up", "welcome.down", "welcome.install")
async def test_keys_of_the_welcome(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "screen.json").write_text('{"seen_at": 0}')
    refuses = FakeHost({"/luci/downloads/plan": DownloadError("The hub is away.", code="offline")})
    app = app_of(look(), refuses, home=tmp_path)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await keys.press(pilot, "app.welcome", "f2", "gemma3-12b")
        await pilot.press("shift+tab")
        await wait_for_text(pilot, "> gemma3-12b")
        await keys.press(pilot, "welcome.up", "up", "> qwen3-4b-2507")
        await keys.press(pilot, "welcome.down", "down", "> gemma3-12b")
        await keys.press(pilot, "welcome.install", "enter", "The hub is away.")


# ---- looks


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "found", "waits_for"),
    [
        ("welcome-nothing-fits", look((), n_catalogue=170), "No model of the catalogue fits"),
        ("welcome-all-here", look((), n_catalogue=0), "Every model of the catalogue"),
    ],
)
async def test_welcome_without_suggestions_looks_as_drawn(
    tmp_path: Path, name: str, found: FirstLook, waits_for: str, size: tuple[int, int]
) -> None:
    app = app_of(found, home=tmp_path)
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, waits_for)
        await check_in_both_themes(pilot, name)


@pytest.mark.parametrize("size", SIZES)
async def test_welcome_that_still_looks_around_looks_as_drawn(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    seen = asyncio.Event()

    async def look_around() -> FirstLook:
        await seen.wait()
        return look()

    app = modes_app(FakeLink(FakeHost({})), look_around=look_around, home=tmp_path)
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "Looking at this machine")
        await check_in_both_themes(pilot, "welcome-looking")
        seen.set()
        await wait_for_text(pilot, "gemma3-12b")


async def test_welcome_taken_away_while_it_is_laid_out_then_it_looks_at_nothing() -> None:
    n_looks = 0

    async def look_around() -> FirstLook:
        nonlocal n_looks
        n_looks += 1
        return look()

    app: App[None] = App()
    async with app.run_test() as pilot:
        welcome = Welcome(look_around)
        app.mount(welcome)
        await welcome.remove()
        await pilot.pause()
    assert n_looks == 0
