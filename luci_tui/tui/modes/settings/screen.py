"""Settings: what is set, to what, who says so, and a way to change it."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll

from luci_tui import paths
from luci_tui.errors import HostError, LuciError
from luci_tui.setting_sources import PROFILE_VARIABLE, PROFILES
from luci_tui.settings_file import set_value, unset_value
from luci_tui.settings_rows import NO_HOST, HostValues
from luci_tui.tui.keymap import binding
from luci_tui.tui.modes.settings import reading, words
from luci_tui.tui.modes.settings.reading import Entry, Page
from luci_tui.tui.screens.ask import AskScreen
from luci_tui.tui.screens.choose import ChooseScreen, Option
from luci_tui.tui.screens.live import LiveScreen
from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.rows import Rows
from luci_tui.tui.widgets.text import one_line

if TYPE_CHECKING:
    from textual.app import App

    from luci_tui.host.client import HostClient
    from luci_tui.tui.services import Services

THEME = "screen.theme"
_NO_PROFILE, _NEW_PROFILE = "-", "+"
"""Keys in the list of profiles; no profile can be called so."""
_ENTRY_ACTIONS = ("edit", "unset")


class SettingsScreen(LiveScreen):
    """The settings, and everything about the one with the cursor."""

    NAME: ClassVar = "settings"
    HELP: ClassVar = (
        "What is set, to what, and who says so: the file, a profile in it, the environment. Enter "
        "changes it in the file as `luci config set` does; the rest of the file stays as it is."
    )
    NEEDS_HOST: ClassVar = False
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("settings.edit", "edit"),
        binding("settings.unset", "unset"),
        binding("settings.profile", "profile"),
        binding("settings.changed", "changed"),
        binding("settings.restart", "restart"),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._page: Page | None = None
        self._profile: str | None = None
        """What is looked at; None = the one that this luci was started with."""
        self._changed_only = False
        self._host = NO_HOST
        self._seen: object = None
        """Of what the page was made; the same again needs no reading."""

    def compose_body(self) -> ComposeResult:
        """Lay out what is wrong, the list, and the details below it."""
        with Vertical(classes="settings"):
            yield Block(id="mistakes")
            yield Rows(words.COLUMNS)
            with VerticalScroll(classes="details", can_focus=False):
                yield Block(id="details")

    async def look(self, client: HostClient | None) -> None:
        """See `LiveScreen`; a host that does not answer keeps no setting from being seen."""
        del client
        self._host = await self._ask_host()
        stamp = await asyncio.to_thread(reading.stamp_of, paths.luci_home() / "config.toml")
        seen = (stamp, self._profile, self._host)
        if seen != self._seen:
            self._page = await asyncio.to_thread(reading.read_page, self._profile, self._host)
            self._seen = seen
            self._show()

    async def _ask_host(self) -> HostValues:
        link = self.services.link
        with suppress(HostError):
            client = None if link is None else await link.client(start=False)
            said = None if client is None else await client.settings()
            if said is not None:
                return HostValues(said.values, said.options)
        return NO_HOST

    @property
    def _screen_app(self) -> App[object]:
        # Textual leaves the app's result type open.
        return cast("App[object]", self.app)  # pyright: ignore[reportUnknownMemberType]

    @property
    def _in_use(self) -> str:
        return paths.setting_variables().get(PROFILE_VARIABLE, "").strip()

    def _show(self) -> None:
        page = self._page
        if page is None:
            return
        shown = [one for one in page.entries if one.is_set or not self._changed_only]
        self.list.set_rows(list(map(words.row_of, shown)), words.EMPTY)
        mistakes = self.query_one("#mistakes", Block)
        mistakes.display = bool(page.mistakes)
        mistakes.say(words.mistakes_of(page))
        self.set_status(words.status_of(page, self._in_use))
        self.show_filter_count()
        self._show_details()
        self.offer_keys()

    def _entry(self) -> Entry | None:
        entries = self._page.entries if self._page else ()
        return next((one for one in entries if one.key == self.list.key), None)

    def _show_details(self) -> None:
        entry = self._entry()
        self.query_one("#details", Block).say("" if entry is None else words.details_of(entry))

    def on_rows_moved(self) -> None:
        """Show the details of another setting."""
        self._show_details()
        self.offer_keys()

    def action_reload(self) -> None:
        """Read everything again."""
        self._seen = None
        super().action_reload()

    def action_changed(self) -> None:
        """Show only what is set, or everything again."""
        self._changed_only = not self._changed_only
        self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done with the setting that the cursor is on."""
        if action == "restart":
            return any(one.in_host for one in self._page.entries) if self._page else False
        if action not in _ENTRY_ACTIONS:
            return super().check_action(action, parameters)
        entry = self._entry()
        return entry is not None and (action == "edit" or entry.is_in_target)

    # ---- changes

    def on_rows_chosen(self) -> None:
        """Edit the setting with the cursor."""
        self.action_edit()

    @work(group="act", exit_on_error=False)
    async def action_edit(self) -> None:
        """Ask for another value, and write it into the file."""
        entry, page = self._entry(), self._page
        if entry is None or page is None:
            return
        if entry.key == THEME:
            entry = reading.filled(entry, sorted(self._screen_app.available_themes))
        wanted = await self._wanted(entry, page.profile)
        if not wanted or (wanted == entry.start and entry.is_in_target):
            return
        try:
            key = self._target(entry.key, page.profile)
            await asyncio.to_thread(set_value, paths.luci_home(), key, wanted)
        except LuciError as error:
            self.tell_failure(error)
            return
        await self._tell_changed(entry)

    async def _wanted(self, entry: Entry, profile: str) -> str:
        question = words.question_of(entry, profile)
        if not entry.choices:
            ask = AskScreen(
                question, entry.start, lambda text: reading.check_words(entry.key, text)
            )
            return await self.asked(ask)
        options = [Option(one, one) for one in entry.choices]
        chosen = await self.chosen(ChooseScreen(question, options, chosen=(entry.start,)))
        return chosen[0] if chosen else ""

    @work(group="act", exit_on_error=False)
    async def action_unset(self) -> None:
        """Take the setting out of the file."""
        entry, page = self._entry(), self._page
        if entry is None or page is None:
            return
        try:
            key = self._target(entry.key, page.profile)
            await asyncio.to_thread(unset_value, paths.luci_home(), key)
        except LuciError as error:
            self.tell_failure(error)
            return
        await self._tell_changed(entry)

    def _target(self, key: str, profile: str) -> str:
        return f"{PROFILES}.{profile}.{key}" if profile else key

    async def _tell_changed(self, before: Entry) -> None:
        """Show the page as it is now, and say what counts."""
        self._page = await asyncio.to_thread(reading.read_page, self._profile, self._host)
        self._show()
        after = next((one for one in self._page.entries if one.key == before.key), None)
        app = self._screen_app
        if after is not None and after.key == THEME and after.start in app.available_themes:
            app.theme = after.start
        self.notify(one_line(words.changed_words(before, after)), markup=False)

    @work(group="act", exit_on_error=False)
    async def action_profile(self) -> None:
        """Choose the profile that is looked at, and into which edits go."""
        page = self._page
        if page is None:
            return
        options = [
            Option(_NO_PROFILE, "no profile", "the file as it is"),
            *(Option(one, one, "in use" if one == self._in_use else "") for one in page.profiles),
            Option(_NEW_PROFILE, "a new one …", "begins with its first setting"),
        ]
        question = "Which profile is to be looked at and edited? `luci --profile NAME` uses it."
        start = page.profile or _NO_PROFILE
        match await self.chosen(ChooseScreen(question, options, chosen=(start,))):
            case (str(key),) if key == _NEW_PROFILE:
                ask = AskScreen("What is the profile called?", "", reading.check_profile)
                key = await self.asked(ask)
            case (str(key),):
                pass
            case _:
                return
        if key:
            self._profile = "" if key == _NO_PROFILE else key
            self.poke()

    @work(group="act", exit_on_error=False)
    async def action_restart(self) -> None:
        """Let the host leave and start another one, which reads the settings anew."""
        question = (
            "Restart the host? Answers and jobs that run get the time of host.drain_s to end; "
            "models are loaded again when they are asked for."
        )
        link = self.services.link
        if link is None or not await self.confirmed(question, "Restart"):
            return
        self.notify("The host leaves …", markup=False)
        try:
            await asyncio.to_thread(importlib.import_module, "luci_tui.host.lifecycle")
            from luci_tui.host.lifecycle import stop_host

            await link.drop()
            await stop_host()
            await link.client(start=True)
        except LuciError as error:
            self.tell_failure(error)
        else:
            self.notify("The host runs again, on the settings as they are now.", markup=False)
        self.poke()
