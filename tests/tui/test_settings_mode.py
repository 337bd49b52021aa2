import asyncio
import os
from pathlib import Path

import pytest
from textual.pilot import Pilot

from luci_tui.errors import ConfigError, HostError
from luci_tui.host.api.messages import SettingsInUse
from luci_tui.setting_sources import PROFILE_VARIABLE
from luci_tui.settings import load_settings
from luci_tui.settings_schema import all_settings
from luci_tui.tui.app import ChatApp
from luci_tui.tui.key_actions import ACTIONS
from luci_tui.tui.modes.settings import reading
from luci_tui.tui.modes.settings.reading import check_words, read_page
from luci_tui.tui.widgets.rows import Rows
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.keys import Keys, presses
from tests.support.screen import modes_app, shown_text, wait_for_text, wait_until
from tests.support.screen_texts import check_in_both_themes

SIZES = ((80, 24), (120, 40))
FILE = """\
[host]
# stays
idle_exit_s = 0

[keys]
"jobs.cancel" = "k"

[profile.laptop.host]
model_ttl_s = 60
"""
IN_HOST = SettingsInUse(values={"host": {"idle_exit_s": 600.0, "drain_s": 10.0}})
FIRST = "Seconds without anything to do"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # A relative path is the same on every machine, for the captures.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUCI_HOME", "home")
    for name in [one for one in os.environ if one.startswith("LUCI_") and one != "LUCI_HOME"]:
        if name != "LUCI_WRITE_SCREENS":
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text(FILE)
    return home


@pytest.fixture
def few_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show the keys of some actions alone, so that a capture is the same with others more."""
    shown = {"app.help", "app.quit", "jobs.cancel"}
    monkeypatch.setattr(reading, "ACTIONS", [one for one in ACTIONS if one.id in shown])


def app_with(host: FakeHost | None = None) -> ChatApp:
    return modes_app(FakeLink(host or FakeHost({"/luci/settings": IN_HOST})))


async def go_to(pilot: Pilot[int], key: str) -> None:
    """Put the cursor on a setting by filtering for it."""
    await pilot.press("slash", *key)
    await wait_for_text(pilot, f"> {key}")
    await pilot.press("enter")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "keys", "waits_for"),
    [
        ("settings", (), "The host that runs goes by 600."),
        ("settings-changed", ("m",), 'keys."jobs.cancel"'),
        ("settings-edit", ("e",), "Enter takes it"),
        ("settings-profile", ("p",), "a new one"),
    ],
)
async def test_settings_are_drawn(
    few_actions: None, size: tuple[int, int], name: str, keys: tuple[str, ...], waits_for: str
) -> None:
    del few_actions
    app = app_with()
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, FIRST)
        await pilot.press(*keys)
        await wait_for_text(pilot, waits_for)
        await check_in_both_themes(pilot, name)


@pytest.mark.parametrize("size", SIZES)
async def test_settings_without_a_file_and_host_are_the_defaults(
    few_actions: None, size: tuple[int, int], home: Path
) -> None:
    del few_actions
    (home / "config.toml").unlink()
    app = modes_app(FakeLink(None))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, "(not there yet) · 0 set")
        await check_in_both_themes(pilot, "settings-empty")
        await pilot.press("m")
        await wait_for_text(pilot, "Nothing is set: every setting has its default.")


@pytest.mark.parametrize("size", SIZES)
async def test_settings_that_cannot_be_read_are_told_with_their_line(
    few_actions: None, size: tuple[int, int], home: Path
) -> None:
    del few_actions
    (home / "config.toml").write_text('[host]\nmax_jobs = "many"\n[nothing]\n\nx = = 1\n')
    app = app_with()
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, "Error: home/config.toml is no valid TOML")
        await check_in_both_themes(pilot, "settings-broken")
        await pilot.press("e")
        await wait_for_text(pilot, "Enter takes it")
        await pilot.press("5", "enter")
        await wait_until(pilot, lambda: "Enter takes it" not in shown_text(app))
        assert (home / "config.toml").read_text().endswith("x = = 1\n")


async def test_edit_writes_the_file_and_says_that_the_host_waits(home: Path) -> None:
    app = app_with()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, FIRST)
        await go_to(pilot, "host.drain_s")
        await pilot.press("enter")
        await wait_for_text(pilot, "number, 0 to 3600")
        await pilot.press("backspace", "backspace", *"many", "enter")
        await wait_for_text(pilot, "host.drain_s cannot be 'many'")
        await pilot.press(*["backspace"] * 4, *"25", "enter")
        await wait_for_text(pilot, "host.drain_s = 25. The host goes by 10")
        await wait_for_text(pilot, "config.toml:4")
    assert load_settings(home, {}).host.drain_s == 25
    assert "# stays" in (home / "config.toml").read_text()


async def test_truth_is_chosen_from_a_list(home: Path) -> None:
    app = app_with()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, FIRST)
        await go_to(pilot, "host.log_texts")
        await pilot.press("e")
        await wait_for_text(pilot, "> false")
        await pilot.press("escape")
        await wait_until(pilot, lambda: "> false" not in shown_text(app))
        await pilot.press("e")
        await wait_for_text(pilot, "> false")
        await pilot.press("up", "enter")
        await wait_for_text(pilot, "host.log_texts = true")
    assert load_settings(home, {}).host.log_texts is True


async def test_theme_that_is_chosen_is_seen_at_once(home: Path) -> None:
    app = app_with()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, FIRST)
        await go_to(pilot, "screen.theme")
        await pilot.press("e")
        await wait_for_text(pilot, "> ansi-dark")
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: app.theme == "ansi-light")
    assert load_settings(home, {}).screen.theme == "ansi-light"


async def test_unset_takes_the_line_out_and_is_offered_only_where_there_is_one(
    home: Path,
) -> None:
    app = app_with()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, "u Unset")
        await pilot.press("u")
        await wait_for_text(pilot, "1 set")
        await wait_until(pilot, lambda: "u Unset" not in shown_text(app))
        await pilot.press("delete")
    assert load_settings(home, {}).host.idle_exit_s == 600
    assert "jobs.cancel" in (home / "config.toml").read_text()


async def test_key_that_is_taken_is_refused_and_another_one_is_written(home: Path) -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, FIRST)
        await go_to(pilot, 'keys."jobs.resume"')
        await pilot.press("e")
        await wait_for_text(pilot, "keys, with commas between them")
        await pilot.press("backspace", *"k", "enter")
        await wait_for_text(pilot, "already")
        await pilot.press("backspace", *"f9", "enter")
        await wait_for_text(pilot, 'keys."jobs.resume" = f9')
    assert '"jobs.resume" = "f9"' in (home / "config.toml").read_text()


async def test_profile_shows_what_counts_with_it_and_takes_the_edits(home: Path) -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, FIRST)
        await pilot.press("p")
        await wait_for_text(pilot, "> no profile")
        await pilot.press("down", "enter")
        await wait_for_text(pilot, "profile laptop, which is not in use")
        await go_to(pilot, "host.model_ttl_s")
        await wait_for_text(pilot, "host.model_ttl_s = 60 · profile laptop")
        await pilot.press("e")
        await wait_for_text(pilot, "host.model_ttl_s in profile laptop")
        await pilot.press("backspace", "backspace", *"90", "enter")
        await wait_for_text(pilot, "host.model_ttl_s = 90")
    assert load_settings(home, {PROFILE_VARIABLE: "laptop"}).host.model_ttl_s == 90
    assert load_settings(home, {}).host.model_ttl_s == 300


async def test_new_profile_begins_with_its_first_setting(home: Path) -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, FIRST)
        await pilot.press("p")
        await wait_for_text(pilot, "a new one")
        await pilot.press("end", "enter")
        await wait_for_text(pilot, "What is the profile called?")
        await pilot.press(*"a b", "enter")
        await wait_for_text(pilot, "A profile cannot be called")
        await pilot.press("backspace", "backspace", "enter")
        await wait_for_text(pilot, "profile a, which is not in use")
        assert "Error" not in shown_text(app)
        await go_to(pilot, "host.max_jobs")
        await pilot.press("e")
        await wait_for_text(pilot, "host.max_jobs in profile a")
        await pilot.press("backspace", "2", "enter")
        await wait_for_text(pilot, "host.max_jobs = 2 · profile a")
    assert load_settings(home, {PROFILE_VARIABLE: "a"}).host.max_jobs == 2


async def test_environment_has_the_last_word_and_that_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCI_HOST_MAX_JOBS", "3")
    app = app_with()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, FIRST)
        await go_to(pilot, "host.max_jobs")
        await pilot.press("e")
        await wait_for_text(pilot, "has the last word over what is set here")
        await pilot.press("backspace", "5", "enter")
        await wait_for_text(pilot, "What counts is 3, from LUCI_HOST_MAX_JOBS.")
    assert load_settings(home, {}).host.max_jobs == 5


async def test_restart_asks_first_and_is_offered_only_where_something_waits(home: Path) -> None:
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, "h Restart")
        await pilot.press("h")
        await wait_for_text(pilot, "Restart the host?")
        await pilot.press("n")
        await wait_until(pilot, lambda: "Restart the host?" not in shown_text(app))
        (home / "config.toml").write_text("")
        await wait_until(pilot, lambda: "h Restart" not in shown_text(app))


async def test_host_that_does_not_answer_keeps_no_setting_from_being_seen() -> None:
    link = FakeLink(None)
    link.error = HostError("The host does not answer.", code="unreachable")
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, FIRST)
        assert "Error" not in shown_text(app)


async def test_file_that_another_program_writes_is_seen(home: Path) -> None:
    app = app_with()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, "2 set")
        (home / "config.toml").write_text("[host]\nmax_jobs = 2\ndrain_s = 1\nlog_texts = true\n")
        await wait_for_text(pilot, "3 set")


def test_page_has_every_setting_and_every_action() -> None:
    page = read_page(None)
    keys = {one.key for one in page.entries}
    assert {f"keys.{action.id}" for action in ACTIONS} <= keys
    assert {one.key for one in all_settings()} <= keys
    assert len(keys) == len(page.entries)


def test_check_of_an_unknown_key_names_the_reason() -> None:
    with pytest.raises(ConfigError, match="there is no such action"):
        check_words("keys.nothing.at_all", "f5")


@pytest.mark.parametrize("size", SIZES)
async def test_question_before_the_restart_is_drawn(size: tuple[int, int]) -> None:
    app = app_with()
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, "h Restart")
        await pilot.press("h")
        await wait_for_text(pilot, "Restart the host?")
        await check_in_both_themes(pilot, "settings-restart")


@pytest.mark.parametrize("size", SIZES)
async def test_setting_that_the_environment_overrules_is_drawn(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setenv("LUCI_HOST_MAX_JOBS", "3")
    app = app_with()
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, FIRST)
        await go_to(pilot, "host.max_jobs")
        await pilot.press("e")
        await wait_for_text(pilot, "has the last word over what is set here")
        await check_in_both_themes(pilot, "settings-stronger")


@pytest.mark.parametrize("size", SIZES)
async def test_nothing_set_is_drawn(home: Path, size: tuple[int, int]) -> None:
    (home / "config.toml").unlink()
    app = app_with()
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, "(not there yet) · 0 set")
        await pilot.press("m")
        await wait_for_text(pilot, "Nothing is set: every setting has its default.")
        await check_in_both_themes(pilot, "settings-nothing")


# ---- keys


@presses(
    *("list.up", "list.down", "list.page_up", "list.page_down", "list.first", "list.last"),
    "list.choose",
)
async def test_keys_of_a_list(keys: Keys) -> None:
    app = app_with()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, FIRST)
        names = [entry.key for entry in (await asyncio.to_thread(read_page, None)).entries]
        n_page = 0

        def stands_on(place: int) -> bool:
            return app.screen.query_one(Rows).key == names[place]

        for action, key, place in (
            ("list.down", "down", 1),
            ("list.down", "j", 2),
            ("list.up", "up", 1),
            ("list.up", "k", 0),
            ("list.last", "end", -1),
            ("list.first", "home", 0),
            ("list.last", "G", -1),
            ("list.first", "g", 0),
        ):
            await keys.press(pilot, action, key, lambda at=place: stands_on(at))
        await keys.press(pilot, "list.page_down", "pagedown", lambda: not stands_on(0))
        n_page = names.index(app.screen.query_one(Rows).key)
        assert n_page > 2
        await keys.press(pilot, "list.page_up", "pageup", lambda: stands_on(0))
        await keys.press(pilot, "list.choose", "enter", "Enter takes it")


@presses(
    *("settings.edit", "settings.unset", "settings.profile", "settings.changed"),
    "settings.restart",
)
async def test_keys_of_the_settings(home: Path, keys: Keys) -> None:
    app = app_with()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+7")
        await wait_for_text(pilot, "h Restart")
        for action, key, asks in (
            ("settings.edit", "e", "Enter takes it"),
            ("settings.profile", "p", "a new one"),
            ("settings.restart", "h", "Restart the host?"),
        ):
            await keys.press(pilot, action, key, asks)
            await pilot.press("escape")
            await wait_until(pilot, lambda words=asks: words not in shown_text(app))
        await keys.press(pilot, "settings.changed", "m", 'keys."jobs.cancel"')
        await pilot.press("m")
        for key in ("u", "delete"):
            (home / "config.toml").write_text(FILE)
            await wait_for_text(pilot, "2 set")
            await wait_for_text(pilot, "u Unset")
            await keys.press(pilot, "settings.unset", key, "1 set")
