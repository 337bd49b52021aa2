"""Models: what is here, what could be, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll

from luci_tui import paths
from luci_tui.download.records import ENDED
from luci_tui.engine.memory import available_bytes
from luci_tui.errors import LuciError
from luci_tui.host.download_client import HostDownloads
from luci_tui.library import own_settings
from luci_tui.library.records import ModelKind, ModelState
from luci_tui.tui.installing import ask_and_install
from luci_tui.tui.keymap import binding, make_keymap
from luci_tui.tui.messages import ModelWanted
from luci_tui.tui.modes.models import shelf, words
from luci_tui.tui.modes.models.actions import HERE_ACTIONS
from luci_tui.tui.modes.models.checking import check_files
from luci_tui.tui.modes.models.shelf import Item, ReadShelf, Shelf, View
from luci_tui.tui.modes.models.speeds import ReadSpeeds, Speed, read_speeds
from luci_tui.tui.modes.models.updates import CatalogueUpdates, words_of
from luci_tui.tui.screens.ask import AskScreen
from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.filter_line import FilterLine
from luci_tui.tui.widgets.rows import Rows
from luci_tui.tui.widgets.text import one_line
from luci_tui.units import format_bytes

if TYPE_CHECKING:
    from textual.app import App

    from luci_tui.host.client import HostClient
    from luci_tui.library.catalog_check import Checked
    from luci_tui.tui.services import Services

N_TIERS = len(shelf.TIER_NAMES)
ASK_INSTALL = (
    "What to install: a name of the catalogue, hf:owner/repo, hf:owner/repo/FILE.gguf, or a URL."
)
ASK_HUB = "Words to look for at the hub. They are sent there when you press Enter."
_HERE_ACTIONS = ("switch", "check", "delete")
"""What can be done only with a model that is here."""


class ModelsScreen(CatalogueUpdates):
    """The models, by tier: panes side by side where there is room, tabs where there is not.

    Args:
        services: What the app hands to its screens.
        free_bytes: Says what memory is free.
        read_shelf: Reads what is to be shown.
        read_speeds: Reads how fast models were.
    """

    NAME: ClassVar = "models"
    HELP: ClassVar = (
        "The models on this machine, those of the catalogue (c) and those at the hub (h), by tier. "
        '"on" can be used by name, "on*" is in memory, "!" says that something is wrong. '
        "Enter talks to a model in a new chat, or installs one that is not here."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("models.toggle", "switch"),
        binding("models.install", "install"),
        binding("models.catalogue", "catalogue"),
        binding("models.hub", "hub"),
        binding("models.check", "check"),
        binding("models.delete", "delete"),
        binding("models.next_tier", "tier(1)"),
        binding("models.tier_before", "tier(-1)"),
    ]
    AUTO_FOCUS = ""

    def __init__(
        self,
        services: Services,
        free_bytes: Callable[[], int] = available_bytes,
        read_shelf: ReadShelf = shelf.read_shelf,
        read_speeds: ReadSpeeds = read_speeds,
    ) -> None:
        super().__init__(services)
        self._read_shelf = read_shelf
        self._read_speeds = read_speeds
        self._speeds: dict[str, Speed] = {}
        """By the keys of the models that are here."""
        self._free_bytes = free_bytes
        self._free = 0
        self._view = View.INSTALLED
        self._shelf = Shelf(())
        self._is_stale = True
        """The folders are to be looked through again."""
        self._in_memory: frozenset[str] = frozenset()
        self._tier: int | None = None
        """The tab, or the pane; None = all of them."""
        self._searched = ""
        self._trouble = ""
        """Why the list could not be read; empty = it was."""
        self._found: dict[str, str] = {}
        """What a check said, by key."""
        self._compared = ""
        """How far comparing the catalogue with the hub is; empty = it is not compared now."""
        self._told: set[str] = set()
        self._begun: set[int] = set()
        """Downloads that were begun here and are on their way."""

    def compose_body(self) -> ComposeResult:
        """Lay out both ways to show the tiers, of which one is seen, and the details."""
        with Vertical(id="models"):
            yield Block(id="tiers")
            with Container(id="shelf"):
                yield Rows(words.COLUMNS, id="all")
                with Horizontal(id="panes"):
                    for tier in range(N_TIERS):
                        with Vertical(classes="pane"):
                            yield Block(id=f"title-{tier}", classes="pane-title")
                            yield Rows(
                                words.PANE_COLUMNS,
                                id=f"tier-{tier}",
                                has_header=False,
                                is_one_of_many=True,
                            )
            with VerticalScroll(id="no-models"):
                yield Block(id="ways")
            with VerticalScroll(classes="details", can_focus=False):
                yield Block(id="details")

    def on_mount(self) -> None:
        """Write down what to do where no model is here."""
        folder = paths.custom_models_folder()
        shown = str(folder)
        with suppress(ValueError):
            shown = f"~/{folder.relative_to(Path.home())}"
        keys = make_keymap(self.services.preferences.keys)
        self.query_one("#ways", Block).say(words.ways_to_a_model(keys, shown))

    # ---- what is shown

    @property
    def is_wide(self) -> bool:
        """The tiers stand side by side."""
        return self.has_class("-wide") and self._view is not View.HUB

    @property
    def list(self) -> Rows:
        """The list that has the cursor."""
        if not self.is_wide:
            return self.query_one("#all", Rows)
        return self.query_one(f"#tier-{self._tier or 0}", Rows)

    async def look(self, client: HostClient | None) -> None:
        """See `LiveScreen`."""
        self._free = await asyncio.to_thread(self._free_bytes)
        if client is not None and (await self.see_jobs(client) or await self._has_come(client)):
            self._is_stale = True
        if self._is_stale:
            await self._read()
        if client is not None:
            loaded = (await client.models()).loaded
            self._in_memory = frozenset(one.name for one in loaded if one.state == "ready")
        self._show()

    def on_screen_resume(self) -> None:
        """Look through the folders again: what was fetched or made meanwhile lies there."""
        self._is_stale = self._is_stale or self._view is not View.HUB

    async def _has_come(self, client: HostClient) -> bool:
        """Tell whether a download that was begun here has ended."""
        if not self._begun:
            return False
        found = (await HostDownloads(client).list()).downloads
        going = {one.id for one in found if one.state not in ENDED} & self._begun
        has_come, self._begun = going != self._begun, going
        return has_come

    async def _read(self) -> None:
        self._is_stale = False
        self.set_status(words.ASKING if self._view is View.HUB else words.READING)
        try:
            self._shelf = await self._read_shelf(self._view, self._searched)
            self._trouble = ""
            models = [item.model for item in self._shelf.items if item.model is not None]
            self._speeds = await asyncio.to_thread(self._read_speeds, models)
        except LuciError as error:
            self._shelf, self._trouble = Shelf(()), error.message
        for problem in set(self._shelf.problems) - self._told:
            self._told.add(problem)
            self.notify(one_line(problem), severity="warning", markup=False)

    def _show(self) -> None:
        items = self._shelf.items
        self.query_one("#models").set_class(self._is_bare, "-bare")
        self.query_one("#shelf").set_class(self.is_wide, "-panes")
        has_tabs = not (self.is_wide or self._is_bare or self._view is View.HUB)
        self.query_one("#tiers").display = has_tabs
        self.query_one("#tiers", Block).say(words.tier_tabs(items, self._tier))
        shown = [item for item in items if self._tier in (None, item.tier)]
        empty = words.EMPTY[self._view] if not items else words.EMPTY_TIER
        speeds = self._speeds
        rows = [
            words.row_of(item, self._free, self._in_memory, speeds.get(item.key)) for item in shown
        ]
        self.query_one("#all", Rows).set_rows(rows, empty)
        for tier in range(N_TIERS):
            self.query_one(f"#title-{tier}", Block).say(words.pane_title(items, tier))
            of_tier = [item for item in items if item.tier == tier]
            pane_rows = [
                words.pane_row_of(item, self._in_memory, speeds.get(item.key)) for item in of_tier
            ]
            self.query_one(f"#tier-{tier}", Rows).set_rows(pane_rows, words.EMPTY_PANE)
        status = words.status_of(self._view, self._shelf, self._free, self._searched)
        if self._compared:
            status = self._compared
        self.set_status(f"Error: {self._trouble}" if self._trouble else status)
        self._focus_list()
        self._show_details()
        self.show_filter_count()
        self.offer_keys()

    @property
    def _is_bare(self) -> bool:
        """No model is on this machine."""
        return self._view is View.INSTALLED and not (self._shelf.items or self._trouble)

    def _focus_list(self) -> None:
        """Keep the focus on a list that is seen; other things that have it keep it."""
        ways = self.query_one("#no-models", VerticalScroll)
        if self.focused is None or self.focused is ways or isinstance(self.focused, Rows):
            (ways if self._is_bare else self.list).focus()

    @property
    def items(self) -> Sequence[Item]:
        """See `ModelActions`."""
        return self._shelf.items

    def selected(self) -> Item | None:
        """See `ModelActions`."""
        return self._item()

    @property
    def is_catalogue(self) -> bool:
        """See `CatalogueUpdates`."""
        return self._view is View.CATALOGUE

    def show_compared(self, words: str, found: Sequence[Checked] = ()) -> None:
        """See `CatalogueUpdates`."""
        self._compared = words
        for one in found:
            self._found[one.entry.name] = " · ".join(words_of(one))
        self._show()

    def _item(self) -> Item | None:
        key = self.list.key
        return next((item for item in self._shelf.items if item.key == key), None)

    def _show_details(self) -> None:
        item = self._item()
        text = ""
        if item is not None:
            speed = self._speeds.get(item.key)
            extra = (speed.words if speed else "", self._found.get(item.key, ""))
            text = shelf.details_of(item, self._free, extra)
        self.query_one("#details", Block).say(text)

    def on_rows_moved(self) -> None:
        """Show the details of another model."""
        self._show_details()
        self.offer_keys()

    def on_descendant_focus(self) -> None:
        """Follow the focus from pane to pane."""
        focused = self.focused
        if self.is_wide and isinstance(focused, Rows) and (focused.id or "").startswith("tier-"):
            self._tier = int((focused.id or "").removeprefix("tier-"))
            self._show_details()

    def on_resize(self) -> None:
        """Turn to tabs or panes."""
        self.call_after_refresh(self._show)

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        """Show only what holds the words, in every pane."""
        for rows in self.query(Rows):
            rows.set_filter(message.text)
        self.show_filter_count()

    def show_filter_count(self) -> None:
        """Say how many rows pass the filter, in all panes together."""
        seen = [self.query_one("#all", Rows)]
        if self.is_wide:
            seen = list(self.query("#panes Rows").results(Rows))
        self.query_one(FilterLine).show_count(
            sum(rows.n_shown for rows in seen), sum(rows.n_all for rows in seen)
        )

    # ---- keys that change what is shown

    def action_reload(self) -> None:
        """Look through the folders again."""
        self._is_stale = True
        super().action_reload()

    def action_tier(self, step: int) -> None:
        """Turn to another tier."""
        if self.is_wide:
            self._tier = ((self._tier or 0) + step) % N_TIERS
        else:
            tabs = [None, *range(N_TIERS)]
            self._tier = tabs[(tabs.index(self._tier) + step) % len(tabs)]
        self._show()

    def action_catalogue(self) -> None:
        """Turn from what is here to the catalogue, and back."""
        is_here = self._view is View.INSTALLED
        self._turn_to(View.CATALOGUE if is_here else View.INSTALLED)

    @work(group="act", exit_on_error=False)
    async def action_hub(self) -> None:
        """Search at the hub."""
        if text := await self.asked(AskScreen(ASK_HUB, self._searched)):
            self._searched = text
            self._turn_to(View.HUB)

    def _turn_to(self, view: View) -> None:
        self._view, self._shelf, self._is_stale = view, Shelf(()), True
        if view is View.HUB:
            self._tier = None
        self.action_reload()

    # ---- keys that change models

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done with the model that the cursor is on."""
        if action in HERE_ACTIONS:
            return self.can_do(action)
        if action not in _HERE_ACTIONS:
            return super().check_action(action, parameters)
        item = self._item()
        if item is None or item.model is None:
            return False
        return action != "switch" or item.model.state is ModelState.OK

    async def on_rows_chosen(self) -> None:
        """Talk to a model that is here, or install one that is not."""
        item = self._item()
        if item is None:
            return
        if item.model is None:
            self._install(item.key)
        elif item.state != "enabled":
            how = "Space enables it." if item.state == "disabled" else "It cannot be used."
            self.notify(one_line(f"{item.name} is {item.state}. {how}"), markup=False)
        else:
            self.post_message(ModelWanted(item.name))

    @work(group="act", exit_on_error=False)
    async def action_switch(self) -> None:
        """Let the model be used by name, or no longer."""
        item = self._item()
        if item is None or item.model is None:
            return
        try:
            await asyncio.to_thread(own_settings.set_enabled, item.name, not item.model.is_enabled)
        except LuciError as error:
            self.tell_failure(error)
        self.action_reload()

    @work(group="act", exit_on_error=False)
    async def action_check(self) -> None:
        """Check its files with luci's validator."""
        item = self._item()
        if item is None or item.model is None:
            return
        self._found[item.key] = "being checked …"
        self._show_details()
        try:
            self._found[item.key] = await check_files(item.model.found.files)
        except LuciError as error:
            self._found[item.key] = f"Error: {error.message}"
        self._show_details()

    @work(group="act", exit_on_error=False)
    async def action_install(self) -> None:
        """Ask what to install."""
        item = self._item()
        start = item.key if item is not None and item.model is None else ""
        if wanted := await self.asked(AskScreen(ASK_INSTALL, start)):
            self._install(wanted)

    @work(group="act", exit_on_error=False)
    async def _install(self, wanted: str) -> None:
        # Textual leaves the app's result type open.
        app = cast("App[int]", self.app)  # pyright: ignore[reportUnknownMemberType]
        begun = await ask_and_install(app, self.services.link, wanted)
        if begun is not None:
            self._begun.add(begun)

    @work(group="act", exit_on_error=False)
    async def action_delete(self) -> None:
        """Ask, then remove the model and its files."""
        item = self._item()
        if item is None or item.model is None:
            return
        if item.model.found.kind is not ModelKind.INSTALLED:
            text = f"luci did not install {item.name} and leaves {item.model.path} alone."
            self.notify(one_line(text), markup=False)
            return
        again = item.model.found.repo
        source = f" It can be installed again from hf:{again}." if again else ""
        question = f"Delete {item.name} and its {format_bytes(item.size_bytes)}?{source}"
        if not await self.confirmed(question, "Delete"):
            return
        try:
            await HostDownloads(await self.client()).uninstall(item.name, unload=True)
        except LuciError as error:
            self.tell_failure(error)
        self.action_reload()
