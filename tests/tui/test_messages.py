import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from luci_tui.chat.naming import new_id
from luci_tui.chat.records import Message, MessageState, Role, ToolCall
from luci_tui.chat.store import ChatStore
from luci_tui.errors import ChatError, WorkerLostError
from luci_tui.host.lifecycle import Launcher, ensure_host
from luci_tui.tui.app import ChatApp
from luci_tui.tui.host_conversation import HostConversation
from luci_tui.tui.screens.chat import State
from tests.support.hosts import pid_of, running_host
from tests.support.kept_chats import KeptChats, kept_chats, prepare
from tests.support.keys import Keys, presses
from tests.support.paced_host import HOLD
from tests.support.screen import (
    chat_screen,
    opened_screen,
    paste,
    prompt_of,
    shown_text,
    wait_for_text,
    wait_until,
)
from tests.support.screen_texts import check_in_both_themes
from tests.support.scripted_engine import Gate, ScriptedEngine, Step, done, text, thought

SIZE = (80, 24)
PACED = Launcher(
    command=(sys.executable, "-m", "tests.support.paced_host"), arguments=("--idle-exit-s", "60")
)
TALK = (("first question", "first answer"), ("second question", "second answer"))
CODE = "Two ways:\n\n```sh\nls -S\n```\n\nor\n\n```python\nimport os\nprint(os.listdir())\n```\n"


@asynccontextmanager
async def opened(
    home: Path,
    *scripts: list[Step],
    told: tuple[tuple[str, str], ...] = (),
    size: tuple[int, int] = SIZE,
) -> AsyncIterator[tuple[KeptChats, ChatApp, Pilot[int]]]:
    """Open a screen on a chat that is kept by a host."""
    resume = prepare(home, *told) if told else None
    async with kept_chats(home, ScriptedEngine(*scripts)) as chats:
        app = chats.app(resume)
        async with opened_screen(app, size) as pilot:
            yield chats, app, pilot


def cursor_text(app: ChatApp) -> str:
    cursor = chat_screen(app).transcript.cursor
    return "" if cursor is None else cursor.shown.text


async def stand(pilot: Pilot[int], *keys: str) -> None:
    """Go to the messages and from the last one where the keys lead."""
    app = pilot.app
    assert isinstance(app, ChatApp)
    await pilot.press("tab")
    await wait_until(pilot, lambda: bool(chat_screen(app).transcript.cursor))
    await pilot.press(*keys)


def answer(words: str) -> list[Step]:
    return [text(words), done()]


# ---- the cursor


@pytest.mark.parametrize("key", ["tab", "shift+up"])
async def test_key_in_the_prompt_then_the_last_message_has_the_cursor(
    tmp_path: Path, key: str
) -> None:
    async with opened(tmp_path, told=TALK) as (_, app, pilot):
        await pilot.press(key)
        await wait_until(pilot, lambda: cursor_text(app) == "second answer")
        assert "▌second answer" in shown_text(app)


async def test_cursor_moves_and_leaves(tmp_path: Path) -> None:
    async with opened(tmp_path, told=TALK) as (_, app, pilot):
        await stand(pilot)
        for keys, found in (
            ("k", "second question"),
            ("up", "first answer"),
            ("home", "first question"),
            ("up", "first question"),
            ("j", "first answer"),
            ("down", "second question"),
            ("end", "second answer"),
            ("g", "first question"),
            ("G", "second answer"),
        ):
            await pilot.press(keys)
            assert cursor_text(app) == found
        await pilot.press("down", "h")
        assert prompt_of(app).text == "h"
        assert "▌" not in shown_text(app)
        await stand(pilot, "escape", "i")
        assert prompt_of(app).text == "hi"
        await stand(pilot, "tab", "!")
        assert prompt_of(app).text == "hi!"


async def test_empty_chat_then_tab_says_that_there_is_no_message(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_, app, pilot):
        await pilot.press("tab")
        await wait_for_text(pilot, "There is no message yet.")
        assert prompt_of(app).has_focus


# ---- branches


async def test_edit_then_a_branch_is_made_and_both_can_be_walked(tmp_path: Path) -> None:
    async with opened(tmp_path, answer("other answer"), told=TALK) as (chats, app, pilot):
        await stand(pilot, "home", "e")
        await wait_until(pilot, lambda: prompt_of(app).text == "first question")
        assert "Another version of your message" in shown_text(app)
        await pilot.press(*" two", "enter")
        await wait_for_text(pilot, "other answer")
        await wait_for_text(pilot, "2 of 2")
        assert "second question" not in shown_text(app)
        stored = [one.text for one in await chats.stored()]
        assert stored == ["first question two", "other answer"]
        await stand(pilot, "up", "<")
        await wait_for_text(pilot, "second answer")
        assert "1 of 2" in shown_text(app)
        assert cursor_text(app) == "first question"
        await pilot.press("<")
        await wait_for_text(pilot, "This is the first version.")
        await pilot.press(">")
        await wait_for_text(pilot, "other answer")


async def test_edit_left_with_escape_then_the_draft_is_back(tmp_path: Path) -> None:
    async with opened(tmp_path, told=TALK) as (_, app, pilot):
        await pilot.press(*"draft")
        await stand(pilot, "up", "e")
        await wait_until(pilot, lambda: prompt_of(app).text == "second question")
        await pilot.press("escape")
        await wait_until(pilot, lambda: prompt_of(app).text == "draft")
        assert "Another version" not in shown_text(app)
        assert "second answer" in shown_text(app)


async def test_again_then_another_answer_stands_beside_the_first(tmp_path: Path) -> None:
    async with opened(tmp_path, answer("better answer"), told=TALK) as (chats, app, pilot):
        await stand(pilot, "r")
        await wait_for_text(pilot, "better answer")
        await wait_for_text(pilot, "2 of 2")
        assert "second answer" not in shown_text(app)
        assert [one.text for one in await chats.stored()][-1] == "better answer"
        assert cursor_text(app) == "better answer"
        await pilot.press("<")
        await wait_for_text(pilot, "second answer")


async def test_again_that_is_refused_then_what_was_shown_is_shown_again(tmp_path: Path) -> None:
    async with opened(tmp_path, told=TALK) as (chats, app, pilot):
        chats.chats.refusal = ChatError("The disk is full. Make room.", code="disk_full")
        await stand(pilot, "r")
        await wait_for_text(pilot, "The disk is full. Make room.")
        await wait_for_text(pilot, "second answer")
        assert chat_screen(app).state is State.READY


async def test_again_while_an_answer_is_given_then_it_is_not_begun(tmp_path: Path) -> None:
    gate = Gate()
    script = [text("third"), gate, text(" answer"), done()]
    async with opened(tmp_path, script, told=TALK) as (_, app, pilot):
        await pilot.press("x", "enter")
        await wait_for_text(pilot, "third")
        await stand(pilot, "home", "r")
        await wait_for_text(pilot, "The model is busy.")
        gate.opened.set()
        await wait_until(pilot, lambda: chat_screen(app).state is State.READY)


# ---- pins and ratings


async def test_pin_then_the_host_knows_it_and_again_takes_it_away(tmp_path: Path) -> None:
    async with opened(tmp_path, told=TALK) as (chats, _, pilot):
        await stand(pilot, "home", "p")
        await wait_for_text(pilot, "pinned")
        assert [one.is_pinned for one in await chats.stored()] == [True, False, False, False]
        await pilot.press("p")
        await wait_until(pilot, lambda: "pinned" not in shown_text(pilot.app))
        assert [one.is_pinned for one in await chats.stored()] == [False] * 4


async def test_ratings_with_a_note_are_kept(tmp_path: Path) -> None:
    async with opened(tmp_path, told=TALK) as (chats, _, pilot):
        await stand(pilot, "n")
        await wait_for_text(pilot, "Rate it first")
        await pilot.press("plus", "n")
        await wait_for_text(pilot, "The note is kept")
        await pilot.press(*"clear", "enter")
        await wait_for_text(pilot, "good: clear")
        stored = (await chats.stored())[-1]
        assert (stored.rating, stored.rating_note) == (1, "clear")
        await pilot.press("minus")
        await wait_for_text(pilot, "bad: clear")
        await pilot.press("minus")
        await wait_until(pilot, lambda: "bad" not in shown_text(pilot.app))
        assert (await chats.stored())[-1].rating == 0


# ---- texts and files


async def test_copy_and_quote_take_the_whole_message(tmp_path: Path) -> None:
    talk = (("question", "line one\n\nline two"),)
    async with opened(tmp_path, told=talk) as (_, app, pilot):
        await stand(pilot, "y")
        await wait_until(pilot, lambda: app.clipboard == "line one\n\nline two")
        await pilot.press("q")
        await wait_until(pilot, lambda: prompt_of(app).text == "> line one\n>\n> line two\n\n")
        assert prompt_of(app).has_focus


async def test_block_of_several_then_it_asks_which(tmp_path: Path) -> None:
    async with opened(tmp_path, told=(("how?", CODE),)) as (_, app, pilot):
        await stand(pilot, "b")
        await wait_for_text(pilot, "python · 2 lines · import os")
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: app.clipboard == "import os\nprint(os.listdir())")


async def test_block_of_a_message_without_one_then_it_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, told=TALK) as (_, _, pilot):
        await stand(pilot, "b")
        await wait_for_text(pilot, "There is no code block")


async def test_save_then_a_file_is_written_and_only_replaced_when_allowed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "there.sh"
    talk = (("how?", "```sh\nls -S\n```"),)
    async with opened(tmp_path, told=talk) as (_, _, pilot):
        await stand(pilot, "s")
        await wait_for_text(pilot, "Save the block to which file?")
        await pilot.press("ctrl+u")
        paste(pilot, str(path))
        await pilot.press("enter")
        await wait_until(pilot, path.is_file)
        assert path.read_text() == "ls -S\n"
        path.write_text("mine")
        await pilot.press("s")
        await wait_for_text(pilot, "Save the block to which file?")
        await pilot.press("ctrl+u")
        paste(pilot, str(path))
        await pilot.press("enter")
        await wait_for_text(pilot, "It is there already")
        await pilot.press("n")
        await wait_until(pilot, lambda: "It is there" not in shown_text(pilot.app))
        assert path.read_text() == "mine"


async def test_save_into_a_folder_that_is_not_there_then_it_says_so(tmp_path: Path) -> None:
    talk = (("how?", "```sh\nls -S\n```"),)
    async with opened(tmp_path, told=talk) as (_, _, pilot):
        await stand(pilot, "s")
        await wait_for_text(pilot, "Save the block")
        await pilot.press(*["backspace"] * 20, *"/no/x", "enter")
        await wait_for_text(pilot, "There is no folder /no.")


async def test_export_then_the_chat_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(tmp_path, told=TALK) as (_, _, pilot):
        await stand(pilot, "x")
        await wait_for_text(pilot, "Export this chat as")
        await pilot.press("enter")
        await wait_for_text(pilot, "first-question.md")
        await pilot.press("enter")
        await wait_until(pilot, (tmp_path / "first-question.md").is_file)
        assert "second answer" in (tmp_path / "first-question.md").read_text()


# ---- what is shown


async def test_about_tells_what_the_prompt_left_out(tmp_path: Path) -> None:
    long_talk = tuple((f"question {number}", "word " * 400) for number in range(6))
    async with opened(tmp_path, answer("short"), told=long_talk) as (_, _, pilot):
        await pilot.press(*"again", "enter")
        await wait_for_text(pilot, "earlier messages did not fit and were left out")
        await stand(pilot, "enter")
        await wait_for_text(pilot, 'left out  message 1 "question 0" to')
        assert "Message 14 of 14" in shown_text(pilot.app)
        await pilot.press("escape")
        await wait_until(pilot, lambda: "left out  message" not in shown_text(pilot.app))


async def test_thinking_is_seen_while_it_comes_then_folded_and_space_unfolds_it(
    tmp_path: Path,
) -> None:
    gate = Gate()
    async with opened(tmp_path, [thought("let me see"), gate, text("42"), done()]) as (
        _,
        app,
        pilot,
    ):
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "let me see")
        gate.opened.set()
        await wait_for_text(pilot, "TTFT")
        assert "let me see" not in shown_text(app)
        await stand(pilot, "space")
        await wait_for_text(pilot, "let me see")
        await pilot.press("space")
        await wait_until(pilot, lambda: "let me see" not in shown_text(app))


async def test_long_message_of_the_person_is_folded_and_space_unfolds_it(tmp_path: Path) -> None:
    long = "\n".join(f"line {number}" for number in range(100))
    async with opened(tmp_path, told=((long, "fine"),)) as (_, app, pilot):
        await wait_for_text(pilot, "… 480 more characters (Space shows them)")
        assert "line 39" in shown_text(app)
        await stand(pilot, "up", "space")
        await wait_until(pilot, lambda: "more characters" not in shown_text(app))
        await pilot.press("end")
        await wait_for_text(pilot, "line 99")


def tool_talk(home: Path) -> str:
    """Put a chat on the disk in which a tool was called."""
    store = ChatStore(home / "chats.db")
    chat = store.create(model="script")
    _, reply = store.begin_turn(chat.id, "weather?", parent_id=None, model="script")
    call = ToolCall(id="1", name="get_weather", arguments='{"city": "Paris"}')
    asked = {"state": MessageState.COMPLETE, "tool_calls": (call,)}
    store.finish(chat.id, reply.model_copy(update=asked))
    gave = Message(
        id=new_id(), parent_id=reply.id, role=Role.TOOL, text="21 °C\x1b[2J", created_ms=1
    )
    store.add_message(chat.id, gave)
    store.select(chat.id, gave.id)
    store.close()
    return chat.id


async def test_tool_calls_and_what_they_gave_are_shown(tmp_path: Path) -> None:
    chat_id = tool_talk(tmp_path)
    async with kept_chats(tmp_path, ScriptedEngine()) as chats:
        app = chats.app(chat_id)
        async with app.run_test(size=SIZE) as pilot:
            await wait_for_text(pilot, 'calls get_weather {"city": "Paris"}')
            await wait_for_text(pilot, "= 21 °C")
        await app.close_engine()


# ---- what goes wrong


async def test_worker_lost_then_ctrl_r_and_again_answer_it(tmp_path: Path) -> None:
    lost = WorkerLostError("The worker was killed by signal 9.", code="worker_lost")
    scripts = ([text("half an ans"), lost], answer("whole answer"))
    async with opened(tmp_path, *scripts) as (_, app, pilot):
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "Ctrl-R loads the model again.")
        assert "half an ans" in shown_text(app)
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: chat_screen(app).state is State.READY)
        await stand(pilot, "r")
        await wait_for_text(pilot, "whole answer")
        await wait_for_text(pilot, "2 of 2")


async def test_host_killed_in_an_answer_then_another_is_started_and_what_came_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    hold = tmp_path / HOLD
    async with running_host(tmp_path, PACED):
        conversation = HostConversation(
            find_host=lambda: ensure_host(tmp_path, PACED), model="builtin", label="paced"
        )
        app = ChatApp(lambda: conversation)
        async with app.run_test(size=SIZE) as pilot:
            await wait_for_text(pilot, "ready")
            prompt_of(app).text = " ".join(f"w{number}" for number in range(300))
            await pilot.press("enter")
            await wait_for_text(pilot, "answering")
            hold.touch()
            old_pid = pid_of(tmp_path)
            os.kill(old_pid, signal.SIGKILL)
            await wait_for_text(pilot, "looking for the host")
            hold.unlink()
            await wait_for_text(pilot, "It is back")
            await wait_until(pilot, lambda: chat_screen(app).state is State.READY)
            assert pid_of(tmp_path) != old_pid
            assert "the host ended while this was said" in shown_text(app)
            await stand(pilot, "r")
            await wait_for_text(pilot, "2 of 2")
            await wait_for_text(pilot, "w298 w299")
        await app.close_engine()


# ---- the looks


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_chat_with_the_cursor_looks_as_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    talk = (("list the files, largest first", "Use `ls -S`:\n\n```sh\nls -lS\n```"),)
    script = [text("Add `-r`."), done()]
    async with opened(tmp_path, script, told=talk, size=size) as (_, app, pilot):
        await pilot.press(*"and the other way?", "enter")
        await wait_until(pilot, lambda: chat_screen(app).state is State.READY)
        await stand(pilot, "plus", "up", "p")
        await wait_for_text(pilot, "pinned")
        await wait_for_text(pilot, "good")
        await check_in_both_themes(pilot, "chat-cursor")
        await pilot.press("down", "enter")
        await wait_for_text(pilot, "Esc closes this page")
        await check_in_both_themes(pilot, "chat-about")
        await pilot.press("escape", "home", "e")
        await wait_for_text(pilot, "Another version")
        await check_in_both_themes(pilot, "chat-edit")


# ---- keys


@presses("chat.messages", "message.leave")
async def test_keys_from_the_prompt_to_the_messages_and_back(tmp_path: Path, keys: Keys) -> None:
    async with opened(tmp_path, told=TALK) as (_, app, pilot):
        for key, back in (("tab", "escape"), ("shift+up", "tab")):
            await keys.press(
                pilot,
                "chat.messages",
                key,
                lambda: chat_screen(app).transcript.has_focus,
                # Shift with Up marks text in an input; there is none above the first line.
                is_behind=key == "shift+up",
            )
            await keys.press(pilot, "message.leave", back, lambda: prompt_of(app).has_focus)


@presses("message.up", "message.down", "message.first", "message.last")
async def test_keys_of_the_message_cursor(tmp_path: Path, keys: Keys) -> None:
    async with opened(tmp_path, told=TALK) as (_, app, pilot):
        await stand(pilot)
        for action, key, found in (
            ("message.first", "g", "first question"),
            ("message.last", "G", "second answer"),
            ("message.first", "home", "first question"),
            ("message.last", "end", "second answer"),
            ("message.up", "up", "second question"),
            ("message.up", "k", "first answer"),
            ("message.up", "shift+up", "first question"),
            ("message.down", "down", "first answer"),
            ("message.down", "j", "second question"),
            ("message.down", "shift+down", "second answer"),
        ):
            await keys.press(pilot, action, key, lambda text=found: cursor_text(app) == text)


@presses("message.before", "message.after", "message.again", "message.edit")
async def test_keys_of_the_versions(tmp_path: Path, keys: Keys) -> None:
    async with opened(tmp_path, answer("better answer"), told=TALK) as (_, app, pilot):
        await stand(pilot)
        await keys.press(pilot, "message.again", "r", "2 of 2")
        await wait_until(pilot, lambda: chat_screen(app).state is State.READY)
        for action, key, found in (
            ("message.before", "less_than_sign", "1 of 2"),
            ("message.after", "greater_than_sign", "2 of 2"),
            ("message.before", "left", "1 of 2"),
            ("message.after", "right", "2 of 2"),
        ):
            await keys.press(pilot, action, key, found)
        await pilot.press("up")
        await keys.press(pilot, "message.edit", "e", "Another version of your message")


@presses("message.pin", "message.good", "message.bad", "message.note")
async def test_keys_that_mark_a_message(tmp_path: Path, keys: Keys) -> None:
    async with opened(tmp_path, told=TALK) as (_, _, pilot):
        await stand(pilot)
        await keys.press(pilot, "message.pin", "p", "pinned")
        await keys.press(pilot, "message.good", "plus", "good")
        await keys.press(pilot, "message.bad", "minus", "bad")
        await keys.press(pilot, "message.note", "n", "The note is kept")


@presses("message.copy", "message.block", "message.quote", "message.save", "message.export")
async def test_keys_that_take_a_text_elsewhere(tmp_path: Path, keys: Keys) -> None:
    async with opened(tmp_path, told=(("how?", CODE),)) as (_, app, pilot):
        await stand(pilot)
        await keys.press(pilot, "message.copy", "y", lambda: app.clipboard == CODE.strip())
        for action, key, asks in (
            ("message.block", "b", "python · 2 lines · import os"),
            ("message.save", "s", "python · 2 lines · import os"),
            ("message.export", "x", "Export this chat as"),
        ):
            await keys.press(pilot, action, key, asks)
            await pilot.press("escape")
            await wait_until(pilot, lambda words=asks: words not in shown_text(app))
        await keys.press(pilot, "message.quote", "q", lambda: "> Two ways:" in prompt_of(app).text)


@presses("message.fold", "message.about", "about.close")
async def test_keys_that_show_more_of_a_message(tmp_path: Path, keys: Keys) -> None:
    end = "Esc closes this page"
    async with opened(tmp_path, [thought("let me see"), text("42"), done()]) as (_, app, pilot):
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "TTFT")
        await stand(pilot)
        await keys.press(pilot, "message.fold", "space", "let me see")
        for key in ("escape", "enter", "q"):
            await keys.press(pilot, "message.about", "enter", end)
            await keys.press(pilot, "about.close", key, lambda: end not in shown_text(app))
