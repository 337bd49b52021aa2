from pathlib import Path

import pytest

from luci_tui.tui.app import ChatApp
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.screen import modes_app, prompt_of, wait_for_text, wait_until
from tests.support.screen_texts import check_in_both_themes
from tests.support.scripted_engine import ScriptedEngine, done, text


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "screen.json").write_text('{"seen_at": 0}')
    return tmp_path


async def test_reply_that_is_copied_lies_in_the_file_and_the_person_is_told(home: Path) -> None:
    engine = ScriptedEngine([text("the answer"), done()])
    app = modes_app(FakeLink(FakeHost({})), engine=engine, home=home)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("q", "enter")
        await wait_for_text(pilot, "TTFT")
        await pilot.press("ctrl+o")
        await wait_for_text(pilot, "Copied 10 characters: to the terminal (OSC 52)")
    assert (home / "clipboard.txt").read_text() == "the answer"
    assert (home / "clipboard.txt").stat().st_mode & 0o777 == 0o600


async def test_text_that_is_cut_in_the_prompt_lies_in_the_file_and_can_be_pasted(
    home: Path,
) -> None:
    app = modes_app(FakeLink(FakeHost({})), home=home)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"word", "shift+home", "ctrl+x")
        await wait_until(pilot, (home / "clipboard.txt").exists)
        assert prompt_of(app).text == ""
        await pilot.press("ctrl+v")
        await wait_until(pilot, lambda: prompt_of(app).text == "word")
    assert (home / "clipboard.txt").read_text() == "word"


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_what_is_said_of_a_copy_looks_as_drawn(
    home: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setattr(ChatApp, "NOTIFICATION_TIMEOUT", 600)
    engine = ScriptedEngine([text("x" * 100_000), done()])
    app = modes_app(FakeLink(FakeHost({})), engine=engine, home=Path())
    async with app.run_test(size=size, notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("q", "enter")
        await wait_for_text(pilot, "TTFT")
        await pilot.press("ctrl+o")
        await wait_for_text(pilot, "Copied 100,000 characters")
        await check_in_both_themes(pilot, "copied-too-long")
