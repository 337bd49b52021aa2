"""The full-screen app: it owns the modes, the keys, and the ways to leave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, work
from textual.app import App
from textual.binding import BindingType
from textual.worker import Worker, WorkerState

from luci_tui.tui.key_actions import BY_ID
from luci_tui.tui.keymap import binding, make_keymap, words_of
from luci_tui.tui.messages import (
    AnswerBegan,
    AnswerEnded,
    ChatGone,
    ChatOpened,
    ChatWanted,
    InstallWanted,
    ModelWanted,
)
from luci_tui.tui.mode_list import OPENED_LATER, TABS, make_mode
from luci_tui.tui.presence import Presence
from luci_tui.tui.screens.chat import ChatScreen
from luci_tui.tui.services import Services
from luci_tui.tui.watch import what_goes_on
from luci_tui.tui.widgets.message import Notice
from luci_tui.tui.widgets.modebar import ModeBar

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.binding import ActiveBinding
    from textual.screen import Screen

    from luci_tui.tui.conversation import Conversation
    from luci_tui.tui.screens.palette import Command

log = logging.getLogger(__name__)

THEME: list[str | PurePath] = [
    f"theme/{part}.tcss" for part in ("frame", "dialogs", "chat", "modes", "nocolour")
]
"""Of rules of equal weight the later one counts, so the order is part of the looks."""
CLOSE_S = 3.0
"""How long the engine may take to leave before the app goes without it."""
BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-low"), (10, "-high")]
"""Rows below which frames and the footer make room for what they are around."""
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
    CSS_PATH = THEME
    ENABLE_COMMAND_PALETTE = False
    DEFAULT_MODE = "chat"
    VERTICAL_BREAKPOINTS = BREAKPOINTS
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("app.palette", "palette"),
        binding("app.help", "help"),
        binding("app.jump", "jump"),
        binding("app.welcome", "welcome"),
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
        self.services = services or Services()
        terminal = self.services.terminal
        # Colours that are unwanted are left out altogether, not turned into shades of grey.
        is_plain = terminal is not None and terminal.no_color
        super().__init__(ansi_color=True if is_plain else None)
        self._connect_to = connect_to
        self._open_chat = open_chat
        self.animation_level = "none"
        self.keys = make_keymap(self.services.preferences.keys)
        self._chat = ChatScreen(connect, self.services, self.keys, connect_to)
        self._presence = Presence(
            self.services, self._to_terminal, self._say, self._tell, self._tell_chat_gone
        )
        self._going_on = ""
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
        self._presence.attention.open()
        if self.services.link is not None:
            self.call_after_refresh(self._tell_wishes)
            self.call_after_refresh(self._follow_host)

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
        if action == "welcome":
            return self.services.link is not None and not self.screen.is_modal
        return not (action in ("palette", "help", "jump") and self.screen.is_modal)

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

    # ---- going somewhere

    @work(exit_on_error=False)
    async def action_jump(self) -> None:
        """Put a label on everything that can be gone to, and go to the one that is typed."""
        from luci_tui.tui.screens.jump import JumpScreen, spots_of

        screen = self.screen
        spot = await self.push_screen_wait(JumpScreen(spots_of(screen)))
        if spot is not None and screen is self.screen:
            spot.go()

    # ---- the welcome

    @work(exclusive=True, group="welcome", exit_on_error=False)
    async def action_welcome(self) -> None:
        """Show this machine and three models that fit it."""
        from luci_tui.tui.widgets.welcome import Welcome

        await self.action_mode("chat")
        await self._chat.transcript.drop("Welcome")
        self._chat.query("#empty").set(display=False)
        await self._chat.show_notes(Welcome(self.services.look_around))

    @work(group="install", exit_on_error=False)
    async def on_install_wanted(self, message: InstallWanted) -> None:
        """Ask, then begin an install."""
        from luci_tui.tui.installing import ask_and_install

        if self.services.link is not None:
            await ask_and_install(self, self.services.link, message.name)

    # ---- who looks, and what ends

    @work(exclusive=True, group="presence", exit_on_error=False)
    async def _follow_host(self) -> None:
        await self._presence.run()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Write a fault in this program to the log, and say where it is."""
        if event.state is not WorkerState.ERROR:
            return
        # Textual leaves the worker's result type open.
        worker = cast("Worker[object]", event.worker)  # pyright: ignore[reportUnknownMemberType]
        log.error("screen worker %s failed", worker.name, exc_info=worker.error)
        text = (
            f"Something in luci itself failed: {worker.error!r}. logs/screen.log has the details."
        )
        self._say(text, True)

    async def on_event(self, event: events.Event) -> None:
        """Note that somebody is there."""
        if isinstance(event, events.InputEvent):
            self._presence.touch()
        await super().on_event(event)

    def quiet_s(self) -> float:
        """Return for how many seconds nobody has done anything."""
        return self._presence.quiet_s()

    def watch_app_focus(self, focus: bool) -> None:
        """Note whether the terminal is looked at."""
        self._presence.focus(focus)

    def on_chat_opened(self, message: ChatOpened) -> None:
        """Note that the chat stands."""
        message.stop()
        self._presence.chat_opened()
        if self._presence.is_first:
            self._presence.is_first = False
            if not self._chat.is_answering:
                self.action_welcome()

    async def on_answer_began(self, message: AnswerBegan) -> None:
        """Say so in the title; the welcome has done its work."""
        message.stop()
        self._presence.answer_began()
        # It may be on its way yet. Textual leaves the worker's result type open.
        self.workers.cancel_group(self, "welcome")  # pyright: ignore[reportUnknownMemberType]
        await self._chat.transcript.drop("Welcome")

    def on_answer_ended(self, message: AnswerEnded) -> None:
        """Call the person, if it took long and nobody looks."""
        message.stop()
        self._presence.answer_ended(message.took_s)

    def _to_terminal(self, sequence: str) -> None:
        if self._driver is not None and sequence:
            self._driver.write(sequence)

    def _say(self, text: str, is_failure: bool) -> None:
        self.notify(text, severity="error" if is_failure else "information", markup=False)

    async def _tell(self, text: str) -> None:
        await self._chat.show_notes(Notice(text))

    def _tell_chat_gone(self, chat_id: str) -> None:
        # Textual leaves the screens' result type open.
        stack = cast("list[Screen[object]]", self.get_screen_stack("chat"))  # pyright: ignore[reportUnknownMemberType]
        for screen in stack:
            screen.post_message(ChatGone(chat_id))

    # ---- copying and leaving

    def copy_to_clipboard(self, text: str) -> None:
        """Copy a text for the terminal, for a file, and for what is pasted here."""
        self._clipboard = text
        self._copy(text)

    @work(group="copy", exit_on_error=False)
    async def _copy(self, text: str) -> None:
        from luci_tui import paths
        from luci_tui.tui.clipboard import copy

        home = self.services.home
        path = None if home is None else paths.clipboard_file(home)
        copied = await asyncio.to_thread(copy, text, self.services.terminal, path)
        self._to_terminal(copied.sequence)
        self._say(copied.sentence, copied.is_lost)

    def on_chat_screen_copy_asked(self, message: ChatScreen.CopyAsked) -> None:
        """Copy a text."""
        self.copy_to_clipboard(message.text)

    def action_help_quit(self) -> None:
        """Say how to leave when Ctrl-C finds nothing to copy."""
        self.notify("Nothing is selected to copy. Ctrl-Q quits, Esc stops an answer.")

    def lose_terminal(self) -> None:
        """Nothing may be written any more."""
        self._presence.lose_terminal()

    def exit(
        self,
        result: int | None = None,
        return_code: int = 0,
        message: RenderableType | None = None,
    ) -> None:
        """Leave; the last look is kept first."""
        self._presence.leave()
        super().exit(result, return_code, message)

    async def look_what_goes_on(self) -> None:
        """Ask the host for the farewell; before `close_engine`."""
        if self.services.link is not None:
            self._going_on = await what_goes_on(self.services.link)

    def farewell(self) -> str:
        """Say what goes on without the screen, and how to come back; empty = nothing."""
        return "\n".join(filter(None, [self._going_on, self._chat.farewell()]))

    async def close_engine(self) -> None:
        """Let go of the engine or the host, but don't wait for it for ever."""
        link = self.services.link
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._chat.close()
                if link is not None:
                    await link.drop()
