"""What the chat's keys for parameters, models, columns and panels do; imported when one is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.css.query import NoMatches
from textual.widgets import Footer

from luci_tui.errors import LuciError
from luci_tui.tui.screens.palette import Command, PaletteScreen
from luci_tui.tui.screens.parameters import SIDE_COLUMNS, ParameterDesk, ParameterPage
from luci_tui.tui.widgets.parameters import ParameterPanel
from luci_tui.tui.widgets.prompt import PromptInput
from luci_tui.tui.widgets.text import one_line

if TYPE_CHECKING:
    from luci_tui.tui.chat_settings import ChatSettings
    from luci_tui.tui.screens.chat import ChatScreen

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
