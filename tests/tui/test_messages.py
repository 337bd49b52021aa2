from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from luci_tui.tui.app import ChatApp
from tests.support.kept_chats import KeptChats, kept_chats, prepare
from tests.support.screen import chat_screen, prompt_of, shown_text, wait_for_text, wait_until
from tests.support.scripted_engine import ScriptedEngine, Step, done, text

SIZE = (80, 24)


@asynccontextmanager
async def opened(
    home: Path, *scripts: list[Step], told: tuple[tuple[str, str], ...] = ()
) -> AsyncIterator[tuple[KeptChats, ChatApp, Pilot[int]]]:
    """Open a screen on a chat that is kept by a host."""
    resume = prepare(home, *told) if told else None
    async with kept_chats(home, ScriptedEngine(*scripts)) as chats:
        app = chats.app(resume)
        async with app.run_test(size=SIZE) as pilot:
            await wait_for_text(pilot, "ready")
            yield chats, app, pilot
        await app.close_engine()


def cursor_text(app: ChatApp) -> str:
    cursor = chat_screen(app).transcript.cursor
    return "" if cursor is None else cursor.shown.text


def answer(words: str) -> list[Step]:
    return [text(words), done()]


TALK = (("first question", "first answer"), ("second question", "second answer"))


async def test_tab_then_the_last_message_has_the_cursor_and_escape_goes_back(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, told=TALK) as (_, app, pilot):
        await pilot.press("tab")
        await wait_until(pilot, lambda: cursor_text(app) == "second answer")
        assert "▌second answer" in shown_text(app)
        await pilot.press("up")
        await wait_until(pilot, lambda: cursor_text(app) == "second question")
        await pilot.press("home")
        await wait_until(pilot, lambda: cursor_text(app) == "first question")
        await pilot.press("escape", "h")
        await wait_until(pilot, lambda: prompt_of(app).text == "h")
        assert "▌" not in shown_text(app)


async def test_edit_then_a_branch_is_made_and_both_can_be_walked(tmp_path: Path) -> None:
    async with opened(tmp_path, answer("other answer"), told=TALK) as (chats, app, pilot):
        await pilot.press("tab", "home", "e")
        await wait_until(pilot, lambda: prompt_of(app).text == "first question")
        assert "Another version of your message" in shown_text(app)
        await pilot.press("end", *" two", "enter")
        await wait_for_text(pilot, "other answer")
        await wait_for_text(pilot, "2 of 2")
        assert "second question" not in shown_text(app)
        stored = [one.text for one in await chats.stored()]
        assert stored == ["first question two", "other answer"]
        await pilot.press("tab", "up", "<")
        await wait_for_text(pilot, "second answer")
        assert "1 of 2" in shown_text(app)
        assert cursor_text(app) == "first question"
        await pilot.press(">")
        await wait_for_text(pilot, "other answer")


async def test_again_then_another_answer_stands_beside_the_first(tmp_path: Path) -> None:
    async with opened(tmp_path, answer("better answer"), told=TALK) as (chats, app, pilot):
        await pilot.press("tab", "r")
        await wait_for_text(pilot, "better answer")
        await wait_for_text(pilot, "2 of 2")
        assert "second answer" not in shown_text(app)
        assert [one.text for one in await chats.stored()][-1] == "better answer"
