"""The same prompt to several models or perspectives: chosen, asked, stopped, kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot

from luci_tui.chat.model import ModelSpec
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import RequestError
from luci_tui.host.wiring import Backend
from luci_tui.tui.app import ChatApp
from luci_tui.tui.chat_settings import ModelChoice
from luci_tui.tui.conversation import OwnConversation
from luci_tui.tui.services import Services
from tests.support.fake_settings import FakeSettings, SettledConversation
from tests.support.keys import Keys, presses
from tests.support.screen import (
    LOOK_S,
    chat_screen,
    prompt_of,
    shown_text,
    wait_for_text,
    wait_until,
)
from tests.support.screen_texts import check_in_both_themes
from tests.support.scripted_engine import Gate, ScriptedEngine, Step, done, text, thought

SIZES = ((80, 24), (120, 40))
WIDE = (120, 40)
NAMES = ("llama-1b", "smollm2", "qwen-3b")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    return tmp_path


class Stage:
    """An app whose models are scripts; each chat with a model gets the next script of it."""

    def __init__(self, **scripts: list[Step]) -> None:
        self.scripts = {name.replace("_", "-"): script for name, script in scripts.items()}
        self.made: list[tuple[str, ScriptedEngine, Talk]] = []
        choices = tuple(ModelChoice(name, is_loaded=name == NAMES[0]) for name in NAMES)
        self.settings = FakeSettings(choices=choices)
        first = SettledConversation(Backend(ScriptedEngine(), spec(NAMES[0]), None))
        first.kept = self.settings
        services = Services(fixed_look_s=LOOK_S)
        self.app = ChatApp(lambda: first, services, connect_to=self.connect)

    def connect(self, name: str) -> OwnConversation:
        script = self.scripts.get(name, [text(f"I am number {len(self.made) + 1}."), done()])
        engine = ScriptedEngine(script, [text("more"), done()])
        talk = Talk(Backend(engine, spec(name), None))
        self.made.append((name, engine, talk))
        return talk

    def engine(self, number: int) -> ScriptedEngine:
        return self.made[number][1]

    def asked(self, number: int) -> list[dict[str, str]]:
        return json.loads(self.engine(number).requests[-1].messages_json or "[]")


class Talk(OwnConversation):
    n_put_away = 0

    async def put_away(self) -> None:
        self.n_put_away += 1


def spec(name: str) -> ModelSpec:
    return ModelSpec(name, LoadSpec(model_path=f"{name}.gguf"))


async def choose_models(pilot: Pilot[int], n_models: int = 3) -> None:
    await wait_for_text(pilot, "ready")
    await pilot.press("f5")
    await wait_for_text(pilot, "models get the same prompt?")
    for _ in range(n_models - 1):
        await pilot.press("down", "space")
    await pilot.press("enter")
    await wait_for_text(pilot, f"{n_models} columns")


async def choose_panel(pilot: Pilot[int], n_downs: int = 1) -> None:
    await wait_for_text(pilot, "ready")
    await pilot.press("f9")
    await wait_for_text(pilot, "Which perspectives")
    await pilot.press(*["down"] * n_downs, "enter")
    await wait_for_text(pilot, "Ask all of them.")


@pytest.mark.parametrize("size", SIZES)
async def test_models_are_chosen_from_a_list(size: tuple[int, int]) -> None:
    app = Stage().app
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("f5")
        await wait_for_text(pilot, "models get the same prompt?")
        await pilot.press("enter")
        await wait_for_text(pilot, "Mark 2 to 4 with Space; 1 is marked.")
        await check_in_both_themes(pilot, "columns-choice")
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is chat_screen(app))


@pytest.mark.parametrize("size", SIZES)
async def test_models_answer_one_after_the_other(size: tuple[int, int]) -> None:
    gate = Gate()
    stage = Stage(smollm2=[text("An answer that gro"), gate, text("ws."), done()])
    app = stage.app
    async with app.run_test(size=size) as pilot:
        await choose_models(pilot)
        await pilot.press(*"hi all", "enter")
        await wait_for_text(pilot, "1 of 3 has answered · smollm2 answers · one after the other")
        await wait_for_text(pilot, "2 smollm2 ...")
        await wait_until(pilot, lambda: len(stage.engine(1).requests) == 1)
        assert stage.engine(2).requests == []
        await pilot.press("tab")
        await wait_for_text(pilot, "An answer that gro")
        await check_in_both_themes(pilot, "columns")
        gate.opened.set()
        await wait_for_text(pilot, "[2 smollm2 +]")
        await wait_for_text(pilot, "3 qwen-3b +")
        await pilot.press("tab")
        await wait_for_text(pilot, "context 30/512 · 50.0 tok/s")
        assert [stage.asked(number)[0]["content"] for number in range(3)] == ["hi all"] * 3


@pytest.mark.parametrize("size", SIZES)
async def test_model_that_fails_leaves_the_others_alone(size: tuple[int, int]) -> None:
    stage = Stage(smollm2=[text("half"), RequestError("The worker is out of memory.")])
    app = stage.app
    async with app.run_test(size=size) as pilot:
        await choose_models(pilot)
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "3 qwen-3b +")
        await pilot.press("tab")
        await wait_for_text(pilot, "Error: The worker is out")
        await check_in_both_themes(pilot, "columns-failed")
        await pilot.press("tab")
        await wait_for_text(pilot, "I am number 3.")


async def test_escape_stops_what_runs_and_what_waits_and_then_leaves() -> None:
    stage = Stage(llama_1b=[text("partial"), Gate(), done()])
    app = stage.app
    async with app.run_test(size=WIDE) as pilot:
        await choose_models(pilot)
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "partial")
        await pilot.press("escape")
        await wait_for_text(pilot, "stopped by you")
        await wait_for_text(pilot, "smollm2 · not asked")
        assert stage.engine(0).n_cancelled == 1
        assert stage.engine(1).requests == []
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is chat_screen(app))
        assert [talk.n_put_away for *_, talk in stage.made] == [1, 1, 1]
        assert all(engine.is_closed for _, engine, _ in stage.made)


async def test_pace_at_once_then_nobody_waits_for_another() -> None:
    gate = Gate()
    stage = Stage(llama_1b=[text("slow"), gate, done()])
    app = stage.app
    async with app.run_test(size=WIDE) as pilot:
        await choose_models(pilot)
        await pilot.press("f9")
        await wait_for_text(pilot, "all at once")
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "2 of 3 have answered · llama-1b answers · all at once")
        gate.opened.set()
        await wait_for_text(pilot, "1 llama-1b +")


async def test_next_prompt_goes_on_in_each_chat_and_a_third_waits_for_nobody() -> None:
    stage = Stage(qwen_3b=[text("x"), Gate(), done()])
    app = stage.app
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await choose_models(pilot, 2)
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "2 smollm2 +")
        await pilot.press("b", "enter")
        await wait_until(pilot, lambda: len(stage.engine(1).requests) == 2)
        assert [one["content"] for one in stage.asked(1)] == ["a", "I am number 2.", "b"]
        await wait_until(pilot, lambda: "2 smollm2 +" in shown_text(app))


async def test_prompt_while_they_answer_is_given_back() -> None:
    stage = Stage(llama_1b=[text("x"), Gate(), done()])
    app = stage.app
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await choose_models(pilot)
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "llama-1b answers")
        await pilot.press("b", "enter")
        await wait_for_text(pilot, "Not all have answered yet.")
        await pilot.press("f8")
        await pilot.press("f9")
        await wait_for_text(pilot, "This counts from the next prompt on.")
        assert stage.engine(1).requests == []


async def test_column_that_is_kept_becomes_the_chat_and_the_others_are_put_away() -> None:
    stage = Stage()
    app = stage.app
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await choose_models(pilot)
        await pilot.press("f8")
        await wait_for_text(pilot, "llama-1b has not answered")
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "3 qwen-3b +")
        await pilot.press("tab", "f8")
        await wait_until(pilot, lambda: app.screen is chat_screen(app))
        await wait_for_text(pilot, "I am number 2.")
        await wait_for_text(pilot, "ready · smollm2")
        assert [talk.n_put_away for *_, talk in stage.made] == [1, 0, 1]
        await pilot.press("b", "enter")
        await wait_until(pilot, lambda: len(stage.engine(1).requests) == 2)


async def test_draft_of_the_chat_goes_along_and_columns_turn_both_ways() -> None:
    app = Stage().app
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press(*"why")
        await choose_models(pilot)
        assert "│ why" in shown_text(app)
        await pilot.press("shift+tab")
        await wait_for_text(pilot, "[3 qwen-3b]")
        await pilot.press("tab")
        await wait_for_text(pilot, "[1 llama-1b]")


async def test_answer_of_the_column_is_copied_and_pages_turn() -> None:
    lines = "\n\n".join(f"line {number}" for number in range(60))
    stage = Stage(llama_1b=[text(lines), done()])
    app = stage.app
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await choose_models(pilot, 2)
        await pilot.press("ctrl+o")
        await wait_for_text(pilot, "There is no answer to copy yet.")
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "line 59")
        await pilot.press("ctrl+t", "pageup", "pageup")
        await wait_until(pilot, lambda: "line 59" not in shown_text(app))
        await pilot.press("pagedown", "pagedown")
        await wait_for_text(pilot, "line 59")
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: app.clipboard.endswith("line 59"))


@pytest.mark.parametrize("size", SIZES)
async def test_perspectives_are_chosen_from_a_list(size: tuple[int, int], home: Path) -> None:
    (home / "presets.toml").write_text('[panel.mine]\npresets = ["brief", "newton"]\n')
    app = Stage().app
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("f9")
        await wait_for_text(pilot, "Which perspectives")
        await pilot.press("space")
        await wait_for_text(pilot, "[x]  Newton")
        await check_in_both_themes(pilot, "panel-choice")


@pytest.mark.parametrize("size", SIZES)
async def test_panel_then_every_perspective_answers_and_the_synthesis_reads_them(
    size: tuple[int, int],
) -> None:
    stage = Stage()
    app = stage.app
    async with app.run_test(size=size) as pilot:
        await choose_panel(pilot)
        await pilot.press(*"why", "enter")
        await wait_for_text(pilot, "4 Synthesis +")
        await pilot.press("shift+tab")
        await wait_for_text(pilot, "I am number 4.")
        await check_in_both_themes(pilot, "panel")
    systems = [stage.asked(number)[0]["content"] for number in range(4)]
    assert systems[0].startswith("Look at the question as a natural philosopher")
    assert len(set(systems)) == 4
    assert "## Newton\n\nI am number 1." in systems[3]
    assert "## Bias mitigation\n\nI am number 3." in systems[3]
    asked = [stage.engine(number).requests[0] for number in range(4)]
    assert [one.sampling.temperature for one in asked] == [0.3, 0.7, 0.3, 0.3]
    assert [stage.asked(number)[1]["content"] for number in range(4)] == ["why"] * 4


async def test_answers_too_long_for_the_context_then_the_synthesis_says_how_far_it_read() -> None:
    stage = Stage(llama_1b=[text("long " * 400), done()])
    app = stage.app
    async with app.run_test(size=WIDE) as pilot:
        await choose_panel(pilot)
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "4 Synthesis +")
        await pilot.press("shift+tab")
        await wait_for_text(pilot, "each answer was read up to its")


async def test_panel_in_which_too_few_answer_then_there_is_no_synthesis() -> None:
    stage = Stage(llama_1b=[RequestError("No.")])
    app = stage.app
    async with app.run_test(size=WIDE) as pilot:
        await choose_panel(pilot)
        await pilot.press("a", "enter")
        await pilot.press("shift+tab")
        await wait_for_text(pilot, "Fewer than 2 have answered")


async def test_synthesis_that_is_kept_goes_on_knowing_the_answers() -> None:
    stage = Stage()
    app = stage.app
    async with app.run_test(size=WIDE) as pilot:
        await choose_panel(pilot)
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "4 Synthesis +")
        await pilot.press("shift+tab", "f8")
        await wait_until(pilot, lambda: app.screen is chat_screen(app))
        await wait_for_text(pilot, "I am number 4.")
        await wait_until(pilot, lambda: prompt_of(app).has_focus)
        await pilot.press("b", "enter")
        await wait_until(pilot, lambda: len(stage.engine(3).requests) == 2)
        assert "## Newton" in stage.asked(3)[0]["content"]


async def test_model_for_commands_takes_no_perspectives() -> None:
    conversation = SettledConversation(
        Backend(
            ScriptedEngine(),
            ModelSpec("builtin", LoadSpec(model_path="b.gguf"), answers_with_command=True),
            None,
        )
    )
    conversation.kept = FakeSettings()
    app = ChatApp(lambda: conversation, connect_to=lambda _: conversation)
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("f9")
        await wait_for_text(pilot, "answers with one command")


@pytest.mark.parametrize("size", SIZES)
async def test_stopped_columns_look_as_drawn(size: tuple[int, int]) -> None:
    stage = Stage(llama_1b=[text("partial"), Gate(), done()])
    app = stage.app
    async with app.run_test(size=size) as pilot:
        await choose_models(pilot)
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "partial")
        await pilot.press("escape")
        await wait_for_text(pilot, "stopped by you")
        await check_in_both_themes(pilot, "columns-stopped")


@pytest.mark.parametrize("size", SIZES)
async def test_column_that_still_loads_looks_as_drawn(size: tuple[int, int]) -> None:
    stage = Stage()
    gate = Gate()
    connect = stage.connect

    def connect_slowly(name: str) -> OwnConversation:
        talk = connect(name)
        if name == "smollm2":
            stage.engine(-1).load_steps = [gate]
        return talk

    first = SettledConversation(Backend(ScriptedEngine(), spec(NAMES[0]), None))
    first.kept = stage.settings
    app = ChatApp(lambda: first, Services(fixed_look_s=LOOK_S), connect_to=connect_slowly)
    async with app.run_test(size=size) as pilot:
        await choose_models(pilot)
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "1 of 3 has answered")
        await pilot.press("tab")
        await wait_for_text(pilot, "loading 50%")
        await check_in_both_themes(pilot, "columns-loading")
        gate.opened.set()
        await wait_for_text(pilot, "3 qwen-3b +")


# ---- keys


@presses("chat.columns", "chat.panel", "choose.mark", "choose.filter", "choose.leave")
async def test_keys_that_choose_who_is_asked(keys: Keys) -> None:
    app = Stage().app
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        for action, key, asks in (
            ("chat.columns", "f5", "models get the same prompt?"),
            ("chat.panel", "f9", "Which perspectives"),
        ):
            await keys.press(pilot, action, key, asks)
            await pilot.press("down")
            n_marked = shown_text(app).count("[x]")
            await keys.press(
                pilot,
                "choose.mark",
                "space",
                lambda n=n_marked: shown_text(app).count("[x]") > n,
            )
            await keys.press(pilot, "choose.filter", "slash", "Filter:")
            await pilot.press("escape")
            await wait_until(pilot, lambda: "Filter:" not in shown_text(app))
            await keys.press(
                pilot, "choose.leave", "escape", lambda words=asks: words not in shown_text(app)
            )


@presses(
    *("columns.next", "columns.before", "columns.pace", "columns.copy", "columns.thinking"),
    *("columns.up", "columns.down", "columns.keep", "columns.stop"),
)
async def test_keys_of_the_columns(keys: Keys) -> None:
    lines = "\n\n".join(f"line {number}" for number in range(60))
    stage = Stage(
        llama_1b=[thought("let me see"), text(lines), done()], smollm2=[text("partial"), Gate()]
    )
    app = stage.app
    async with app.run_test(size=(80, 24)) as pilot:
        await choose_models(pilot, 2)
        await keys.press(pilot, "columns.next", "tab", "[2 smollm2]")
        await keys.press(pilot, "columns.before", "shift+tab", "[1 llama-1b]")
        await keys.press(pilot, "columns.pace", "f9", "all at once")
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "line 59")
        await wait_for_text(pilot, "1 of 2 has answered")
        await keys.press(pilot, "columns.up", "pageup", lambda: "line 59" not in shown_text(app))
        await keys.press(pilot, "columns.down", "pagedown", "line 59")
        await keys.press(pilot, "columns.copy", "ctrl+o", lambda: app.clipboard == lines)
        await pilot.press(*["pageup"] * 10)
        await keys.press(pilot, "columns.thinking", "ctrl+t", "let me see")
        await pilot.press("tab")
        await wait_for_text(pilot, "partial")
        await keys.press(pilot, "columns.stop", "escape", "stopped by you")
        await pilot.press("tab")
        await wait_for_text(pilot, "[1 llama-1b")
        await keys.press(pilot, "columns.keep", "f8", lambda: app.screen is chat_screen(app))
