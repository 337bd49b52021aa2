import stat
import sys
from pathlib import Path

import pytest
from textual import events

from luci_tui.tui.app import ChatApp
from luci_tui.tui.commands.desk import CommandDesk
from luci_tui.tui.commands.slash import SLASH_COMMANDS
from luci_tui.tui.history import PromptHistory
from luci_tui.tui.widgets import command_output
from luci_tui.tui.widgets.prompt_box import PromptBox
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.keys import Keys, presses
from tests.support.projectors import png
from tests.support.screen import (
    chat_app,
    chat_screen,
    modes_app,
    prompt_of,
    shown_text,
    wait_for_text,
    wait_until,
)
from tests.support.screen_texts import check_in_both_themes
from tests.support.scripted_engine import Gate, ScriptedEngine, done, text

SIZE = (80, 24)
SIZES = (SIZE, (120, 40))


def box_of(app: ChatApp) -> PromptBox:
    return chat_screen(app).query_one(PromptBox)


def paste(app: ChatApp, pasted: str) -> None:
    prompt_of(app).post_message(events.Paste(pasted))


# ---- slash commands


@pytest.mark.parametrize("size", SIZES)
async def test_slash_lists_the_commands_and_letters_leave_fewer(size: tuple[int, int]) -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("/")
        await wait_for_text(pilot, "> /attach FILE")
        await pilot.press("t", "h")
        await wait_for_text(pilot, "> /thinking")
        await check_in_both_themes(pilot, "prompt-choices")
        await pilot.press("escape")
        await wait_until(pilot, lambda: "/thinking" not in shown_text(app))
        assert prompt_of(app).text == "/th"


async def test_arrows_choose_tab_completes_and_enter_does_it() -> None:
    app = chat_app(ScriptedEngine([text("one"), done()]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "TTFT")
        await pilot.press("/", "n")
        await wait_for_text(pilot, "> /new")
        await pilot.press("tab")
        await wait_until(pilot, lambda: prompt_of(app).text == "/new")
        await pilot.press("enter")
        await wait_for_text(pilot, "Type a request and press Enter")


async def test_enter_takes_the_choice_with_the_cursor() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"/the")
        await wait_for_text(pilot, "> /theme NAME")
        await pilot.press("enter")
        await wait_until(pilot, lambda: prompt_of(app).text == "/theme ")
        await pilot.press(*"nor")
        await wait_for_text(pilot, "> nord")
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.theme == "nord")
        assert prompt_of(app).text == ""


async def test_up_and_down_move_in_the_choices_and_not_in_the_history() -> None:
    app = chat_app(ScriptedEngine([text("one"), done()]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "TTFT")
        await pilot.press("/")
        await wait_for_text(pilot, "> /attach")
        await pilot.press("down", "down")
        await wait_for_text(pilot, "> /chats")
        await pilot.press("up")
        await wait_for_text(pilot, "> /detach")


async def test_unknown_command_stays_in_the_line_and_a_space_sends_it() -> None:
    engine = ScriptedEngine([text("fine"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"/nonsense", "enter")
        await wait_for_text(pilot, "There is no command /nonsense")
        assert prompt_of(app).text == "/nonsense"
        assert not engine.requests
        await pilot.press("home", "space", "enter")
        await wait_for_text(pilot, "fine")
        assert '" /nonsense"' in str(engine.requests[0].messages_json)


async def test_path_at_the_beginning_is_a_prompt() -> None:
    engine = ScriptedEngine([text("a file"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"/etc/hosts", "enter")
        await wait_for_text(pilot, "a file")


async def test_command_without_what_it_needs_says_so() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"/attach ", "escape", "enter")
        await wait_for_text(pilot, "/attach FILE: FILE is missing.")
        await pilot.press("ctrl+u")
        await pilot.press(*"/new now", "enter")
        await wait_for_text(pilot, "/new takes nothing behind it.")


async def test_model_command_begins_a_chat_with_it() -> None:
    app = modes_app(FakeLink(FakeHost({})))
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"/model other.gguf", "escape", "enter")
        await wait_for_text(pilot, "ready · other.gguf")


async def test_every_slash_command_does_something() -> None:
    app = modes_app(FakeLink(FakeHost({})))
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        screen = chat_screen(app)
        methods = CommandDesk(screen, screen).methods
        for command in SLASH_COMMANDS:
            place, name = (screen, command.action)
            if command.action.startswith("app."):
                place, name = (app, command.action.removeprefix("app.").partition("(")[0])
            assert command.name in methods or hasattr(place, f"action_{name}"), command.name


# ---- commands of luci


async def test_command_of_luci_runs_and_shows_what_it_says() -> None:
    engine = ScriptedEngine()
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"config path", "enter")
        await wait_for_text(pilot, "$ luci config path")
        await wait_for_text(pilot, "config.toml")
        await wait_for_text(pilot, "done · ")
        assert not engine.requests


async def test_command_that_fails_shows_its_sentence_and_its_exit_code() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"luci help nothing-like-it", "enter")
        await wait_for_text(pilot, "There is no page and no command")
        await wait_for_text(pilot, "exit code 2 · ")


async def test_escape_ends_the_command_that_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text("import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    monkeypatch.setattr(sys, "executable", str(_program(tmp_path, slow)))
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"doctor", "enter")
        await wait_for_text(pilot, "begun")
        await pilot.press(*"ps", "enter")
        await wait_until(pilot, lambda: prompt_of(app).text == "ps")
        await pilot.press("escape")
        await wait_for_text(pilot, "ended by you")


async def test_much_output_is_cut_and_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    talks = tmp_path / "talks.py"
    talks.write_text("for n in range(10_000):\n    print(f'\\x1b[2Jline [red]{n}')\n")
    monkeypatch.setattr(sys, "executable", str(_program(tmp_path, talks)))
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"doctor", "enter")
        await wait_for_text(pilot, "… and 9,600 more lines")
        assert "line [red]399" in shown_text(app)


def _program(folder: Path, script: Path) -> Path:
    """Make a program that runs a script, whatever it is asked for."""
    program = folder / "program"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}"\n')
    program.chmod(0o755)
    return program


async def test_command_that_needs_a_terminal_is_refused() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"luci login", "enter")
        await wait_for_text(pilot, "asks for a secret")
        assert prompt_of(app).text == "luci login"


# ---- the queue


@pytest.mark.parametrize("size", SIZES)
async def test_waiting_prompts_are_shown_and_the_last_is_taken_back(
    size: tuple[int, int],
) -> None:
    gate = Gate()
    engine = ScriptedEngine([text("one"), gate, done()], [text("two"), done()])
    app = chat_app(engine)
    async with app.run_test(size=size) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "one")
        await pilot.press(*"second", "enter")
        await pilot.press(*"third", "enter")
        await wait_for_text(pilot, "waiting 2  third")
        await check_in_both_themes(pilot, "prompt-waiting")
        await pilot.press("alt+up")
        await wait_until(pilot, lambda: prompt_of(app).text == "third")
        await wait_until(pilot, lambda: "waiting 2" not in shown_text(app))
        await pilot.press("ctrl+u", "up")
        await wait_until(pilot, lambda: prompt_of(app).text == "second")
        gate.opened.set()
        await wait_for_text(pilot, "TTFT")
        assert len(engine.requests) == 1


# ---- long pastes


async def test_paste_of_a_megabyte_is_folded_and_sent_whole() -> None:
    pasted = "line of a log\r\n" * 70_000
    engine = ScriptedEngine([text("long"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"sum up: ")
        paste(app, pasted)
        await wait_for_text(pilot, "sum up: [pasted 980,000 characters]")
        await pilot.press("enter")
        await wait_for_text(pilot, "long")
        await wait_for_text(pilot, "more characters (Space shows them)")
        sent = str(engine.requests[0].messages_json)
        assert sent.count("line of a log\\n") == 70_000
        await pilot.press("up")
        assert prompt_of(app).draft.text.count("line of a log\n") == 70_000


async def test_short_paste_is_inserted_without_control_characters() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        paste(app, "a\x1b[2Jb\r\nc\u202e")
        await wait_until(pilot, lambda: prompt_of(app).text == "ab\nc")


# ---- history


async def test_history_comes_back_in_another_screen(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    first = chat_app(ScriptedEngine([text("ok"), done()]), history_file=file)
    async with first.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"before", "enter")
        await wait_for_text(pilot, "TTFT")
        await wait_until(pilot, file.exists)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = chat_app(ScriptedEngine(), history_file=file)
    async with second.run_test(size=SIZE) as pilot:
        await wait_until(pilot, lambda: bool(prompt_of(second).earlier.entries))
        await pilot.press("up")
        assert prompt_of(second).text == "before"


async def test_history_that_cannot_be_kept_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    app = chat_app(ScriptedEngine(), history_file=tmp_path / "file" / "history.jsonl")
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await wait_for_text(pilot, "Earlier prompts are not kept")


async def test_folded_text_of_the_history_is_folded_again() -> None:
    history = PromptHistory()
    history.add("x" * 5000)
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        prompt_of(app).earlier = history
        await pilot.press("up")
        assert prompt_of(app).text == "[pasted 5,000 characters]"
        assert prompt_of(app).draft.text == "x" * 5000


# ---- the editor


async def test_editor_gives_its_text_to_the_prompt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "%s written\\n\\n" "$(cat "$1")" > "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        monkeypatch.setattr(type(app._driver), "can_suspend", True)
        await pilot.press(*"draft", "ctrl+g")
        await wait_until(pilot, lambda: prompt_of(app).text == "draft written")


async def test_editor_that_fails_leaves_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "false")
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        monkeypatch.setattr(type(app._driver), "can_suspend", True)
        await pilot.press(*"draft", "ctrl+g")
        await wait_for_text(pilot, "The editor 'false' ended")
        assert prompt_of(app).text == "draft"


async def test_browser_has_no_editor() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("ctrl+g")
        await wait_for_text(pilot, "No editor can be opened")


# ---- files


@pytest.mark.parametrize("size", SIZES)
async def test_text_file_is_completed_attached_and_sent_fenced(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.md").write_text("remember")
    (tmp_path / "nothing").mkdir()
    engine = ScriptedEngine([text("done so"), done()])
    app = chat_app(engine)
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"/attach no")
        await wait_for_text(pilot, "  nothing/")
        await pilot.press("enter")
        await wait_for_text(pilot, "attached  notes.md 8 B  (/detach takes them away)")
        await pilot.press(*"what?")
        await check_in_both_themes(pilot, "prompt-attached")
        await pilot.press("enter")
        await wait_for_text(pilot, "done so")
        await wait_for_text(pilot, " remember")
        assert "(/detach" not in shown_text(app)
        assert "what?\\n\\nnotes.md:\\n```\\nremember\\n```" in str(
            engine.requests[0].messages_json
        )


async def test_dropped_picture_is_attached_drawn_and_sent_as_a_picture(tmp_path: Path) -> None:
    file = tmp_path / "my cat.png"
    file.write_bytes(png(60, 30))
    engine = ScriptedEngine([text("a cat"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        paste(app, f"'{file}' ")
        await wait_for_text(pilot, "attached  my cat.png")
        assert prompt_of(app).text == ""
        await pilot.press(*"what?", "enter")
        await wait_for_text(pilot, "a cat")
        await wait_for_text(pilot, "▀" * 40)
        assert "data:image/png;base64," in str(engine.requests[0].messages_json)


async def test_paste_that_is_no_file_is_text(tmp_path: Path) -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        paste(app, f"{tmp_path}/gone")
        await wait_until(pilot, lambda: prompt_of(app).text == f"{tmp_path}/gone")


async def test_detach_takes_one_file_or_all_away(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        paste(app, f"{tmp_path}/a.txt {tmp_path}/b.txt")
        await wait_for_text(pilot, "attached  a.txt 5 B · b.txt 5 B")
        await pilot.press(*"/detach ")
        await wait_for_text(pilot, "> a.txt")
        await pilot.press("enter")
        await wait_for_text(pilot, "attached  b.txt 5 B")
        await pilot.press(*"/detach", "escape", "enter")
        await wait_until(pilot, lambda: "attached" not in shown_text(app))


async def test_file_that_cannot_be_taken_is_told_and_stays_in_the_line() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"/attach gone", "escape", "enter")
        await wait_for_text(pilot, "cannot be read")
        assert prompt_of(app).text == "/attach gone"


# ---- looks


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "typed", "says"),
    [
        ("prompt-command", "ps", "print('Nothing is in memory.')"),
        ("prompt-command-fails", "ps", "import sys; sys.exit('Error: The host does not answer.')"),
        ("prompt-much-output", "ps", "for n in range(10_000): print('line', n)"),
        ("prompt-broken-off", "ps", "import time; print('begun', flush=True); time.sleep(600)"),
    ],
)
async def test_command_of_luci_looks_as_drawn(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    typed: str,
    says: str,
    size: tuple[int, int],
) -> None:
    monkeypatch.setattr(command_output, "format_duration", lambda _: "0.4 s")
    script = tmp_path / "script.py"
    script.write_text(says)
    monkeypatch.setattr(sys, "executable", str(_program(tmp_path, script)))
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*typed, "enter")
        if name == "prompt-broken-off":
            await wait_for_text(pilot, "begun")
            await check_in_both_themes(pilot, "prompt-command-runs")
            await pilot.press("escape")
        await wait_for_text(pilot, " · 0.4 s")
        await check_in_both_themes(pilot, name)


@pytest.mark.parametrize("size", SIZES)
async def test_unknown_command_looks_as_drawn(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(ChatApp, "NOTIFICATION_TIMEOUT", 600)
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=size, notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"/attahc x", "enter")
        await wait_for_text(pilot, "There is no command /attahc")
        await check_in_both_themes(pilot, "prompt-unknown")


@pytest.mark.parametrize("size", SIZES)
async def test_long_paste_looks_as_drawn(size: tuple[int, int]) -> None:
    app = chat_app(ScriptedEngine([text("A log."), done()]))
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"sum up: ")
        paste(app, "line of a log\r\n" * 70_000)
        await wait_for_text(pilot, "sum up: [pasted 980,000 characters]")
        await check_in_both_themes(pilot, "prompt-paste")
        await pilot.press("enter")
        await wait_for_text(pilot, "A log.")
        await check_in_both_themes(pilot, "prompt-paste-sent")


@pytest.mark.parametrize("size", SIZES)
async def test_picture_looks_as_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    file = tmp_path / "my cat.png"
    file.write_bytes(png(60, 30))
    app = chat_app(ScriptedEngine([text("a cat"), done()]))
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        paste(app, f"'{file}' ")
        await wait_for_text(pilot, "attached  my cat.png")
        await pilot.press(*"what?", "enter")
        await wait_for_text(pilot, "a cat")
        await wait_for_text(pilot, "▀" * 40)
        await check_in_both_themes(pilot, "prompt-picture")


# ---- keys


@presses("prompt.take_back", "prompt.editor")
async def test_keys_that_bring_a_text_into_the_prompt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keys: Keys
) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "%s written" "$(cat "$1")" > "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    app = chat_app(ScriptedEngine([text("one"), Gate(), done()]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "one")
        await pilot.press(*"second", "enter")
        await wait_for_text(pilot, "waiting 1  second")
        prompt = prompt_of(app)
        await keys.press(pilot, "prompt.take_back", "alt+up", lambda: prompt.text == "second")
        monkeypatch.setattr(type(app._driver), "can_suspend", True)
        await keys.press(pilot, "prompt.editor", "ctrl+g", lambda: prompt.text == "second written")
