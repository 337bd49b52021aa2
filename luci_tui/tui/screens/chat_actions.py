"""What the chat's keys for parameters, models, columns and panels do; imported when one is used."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.css.query import NoMatches
from textual.widgets import Footer

from luci_tui.chat.panel import N_LEAST
from luci_tui.errors import LuciError
from luci_tui.tui.chat_settings import Beginning
from luci_tui.tui.screens.choose import ChooseScreen, Option
from luci_tui.tui.screens.columns import ColumnsScreen
from luci_tui.tui.screens.palette import Command, PaletteScreen
from luci_tui.tui.screens.parameters import SIDE_COLUMNS, ParameterDesk, ParameterPage
from luci_tui.tui.widgets.parameters import ParameterPanel
from luci_tui.tui.widgets.prompt import PromptInput
from luci_tui.tui.widgets.text import one_line

if TYPE_CHECKING:
    from pydantic import JsonValue

    from luci_tui.tui.chat_settings import ChatSettings
    from luci_tui.tui.conversation import Conversation
    from luci_tui.tui.screens.chat import ChatScreen

LEAST_MODELS, MOST_MODELS = 2, 4
"""So many models are asked the same."""
_SIDE = "parameters"


async def show_parameters(screen: ChatScreen) -> None:
    """Open the parameters, go to them, or close them where one is there already."""
    settings = _settings_of(screen)
    if settings is None:
        return
    side = side_of(screen)
    if side is not None and side.has_focus_within:
        await side.remove()
        screen.query_one(PromptInput).focus()
    elif side is not None:
        side.query_one(ParameterPanel).focus()
    elif screen.size.width >= SIDE_COLUMNS:
        side = ParameterDesk(settings, id=_SIDE)
        await screen.mount(side, before=screen.query_one(Footer))
        side.query_one(ParameterPanel).focus()
    else:
        page = ParameterPage(settings)
        # Textual leaves the app's result type open.
        told = await screen.app.push_screen_wait(page)  # pyright: ignore[reportUnknownMemberType]
        for sentence in told:
            await screen.tell(sentence)


def side_of(screen: ChatScreen) -> ParameterDesk | None:
    """Return the parameters that stand beside the chat; None = there are none."""
    try:
        return screen.query_one(f"#{_SIDE}", ParameterDesk)
    except NoMatches:
        return None


async def switch_model(screen: ChatScreen) -> None:
    """Let the person choose the model that answers from here on."""
    settings = _settings_of(screen)
    if settings is None or _is_answering(screen):
        return
    try:
        choices = await settings.models()
        commands = [
            Command(
                one.name,
                one_line(one.name),
                "in memory" if one.is_loaded else "",
                one_line(one.detail),
            )
            for one in choices
        ]
        asked = PaletteScreen(commands, "Which model goes on with this chat?")
        name = await screen.app.push_screen_wait(asked)  # pyright: ignore[reportUnknownMemberType]
        if not name or _is_answering(screen):
            return
        await screen.tell(await settings.switch(name))
    except LuciError as error:
        await screen.tell(error.message, is_error=True)
        return
    screen.load_model()


async def ask_models(screen: ChatScreen) -> None:
    """Let the person choose models, and ask them the same."""
    settings, conversation = _settings_of(screen), screen.conversation
    if settings is None or conversation is None or screen.connect_to is None:
        return
    if _is_answering(screen):
        return
    try:
        found = await settings.models()
        present = (await settings.read()).model
    except LuciError as error:
        await screen.tell(error.message, is_error=True)
        return
    choices = [
        Option(one.name, one.name, "in memory" if one.is_loaded else one.detail) for one in found
    ]
    marked = [one.name for one in found if one.name == present]
    question = f"Which {LEAST_MODELS} to {MOST_MODELS} models get the same prompt?"
    asked = ChooseScreen(question, choices, chosen=marked, least=LEAST_MODELS, most=MOST_MODELS)
    chosen = await _chosen(screen, asked)
    if chosen:
        before = conversation.from_here()
        voices = [(name, await _connect(screen, name, before)) for name in chosen]
        await _show_columns(screen, voices, None, before)


async def ask_panel(screen: ChatScreen) -> None:
    """Let the person choose perspectives, ask them the same, and have a synthesis made."""
    settings = _settings_of(screen)
    conversation = screen.conversation
    if settings is None or conversation is None or screen.connect_to is None:
        return
    if _is_answering(screen):
        return
    if conversation.answers_with_command:
        screen.notify(
            "This model answers with one command and takes no perspective. F4 chooses another one."
        )
        return
    from luci_tui.chat.panel import SYNTHESIS_TITLE
    from luci_tui.chat.presets import MAX_PANEL, read_presets

    found = await asyncio.to_thread(read_presets)
    for problem in found.problems:
        screen.notify(one_line(problem), severity="warning", markup=False)
    in_panels = {name for panel in found.panels.values() for name in panel.presets}
    choices = [
        Option(f"panel {name}", one.words, ", ".join(one.presets), one.presets)
        for name, one in found.panels.items()
    ]
    choices += [
        Option(name, one.words, one.about)
        for name, one in found.presets.items()
        if one.is_perspective or name in in_panels
    ]
    question = "Which perspectives get the same prompt? A synthesis follows."
    asked = ChooseScreen(question, choices, least=N_LEAST, most=MAX_PANEL)
    chosen = await _chosen(screen, asked)
    if not chosen:
        return
    model = (await settings.read()).name
    before = conversation.from_here()
    voices: list[tuple[str, Conversation]] = []
    for name in chosen:
        preset = found.presets[name]
        sampling: dict[str, JsonValue] = {"sampling_changes": preset.sampling}
        asked_so = replace(before, system=preset.system, parameters=sampling)
        voices.append((preset.words, await _connect(screen, model, asked_so)))
    maker = (SYNTHESIS_TITLE, await _connect(screen, model, before))
    await _show_columns(screen, voices, maker, before)


async def _show_columns(
    screen: ChatScreen,
    voices: list[tuple[str, Conversation]],
    synthesis: tuple[str, Conversation] | None,
    before: Beginning,
) -> None:
    prompt = screen.query_one(PromptInput)
    said = screen.transcript.entries if before.after_chat else ()
    n_before = sum(one.is_message for one in said)
    columns = ColumnsScreen(
        voices, synthesis, screen.services, screen.keys, prompt.text, before, n_before
    )
    prompt.clear()
    # Textual leaves the app's result type open.
    kept = await screen.app.push_screen_wait(columns)  # pyright: ignore[reportUnknownMemberType]
    if kept is not None:
        await screen.talk_to(lambda: kept, resumes=True)


async def _chosen(screen: ChatScreen, asked: ChooseScreen) -> tuple[str, ...]:
    return await screen.app.push_screen_wait(asked)  # pyright: ignore[reportUnknownMemberType]


async def _connect(screen: ChatScreen, name: str, start: Beginning) -> Conversation:
    """Make a chat with a model; it begins with the first prompt."""
    connect_to = screen.connect_to
    assert connect_to is not None
    conversation = await asyncio.to_thread(connect_to, name)
    if start != Beginning():
        conversation.begin_with(start)
    return conversation


def _settings_of(screen: ChatScreen) -> ChatSettings | None:
    """Return what changes how the chat is asked, or say why there is nothing."""
    settings = None if screen.conversation is None else screen.conversation.settings
    if settings is None:
        screen.notify("Only a chat of a host can be changed, and this one has none (yet).")
    return settings


def _is_answering(screen: ChatScreen) -> bool:
    if screen.is_answering:
        screen.notify("An answer is being given. Esc stops it first.")
    return screen.is_answering
