"""Drive the screen in tests: build the app on an engine, wait for conditions, read the screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from textual import events
from textual.pilot import Pilot

from luci_tui.chat.model import ModelSpec
from luci_tui.engine.client import EngineClient
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.host.wiring import Backend, Review
from luci_tui.tui.app import ChatApp
from luci_tui.tui.conversation import Conversation, OwnConversation
from luci_tui.tui.preferences import Preferences
from luci_tui.tui.screens.chat import ChatScreen
from luci_tui.tui.services import Link, Services
from luci_tui.tui.widgets.prompt import PromptInput
from tests.support.scripted_engine import ScriptedEngine

WAIT_S = 10.0
"""How long a condition may take on a busy machine."""
NOW_S = 1_800_000_000.0
"""The moment at which screens with a clock of their own are drawn."""
LOOK_S = 0.05
"""How often they look for what is new."""


def chat_app(
    engine: EngineClient,
    *,
    is_command_model: bool = False,
    review: Review | None = None,
    history_file: Path | None = None,
) -> ChatApp:
    model = ModelSpec(
        label="builtin" if is_command_model else "model.gguf",
        load=LoadSpec(model_path="model.gguf"),
        answers_with_command=is_command_model,
    )
    services = Services(history_file=history_file)
    return ChatApp(lambda: OwnConversation(Backend(engine, model, review)), services)


def modes_app(
    link: Link,
    preferences: Preferences | None = None,
    engine: EngineClient | None = None,
    open_chat: Callable[[str, str], Conversation] | None = None,
    **services_fields: object,
) -> ChatApp:
    """Make an app with all modes, at a moment that stands still.

    Args:
        link: The way to the host.
        preferences: How a person wants the screen.
        engine: What answers in the chat.
        open_chat: Goes on with a chat by its id and model.
        services_fields: Further fields of `Services`.
    """
    answers = engine or ScriptedEngine()
    model = ModelSpec(label="model.gguf", load=LoadSpec(model_path="model.gguf"))
    services = Services(
        link=link,
        preferences=preferences or Preferences(),
        now_s=lambda: NOW_S,
        fixed_look_s=LOOK_S,
    )
    services = replace(services, **services_fields)

    def talk_to(name: str) -> OwnConversation:
        other = ModelSpec(label=name, load=LoadSpec(model_path=name))
        return OwnConversation(Backend(ScriptedEngine(), other, None))

    return ChatApp(
        lambda: OwnConversation(Backend(answers, model, None)),
        services,
        connect_to=talk_to,
        open_chat=open_chat,
    )


def shown_text(app: ChatApp) -> str:
    """Return what the terminal shows, line by line."""
    compositor = app.screen._compositor  # pyright: ignore[reportPrivateUsage]
    strips = compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


def chat_screen(app: ChatApp) -> ChatScreen:
    return next(screen for screen in app.screen_stack if isinstance(screen, ChatScreen))


def prompt_of(app: ChatApp) -> PromptInput:
    return chat_screen(app).query_one(PromptInput)


@asynccontextmanager
async def opened_screen(app: ChatApp, size: tuple[int, int]) -> AsyncGenerator[Pilot[int]]:
    """Run a screen that talks to a host, from when its model is ready until it has let go."""
    async with app.run_test(size=size, notifications=True) as pilot:
        await wait_for_text(pilot, "ready")
        yield pilot
    await app.close_engine()


async def wait_until(pilot: Pilot[int], condition: Callable[[], bool]) -> None:
    """Let the app run until the condition holds.

    Raises:
        TimeoutError: it did not hold in time; the message shows the screen.
    """
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await pilot.pause()
    except TimeoutError as error:
        assert isinstance(pilot.app, ChatApp)
        raise TimeoutError(shown_text(pilot.app)) from error


async def wait_for_text(pilot: Pilot[int], text: str) -> None:
    """Let the app run until it shows the text."""
    app = pilot.app
    assert isinstance(app, ChatApp)
    await wait_until(pilot, lambda: text in shown_text(app))


def paste(pilot: Pilot[int], text: str) -> None:
    """Put a long text where the cursor is; to press each of its letters takes seconds."""
    pilot.app.post_message(events.Paste(text))
