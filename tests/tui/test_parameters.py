"""The parameters beside a chat and on a page: what is shown, edited, taken back, refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input

from luci_tui.chat.model import ModelSpec
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import HostError
from luci_tui.host.wiring import Backend
from luci_tui.tui.app import ChatApp
from luci_tui.tui.chat_settings import ModelChoice
from luci_tui.tui.widgets.parameters import ParameterPanel
from luci_tui.tui.widgets.rows import Rows
from tests.support.fake_settings import FakeSettings, SettledConversation
from tests.support.keys import Keys, presses
from tests.support.screen import (
    chat_app,
    chat_screen,
    prompt_of,
    shown_text,
    wait_for_text,
    wait_until,
)
from tests.support.screen_texts import check_in_both_themes
from tests.support.scripted_engine import Gate, ScriptedEngine, done, text

SIZES = ((80, 24), (120, 40))
WIDE = (120, 40)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    return tmp_path


def app_with(settings: FakeSettings, engine: ScriptedEngine | None = None) -> ChatApp:
    model = ModelSpec("llama-1b", LoadSpec(model_path="llama-1b.gguf"))
    conversation = SettledConversation(Backend(engine or ScriptedEngine(), model, None))
    conversation.kept = settings
    return ChatApp(lambda: conversation)


def typical() -> FakeSettings:
    return FakeSettings(
        chat={"system": "You are brief.\nAlways [b]brief[/b]."},
        own={"temperature": 0.25},
        described={"temperature": 0.7, "top_k": 12},
    )


def rows_of(app: App[int]) -> Rows:
    return app.screen.query_one(ParameterPanel).query_one(Rows)


async def open_on(pilot: Pilot[int], name: str) -> None:
    await wait_for_text(pilot, "ready")
    await pilot.press("f3")
    await wait_for_text(pilot, "repeat_last_n")
    rows_of(pilot.app).go_to(name)


@pytest.mark.parametrize("size", SIZES)
async def test_parameters_are_drawn(size: tuple[int, int]) -> None:
    app = app_with(typical(), ScriptedEngine([text("Hello."), done()]))
    async with app.run_test(size=size) as pilot:
        await pilot.press(*"hi", "enter")
        await wait_for_text(pilot, "TTFT")
        await open_on(pilot, "temperature")
        await wait_for_text(pilot, "Else models.toml 0.7")
        await check_in_both_themes(pilot, "parameters")


@pytest.mark.parametrize("size", SIZES)
async def test_host_that_does_not_answer_is_told_in_place_of_the_values(
    size: tuple[int, int],
) -> None:
    app = app_with(FakeSettings(failure=HostError("The host does not answer.")))
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("f3")
        await wait_for_text(pilot, "parameters to show")
        await check_in_both_themes(pilot, "parameters-lost")


@pytest.mark.parametrize("size", SIZES)
async def test_value_typed_for_the_chat_counts_and_says_so(size: tuple[int, int]) -> None:
    settings = typical()
    app = app_with(settings)
    async with app.run_test(size=size) as pilot:
        await open_on(pilot, "temperature")
        await pilot.press("enter")
        await wait_for_text(pilot, "temperature for this chat: number, at least 0.")
        await pilot.press(*["backspace"] * 4, *"-1", "enter")
        await wait_for_text(pilot, 'temperature cannot be "-1". It wants: number, at least 0.')
        await check_in_both_themes(pilot, "parameters-refused")
        assert "temperature" not in settings.chat
        await pilot.press(*["backspace"] * 2, *"0.5", "enter")
        await wait_until(pilot, lambda: settings.chat.get("temperature") == 0.5)
        await wait_for_text(pilot, "Else model 0.25 · models.toml 0.7")


async def test_value_for_the_model_is_kept_for_the_model() -> None:
    settings = typical()
    app = app_with(settings)
    async with app.run_test(size=WIDE) as pilot:
        await open_on(pilot, "top_k")
        await pilot.press("m")
        await wait_for_text(pilot, "top_k for every chat with this model")
        await pilot.press(*["backspace"] * 2, "9", "enter")
        await wait_until(pilot, lambda: settings.own.get("top_k") == 9)
        assert "top_k" not in settings.chat


async def test_value_that_only_a_chat_has_is_not_asked_for_the_model() -> None:
    app = app_with(typical())
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await open_on(pilot, "max_tokens")
        await wait_for_text(pilot, "Kept for a chat alone.")
        await pilot.press("m")
        await wait_for_text(pilot, "max_tokens is kept for a chat alone. Enter sets it.")


async def test_delete_takes_back_the_strongest_value_one_by_one() -> None:
    settings = typical()
    settings.chat["temperature"] = 0.1
    app = app_with(settings)
    async with app.run_test(size=WIDE) as pilot:
        await open_on(pilot, "temperature")
        await pilot.press("delete")
        await wait_until(pilot, lambda: "temperature" not in settings.chat)
        await wait_for_text(pilot, "Else models.toml 0.7")
        await pilot.press("delete")
        await wait_until(pilot, lambda: "temperature" not in settings.own)
        await wait_for_text(pilot, "Else default 0.8")


@pytest.mark.parametrize("size", SIZES)
async def test_system_prompt_is_written_in_lines(size: tuple[int, int]) -> None:
    settings = typical()
    app = app_with(settings)
    async with app.run_test(size=size) as pilot:
        await open_on(pilot, "system")
        await pilot.press("enter")
        await wait_for_text(pilot, "system for this chat:")
        await check_in_both_themes(pilot, "system-prompt")
        await pilot.press("enter", *"So.", "ctrl+s")
        await wait_until(pilot, lambda: str(settings.chat["system"]).endswith("[/b].\nSo."))
        await pilot.press("enter", *"never", "escape")
        await wait_for_text(pilot, "repeat_last_n")
        assert "never" not in str(settings.chat["system"])


async def test_system_prompt_emptied_is_taken_back() -> None:
    settings = typical()
    app = app_with(settings)
    async with app.run_test(size=WIDE) as pilot:
        await open_on(pilot, "system")
        await pilot.press("enter")
        await wait_for_text(pilot, "system for this chat:")
        await pilot.press("f7", "backspace", "ctrl+s")
        await wait_until(pilot, lambda: "system" not in settings.chat)


@pytest.mark.parametrize("size", SIZES)
async def test_preset_is_chosen_by_typing_and_told_in_the_transcript(
    size: tuple[int, int],
) -> None:
    settings = FakeSettings()
    app = app_with(settings)
    async with app.run_test(size=size) as pilot:
        await open_on(pilot, "system")
        await pilot.press("p")
        await wait_for_text(pilot, "Which preset?")
        await check_in_both_themes(pilot, "presets")
        await pilot.press(*"newt", "enter")
        await wait_until(pilot, lambda: settings.chat.get("temperature") == 0.3)
        await pilot.press("escape")
        await wait_for_text(
            pilot, "Preset Newton for this chat: its system prompt, temperature 0.3."
        )
        assert str(settings.chat["system"]).startswith("Look at the question")


async def test_own_presets_stand_first_and_their_faults_are_told(home: Path) -> None:
    (home / "presets.toml").write_text('[preset.mine]\nsystem = "x"\n[preset.bad]\nwarmth = 1\n')
    app = app_with(FakeSettings())
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await open_on(pilot, "system")
        await pilot.press("p")
        await wait_for_text(pilot, "> mine")
        await wait_for_text(pilot, "warmth is not known here")


async def test_side_stays_while_one_types_and_the_same_key_closes_it() -> None:
    app = app_with(typical())
    async with app.run_test(size=WIDE) as pilot:
        await open_on(pilot, "system")
        await pilot.press("escape")
        assert prompt_of(app).has_focus
        assert "repeat_last_n" in shown_text(app)
        await pilot.press("f3")
        await wait_until(pilot, lambda: rows_of(app).has_focus)
        await pilot.press("f3")
        await wait_until(pilot, lambda: "repeat_last_n" not in shown_text(app))
        assert prompt_of(app).has_focus


@pytest.mark.parametrize("key", ["escape", "f3"])
async def test_page_is_left(key: str) -> None:
    app = app_with(typical())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_on(pilot, "system")
        await pilot.press(key)
        await wait_until(pilot, lambda: app.screen is chat_screen(app))


async def test_new_chat_then_the_side_shows_its_parameters() -> None:
    settings = typical()
    app = app_with(settings)
    async with app.run_test(size=WIDE) as pilot:
        await open_on(pilot, "temperature")
        await pilot.press("escape")
        settings.chat["temperature"] = 0.125
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "0.125")


async def test_chat_without_a_host_has_no_parameters_and_says_so() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("f3")
        await wait_for_text(pilot, "Only a chat of a host can be changed")


@pytest.mark.parametrize("size", SIZES)
async def test_other_model_goes_on_with_the_chat_and_is_loaded(size: tuple[int, int]) -> None:
    engine = ScriptedEngine([text("one"), done()], [text("two"), done()])
    settings = FakeSettings(
        choices=(ModelChoice("llama-1b", is_loaded=True), ModelChoice("qwen-3b", is_loaded=False))
    )
    app = app_with(settings, engine)
    async with app.run_test(size=size) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "TTFT")
        await pilot.press("f4")
        await wait_for_text(pilot, "Which model goes on with this chat?")
        await check_in_both_themes(pilot, "model-choice")
        await pilot.press(*"qwen", "enter")
        await wait_for_text(pilot, "From here on qwen-3b answers.")
        await wait_until(pilot, lambda: engine.n_loads == 2)
        await wait_for_text(pilot, "ready")
        await pilot.press("b", "enter")
        await wait_for_text(pilot, "two")


async def test_model_is_not_changed_in_an_answer() -> None:
    app = app_with(FakeSettings(), ScriptedEngine([text("one"), Gate(), done()]))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "one")
        await pilot.press("f4")
        await wait_for_text(pilot, "An answer is being given. Esc stops it first.")


async def test_model_that_cannot_be_chosen_is_one_sentence() -> None:
    app = app_with(FakeSettings(failure=HostError("The host does not answer.")))
    async with app.run_test(size=WIDE) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("f4")
        await wait_for_text(pilot, "Error: The host does not answer.")


async def test_keys_that_come_all_at_once_are_taken_in_their_order() -> None:
    settings = typical()
    app = app_with(settings)
    async with app.run_test(size=WIDE) as pilot:
        await open_on(pilot, "temperature")
        await pilot.press("enter")
        await wait_for_text(pilot, "temperature for this chat")
        # What a slow line brings in one piece: all keys are there before the first is looked at.
        line = app.screen.query_one(Input)
        for key in (*["backspace"] * 4, *"0.5"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await wait_until(pilot, lambda: line.value == "0.5")
        await pilot.press("enter")
        await wait_until(pilot, lambda: settings.chat.get("temperature") == 0.5)


@pytest.mark.parametrize("size", SIZES)
async def test_refusal_of_what_only_a_chat_has_looks_as_drawn(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(ChatApp, "NOTIFICATION_TIMEOUT", 600)
    app = app_with(typical())
    async with app.run_test(size=size, notifications=True) as pilot:
        await open_on(pilot, "max_tokens")
        await pilot.press("m")
        await wait_for_text(pilot, "max_tokens is kept for a chat alone.")
        await check_in_both_themes(pilot, "parameters-chat-alone")


# ---- keys


@presses(
    *("chat.parameters", "parameters.close", "parameters.leave", "parameters.model"),
    *("parameters.reset", "parameters.presets"),
)
async def test_keys_of_the_parameters(keys: Keys) -> None:
    settings = typical()
    app = app_with(settings)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        for action, key in (("parameters.close", "f3"), ("parameters.leave", "escape")):
            await keys.press(pilot, "chat.parameters", "f3", "repeat_last_n")
            await keys.press(pilot, action, key, lambda: app.screen is chat_screen(app))
        await open_on(pilot, "temperature")
        for action, key, asks in (
            ("parameters.model", "m", "temperature for every chat"),
            ("parameters.presets", "p", "Which preset?"),
        ):
            await keys.press(pilot, action, key, asks)
            await pilot.press("escape")
            await wait_until(pilot, lambda words=asks: words not in shown_text(app))
        await keys.press(
            pilot, "parameters.reset", "delete", lambda: "temperature" not in settings.own
        )


@presses("write.take", "write.leave")
async def test_keys_of_a_box_of_lines(keys: Keys) -> None:
    settings = typical()
    app = app_with(settings)
    question = "system for this chat:"
    async with app.run_test(size=(80, 24)) as pilot:
        await open_on(pilot, "system")
        for key in ("ctrl+s", "f8"):
            await pilot.press("enter")
            await wait_for_text(pilot, question)
            await pilot.press("enter", *f"by {key}")
            said = f"by {key}"
            await keys.press(
                pilot, "write.take", key, lambda words=said: words in str(settings.chat["system"])
            )
            await wait_until(pilot, lambda: question not in shown_text(app))
        await pilot.press("enter")
        await wait_for_text(pilot, question)
        await keys.press(pilot, "write.leave", "escape", lambda: question not in shown_text(app))


@presses("chat.model")
async def test_key_that_changes_the_model(keys: Keys) -> None:
    app = app_with(FakeSettings(choices=(ModelChoice("llama-1b", is_loaded=True),)))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await keys.press(pilot, "chat.model", "f4", "Which model goes on with this chat?")
