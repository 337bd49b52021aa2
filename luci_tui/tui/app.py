"""The full-screen app: it owns the chat screen and the ways to leave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from luci_tui.tui.screens.chat import ChatScreen
from luci_tui.tui.screens.help import HelpScreen

if TYPE_CHECKING:
    from luci_tui.tui.conversation import Conversation

CLOSE_S = 3.0
"""How long the engine may take to leave before the app goes without it."""


class ChatApp(App[int]):
    """A chat with one local model."""

    TITLE = "luci"
    CSS_PATH = "theme.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="app.help", tooltip="Show the keys."),
        Binding("ctrl+q", "quit", "Quit", id="app.quit", tooltip="Leave the app.", priority=True),
        Binding("ctrl+c", "help_quit", show=False, system=True, id="app.copy_or_quit"),
    ]

    def __init__(self, connect: Callable[[], Conversation]) -> None:
        """Make an app that calls `connect` once, after the first frame, from a thread."""
        super().__init__()
        self.animation_level = "none"
        self._chat = ChatScreen(connect)

    def on_mount(self) -> None:
        """Show the chat."""
        self.push_screen(self._chat)

    def action_help(self) -> None:
        """Show or hide the page with the keys."""
        if isinstance(self.screen, HelpScreen):
            self.pop_screen()
        else:
            self.push_screen(HelpScreen())

    def on_prompt_input_help_asked(self) -> None:
        """Show the page with the keys."""
        self.push_screen(HelpScreen())

    def on_chat_screen_copy_asked(self, message: ChatScreen.CopyAsked) -> None:
        """Hand a text to the terminal's clipboard; no terminal says whether it took it."""
        self.copy_to_clipboard(message.text)
        self.notify("Sent to the terminal's clipboard (OSC 52), if it allows that.")

    def action_help_quit(self) -> None:
        """Say how to leave when Ctrl-C finds nothing to copy."""
        self.notify("Nothing is selected to copy. Ctrl-Q quits, Esc stops an answer.")

    def farewell(self) -> str:
        """Say what goes on without the screen, in one sentence; empty = nothing."""
        return self._chat.farewell()

    async def close_engine(self) -> None:
        """Let go of the engine or the host, but don't wait for it for ever."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._chat.close(), CLOSE_S)
