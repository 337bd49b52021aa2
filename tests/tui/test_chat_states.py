"""How the chat looks in each of its states; `docs/screens.md` has them in a table."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from luci_tui.chat.model import ModelSpec
from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import HostError, ModelLoadError, RequestError, WorkerLostError
from luci_tui.host.wiring import Backend
from luci_tui.tui.app import ChatApp
from luci_tui.tui.conversation import LoadingShown, OwnConversation
from luci_tui.tui.screens.chat import State
from tests.support.kept_chats import kept_chats
from tests.support.screen import chat_app, chat_screen, wait_for_text, wait_until
from tests.support.screen_texts import check_in_both_themes
from tests.support.scripted_engine import Gate, ScriptedEngine, Step, done, text, thought
from tests.tui.test_messages import CODE, opened, stand, tool_talk

SIZES = ((80, 24), (120, 40))
THOUGHT = "The person wants a list.\nThe largest file first, so `ls -S`."
PAGES = "".join(f"Line {number} of a long answer.\n\n" for number in range(60))


@pytest.fixture(autouse=True)
def toasts_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is said in a corner stay until it has been looked at."""
    monkeypatch.setattr(ChatApp, "NOTIFICATION_TIMEOUT", 600)


async def _ask(pilot: Pilot[int]) -> None:
    await pilot.press(*"list the files", "enter")


async def _type(pilot: Pilot[int]) -> None:
    await pilot.press(*"list the files")


async def _ask_and_stop(pilot: Pilot[int]) -> None:
    await _ask(pilot)
    await wait_for_text(pilot, "The first half")
    await pilot.press("escape")


async def _open_thinking(pilot: Pilot[int]) -> None:
    await _ask(pilot)
    await wait_for_text(pilot, "TTFT")
    await pilot.press("ctrl+t")


async def _ask_and_scroll(pilot: Pilot[int]) -> None:
    await _ask(pilot)
    await wait_for_text(pilot, "Line 59")
    await pilot.press("pageup", "pageup")
    app = pilot.app
    assert isinstance(app, ChatApp)
    await wait_until(pilot, lambda: not chat_screen(app).transcript.is_vertical_scroll_end)


async def _nothing(_: Pilot[int]) -> None:
    pass


STATES: dict[str, tuple[Callable[[], list[Step]], Callable[[Pilot[int]], Awaitable[None]], str]] = {
    "chat-empty": (list, _nothing, "ready"),
    "chat-busy": (
        lambda: [frames.PromptProgress(request_id=1, n_done=100, n_total=400), Gate()],
        _ask,
        "reading the prompt 100/400",
    ),
    "chat-thinking": (lambda: [thought(THOUGHT), Gate()], _ask, "The largest file"),
    "chat-thought": (
        lambda: [thought(THOUGHT), text("`ls -S`"), done()],
        _ask,
        "Ctrl-T shows them",
    ),
    "chat-thinking-shown": (
        lambda: [thought(THOUGHT), text("`ls -S`"), done()],
        _open_thinking,
        "largest",
    ),
    "chat-stopped": (lambda: [text("The first half"), Gate()], _ask_and_stop, "stopped by you"),
    "chat-failed": (
        lambda: [
            text("The first half"),
            RequestError("The prompt has 900 tokens; the context 512.", code="context_length"),
        ],
        _ask,
        "broke off here",
    ),
    "chat-worker-dead": (
        lambda: [text("The first half"), WorkerLostError("The worker was killed by signal 9.")],
        _ask,
        "Ctrl-R loads the model again.",
    ),
    "chat-long": (lambda: [text(PAGES), done()], _ask, "Line 59"),
    "chat-scrolled": (lambda: [text(PAGES), done()], _ask_and_scroll, "of a long answer"),
    "chat-code": (lambda: [text(CODE), done()], _ask, "TTFT"),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", STATES)
async def test_state_of_the_chat_looks_as_drawn(name: str, size: tuple[int, int]) -> None:
    script, act, waits_for = STATES[name]
    app = chat_app(ScriptedEngine(script()), is_command_model=name == "chat-empty")
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await act(pilot)
        await wait_for_text(pilot, waits_for)
        await check_in_both_themes(pilot, name)


@pytest.mark.parametrize("size", SIZES)
async def test_loading_looks_as_drawn(size: tuple[int, int]) -> None:
    app = chat_app(ScriptedEngine(load=[Gate()]))
    async with app.run_test(size=size) as pilot:
        await _ask(pilot)
        await wait_for_text(pilot, "loading 50%")
        await wait_for_text(pilot, "waiting 1")
        await check_in_both_themes(pilot, "chat-loading")


@pytest.mark.parametrize("size", SIZES)
async def test_no_model_looks_as_drawn(size: tuple[int, int]) -> None:
    app = chat_app(ScriptedEngine(load=[ModelLoadError("model.gguf is empty.")]))
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "Ctrl-R tries again.")
        await check_in_both_themes(pilot, "chat-no-model")


async def test_narrow_chat_looks_as_drawn() -> None:
    app = chat_app(ScriptedEngine([thought(THOUGHT), text("word " * 30), done()]))
    async with app.run_test(size=(40, 16)) as pilot:
        await _ask(pilot)
        await wait_for_text(pilot, "TTFT")
        await check_in_both_themes(pilot, "chat-narrow")


class _Lost(OwnConversation):
    """Loses its host in the first answer, and finds it when the gate is opened."""

    def __init__(self, gate: Gate) -> None:
        model = ModelSpec("model.gguf", LoadSpec(model_path="model.gguf"))
        engine = ScriptedEngine(
            [text("The first half"), HostError("The host ended.", code="unreachable")]
        )
        super().__init__(Backend(engine, model, None))
        self._gate = gate
        self._n_loads = 0

    async def load(self) -> AsyncGenerator[LoadingShown]:
        self._n_loads += 1
        if self._n_loads > 1:
            await self._gate.opened.wait()
        async for event in super().load():
            yield event


@pytest.mark.parametrize("size", SIZES)
async def test_lost_host_looks_as_drawn_until_it_is_back(size: tuple[int, int]) -> None:
    gate = Gate()
    app = ChatApp(lambda: _Lost(gate))
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        await _ask(pilot)
        await wait_for_text(pilot, "looking for the host, try 1")
        await check_in_both_themes(pilot, "chat-host-lost")
        gate.opened.set()
        await wait_for_text(pilot, "It is back")
        await check_in_both_themes(pilot, "chat-host-back")


@pytest.mark.parametrize("size", SIZES)
async def test_tool_calls_look_as_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    chat_id = tool_talk(tmp_path)
    async with kept_chats(tmp_path, ScriptedEngine()) as chats:
        app = chats.app(chat_id)
        async with app.run_test(size=size) as pilot:
            await wait_for_text(pilot, "= 21 °C")
            await check_in_both_themes(pilot, "chat-tools")
        await app.close_engine()


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_left_out_looks_as_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    talk = tuple((f"question {number}", "word " * 400) for number in range(6))
    script = [text("short"), done()]
    async with opened(tmp_path, script, told=talk, size=size) as (_, app, pilot):
        await pilot.press(*"again", "enter")
        await wait_for_text(pilot, "earlier messages did not fit and were left out")
        await wait_until(pilot, lambda: chat_screen(app).state is State.READY)
        await check_in_both_themes(pilot, "chat-cut")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "keys", "waits_for"),
    [
        ("chat-blocks", ("b",), "python · 2 lines · import os"),
        ("chat-note", ("plus", "n"), "The note is kept"),
        ("chat-export", ("x",), "Export this chat as"),
    ],
)
async def test_questions_about_a_message_look_as_drawn(
    tmp_path: Path, name: str, keys: tuple[str, ...], waits_for: str, size: tuple[int, int]
) -> None:
    async with opened(tmp_path, told=(("how?", CODE),), size=size) as (_, _, pilot):
        await stand(pilot, *keys)
        await wait_for_text(pilot, waits_for)
        await check_in_both_themes(pilot, name)


@pytest.mark.parametrize("size", SIZES)
async def test_question_for_a_file_looks_as_drawn(tmp_path: Path, size: tuple[int, int]) -> None:
    talk = (("how?", "```sh\nls -S\n```"),)
    async with opened(tmp_path, told=talk, size=size) as (_, _, pilot):
        await stand(pilot, "s")
        await wait_for_text(pilot, "Save the block to which file?")
        await check_in_both_themes(pilot, "chat-save")
