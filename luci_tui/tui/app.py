"""The full-screen app: it owns the modes, the keys, and the ways to leave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import App
from textual.binding import BindingType

from luci_tui.tui.keymap import BY_ID, binding, make_keymap, words_of
from luci_tui.tui.messages import ChatWanted, ModelWanted
from luci_tui.tui.mode_list import OPENED_LATER, TABS, make_mode
from luci_tui.tui.screens.chat import ChatScreen
from luci_tui.tui.services import Services
from luci_tui.tui.widgets.modebar import ModeBar

if TYPE_CHECKING:
    from textual.binding import ActiveBinding
    from textual.screen import Screen

    from luci_tui.tui.conversation import Conversation
    from luci_tui.tui.screens.palette import Command

CLOSE_S = 3.0
"""How long the engine may take to leave before the app goes without it."""
WARNING_S = 20.0
"""How long a sentence about the settings stands."""


class ChatApp(App[int]):
    """A chat with one local model, and modes that show what the host does.

    Args:
        connect: Called once, after the first frame, from a thread.
        services: The way to the host and how the screen is wanted; without a link to a host
            there is only the chat.
        connect_to: Joins a new chat to the model of a name; called in the same way.
        open_chat: Joins the chat of an id to a model; called in the same way.
    """

    TITLE = "luci"
    CSS_PATH = "theme.tcss"
    ENABLE_COMMAND_PALETTE = False
    DEFAULT_MODE = "chat"
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("app.palette", "palette"),
        binding("app.help", "help"),
        binding("app.quit", "quit"),
        binding("app.copy_or_quit", "help_quit"),
        *(binding(f"mode.{tab.name}", f"mode('{tab.name}')") for tab in TABS),
    ]

    def __init__(
        self,
        connect: Callable[[], Conversation],
        services: Services | None = None,
        connect_to: Callable[[str], Conversation] | None = None,
        open_chat: Callable[[str, str], Conversation] | None = None,
    ) -> None:
        super().__init__()
        self._connect_to = connect_to
        self._open_chat = open_chat
        self.animation_level = "none"
        self.services = services or Services()
        self.keys = make_keymap(self.services.preferences.keys)
        self._chat = ChatScreen(connect, self.services, self.keys, connect_to)
        modes: dict[str, Callable[[], Screen[None]]] = {"chat": lambda: self._chat}
        if self.services.link is not None:
            modes |= {name: partial(make_mode, name, self.services) for name in OPENED_LATER}
        for name, make in modes.items():
            self.add_mode(name, make)  # pyright: ignore[reportUnknownMemberType]

    def on_mount(self) -> None:
        """Look as the person wants it, and check the settings once the screen stands."""
        self.set_keymap(dict(self.keys.changed))
        theme = self.services.preferences.theme
        if theme in self.available_themes:
            self.theme = theme
        if self.services.link is not None:
            self.call_after_refresh(self._tell_wishes)

    def _tell_wishes(self) -> None:
        """Say which wishes for keys and looks cannot be granted."""
        theme = self.services.preferences.theme
        warnings = list(self.keys.warnings)
        if theme and theme not in self.available_themes:
            warnings.append(f'screen.theme: there is no theme "{theme}". Ctrl-P lists them.')
        for warning in warnings:
            self.notify(warning, severity="warning", timeout=WARNING_S, markup=False)

    # ---- modes

    async def action_mode(self, name: str) -> None:
        """Go to a mode; it is made when it is first opened."""
        if self.services.link is not None and name != self.current_mode:
            await self.switch_mode(name)

    async def on_model_wanted(self, message: ModelWanted) -> None:
        """Begin a chat with another model."""
        if self._connect_to is None:
            return
        await self.action_mode("chat")
        await self._chat.talk_to(partial(self._connect_to, message.name))

    async def on_chat_wanted(self, message: ChatWanted) -> None:
        """Go on with a chat that is kept."""
        if self._open_chat is None:
            return
        await self.action_mode("chat")
        connect = partial(self._open_chat, message.chat_id, message.model)
        await self._chat.talk_to(connect, resumes=True)

    async def on_mode_bar_asked(self, message: ModeBar.Asked) -> None:
        """Go to the mode that was clicked."""
        await self.action_mode(message.name)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer no modes where there is no host, and nothing else above a question."""
        del parameters
        if action == "mode":
            return self.services.link is not None and not self.screen.is_modal
        return not (action in ("palette", "help") and self.screen.is_modal)

    # ---- help and palette

    def action_help(self) -> None:
        """Show the page with the keys that work here."""
        from luci_tui.tui.screens.help import HelpPage, HelpScreen, KeyLine

        here: list[KeyLine] = []
        everywhere: list[KeyLine] = []
        for active in self._actions():
            action = active.binding
            line = KeyLine(
                words_of(self.keys.keys[action.id or ""]), active.tooltip, action.id or ""
            )
            (everywhere if active.node is self else here).append(line)
        screen = self.screen
        title = str(getattr(screen, "NAME", "")).capitalize()
        text = str(getattr(screen, "HELP", ""))
        page = HelpPage(title, text, [("Here", here), ("Everywhere", everywhere)])
        self.push_screen(HelpScreen(page, self.size.width))

    def on_prompt_input_help_asked(self) -> None:
        """Show the page with the keys."""
        self.action_help()

    @work(exit_on_error=False)
    async def action_palette(self) -> None:
        """Let the person find an action by its name, and do it."""
        from luci_tui.tui.screens.palette import PaletteScreen

        actions = {active.binding.id or "": active for active in self._actions()}
        chosen = await self.push_screen_wait(PaletteScreen(self._commands(actions)))
        if (active := actions.get(chosen)) is not None:
            await self.run_action(active.binding.action, active.node)
        elif chosen.startswith("theme:"):
            self.theme = chosen.removeprefix("theme:")

    def _actions(self) -> list[ActiveBinding]:
        """List what can be done here, each action once; keys of the usual widgets are no news."""
        found: dict[str, ActiveBinding] = {}
        for active in self.screen.active_bindings.values():
            if active.binding.id in BY_ID and active.enabled:
                found.setdefault(active.binding.id, active)
        # What only this place has comes first, what every list can do last.
        place = str(getattr(self.screen, "NAME", ""))
        return sorted(
            found.values(),
            key=lambda one: (BY_ID[one.binding.id or ""].place != place, not one.binding.show),
        )

    def _commands(self, actions: dict[str, ActiveBinding]) -> list[Command]:
        """Name everything: first what the footer has, then the modes, then the rest."""
        from luci_tui.tui.screens.palette import Command

        title = str(getattr(self.screen, "NAME", "")).capitalize()
        places = {"mode": "Go to", "app": "luci:"}
        found: list[tuple[int, Command]] = []
        for action_id, active in actions.items():
            action = BY_ID[action_id]
            name = f"{places.get(action.place, f'{title}:')} {active.binding.description}"
            keys = words_of(self.keys.keys[action_id].partition(",")[0])
            turn = 1 if action.place == "mode" else 2 * (not action.is_shown)
            found.append((turn, Command(action_id, name, keys, active.tooltip)))
        commands = [command for _, command in sorted(found, key=lambda one: one[0])]
        advice = "Until luci is left; [screen] theme in config.toml stays."
        themes = sorted(self.available_themes)
        return commands + [Command(f"theme:{one}", f"Theme: {one}", "", advice) for one in themes]

    # ---- copying and leaving

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
        link = self.services.link
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._chat.close()
                if link is not None:
                    await link.drop()
