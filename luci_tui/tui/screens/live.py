"""A mode that shows something live: a list with a filter, asked for again while it is looked at."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from luci_tui.errors import HostError, LuciError
from luci_tui.tui.keymap import binding
from luci_tui.tui.mode_list import TABS
from luci_tui.tui.screens.ask import AskScreen
from luci_tui.tui.screens.choose import ChooseScreen
from luci_tui.tui.screens.confirm import ConfirmScreen
from luci_tui.tui.screens.steady import Steady
from luci_tui.tui.widgets.filter_line import FilterLine
from luci_tui.tui.widgets.key_footer import KeyFooter
from luci_tui.tui.widgets.modebar import ModeBar
from luci_tui.tui.widgets.rows import Rows
from luci_tui.tui.widgets.status import StatusLine
from luci_tui.tui.widgets.text import clock, one_line

if TYPE_CHECKING:
    from luci_tui.host.client import HostClient
    from luci_tui.tui.services import Services

log = logging.getLogger(__name__)

BREAKPOINTS: list[tuple[int, str]] | None = [(0, "-narrow"), (100, "-wide")]
"""Columns from which on list and details stand side by side."""
ANSWER_S = 10.0
"""A host that takes longer is said not to answer."""
NO_HOST = "No host runs. Ctrl-R starts one; so does a prompt in the chat."


class LiveScreen(Steady, Screen[None]):
    """The frame of such a mode; what it shows is in `compose_body`, `look` and `show_status`.

    Args:
        services: What the app hands to its screens.
    """

    NAME: ClassVar[str]
    """Of the mode."""
    HELP: ClassVar[str | None]
    """Two sentences: what is here, and what it is good for."""
    NEEDS_HOST: ClassVar[bool] = True
    """Whether a host is started, or looked for, for it."""
    HORIZONTAL_BREAKPOINTS = BREAKPOINTS
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("live.filter", "filter"),
        binding("live.unfilter", "unfilter"),
        binding("live.reload", "reload"),
    ]
    AUTO_FOCUS = "Rows"

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self._poke = asyncio.Event()
        self._starts_host = True
        """The next look starts a host where none runs; later ones only look for one."""
        self._offered: object = None
        """Which keys worked when the footer was drawn."""
        self._since_s = 0.0
        """When the host answered last; 0 = it has not yet."""

    # ---- for the modes

    def compose_body(self) -> ComposeResult:
        """Lay out what stands between status and footer."""
        yield from ()

    async def look(self, client: HostClient | None) -> None:
        """Ask for what is shown and show it.

        Args:
            client: None = no host runs.
        """
        raise NotImplementedError

    @property
    def list(self) -> Rows:
        """The list that the filter is for."""
        return self.query_one(Rows)

    def set_status(self, words: str) -> None:
        """Say in one line how things stand."""
        self.query_one(StatusLine).say(words)

    def offer_keys(self) -> None:
        """Draw the footer anew where other keys work than before; each time crosses the network."""
        bindings = self.active_bindings.values()
        offered = tuple((one.binding.action, one.enabled) for one in bindings)
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def poke(self) -> None:
        """Look again at once."""
        self._poke.set()

    async def client(self, *, start: bool = False) -> HostClient:
        """Give a client for something that a key asked for.

        Args:
            start: Start a host where none runs.

        Raises:
            HostError: no host runs.
        """
        link = self.services.link
        client = None if link is None else await link.client(start=start)
        if client is None:
            raise HostError(NO_HOST, code="unreachable")
        return client

    async def confirmed(self, question: str, yes: str) -> bool:
        """Ask before something that cannot be undone; for a worker."""
        asked = ConfirmScreen(question, yes)
        # Textual leaves the app's result type open.
        return await self.app.push_screen_wait(asked)  # pyright: ignore[reportUnknownMemberType]

    async def asked(self, question: AskScreen) -> str:
        """Ask for a line of text; "" = nothing is wanted. For a worker."""
        return await self.app.push_screen_wait(question)  # pyright: ignore[reportUnknownMemberType]

    async def chosen(self, question: ChooseScreen) -> tuple[str, ...]:
        """Let something be chosen from a list; () = nothing is wanted. For a worker."""
        return await self.app.push_screen_wait(question)  # pyright: ignore[reportUnknownMemberType]

    def tell_failure(self, error: LuciError) -> None:
        """Say why something that a key asked for was not done."""
        self.notify(one_line(f"Error: {error.message}"), severity="error", markup=False)

    # ---- the frame

    def compose(self) -> ComposeResult:
        """Lay out the row of modes, the status, the body and the footer."""
        yield ModeBar(TABS, self.NAME)
        yield StatusLine()
        with Container(id="body"):
            yield from self.compose_body()
        yield FilterLine()
        yield KeyFooter()

    def on_screen_resume(self) -> None:
        """Begin to look."""
        self._follow()

    def on_screen_suspend(self) -> None:
        """Nobody looks any more."""
        self.workers.cancel_group(self, "look")  # pyright: ignore[reportUnknownMemberType]

    @work(exclusive=True, group="look", exit_on_error=False)
    async def _follow(self) -> None:
        while True:
            self._poke.clear()
            await self._look_once()
            try:
                async with asyncio.timeout(self.services.look_s):
                    await self._poke.wait()
            except TimeoutError:
                continue

    async def _look_once(self) -> None:
        starts_host, self._starts_host = self._starts_host, False
        link = self.services.link if self.NEEDS_HOST else None
        try:
            client = None if link is None else await link.client(start=starts_host)
            async with asyncio.timeout(ANSWER_S):
                await self.look(client)
            if client is not None:
                self._since_s = self.services.now_s()
        except TimeoutError:
            self._say_lost(f"the host has not answered for {ANSWER_S:.0f} s")
        except HostError as error:
            if link is not None:
                await link.drop()
            self._say_lost(error.message)
        except LuciError as error:
            self.set_status(f"Error: {error.message}")

    def _say_lost(self, reason: str) -> None:
        now_s = self.services.now_s()
        since = f"as of {clock(self._since_s, now_s)} · " if self._since_s else ""
        self.set_status(f"Error: {since}{reason}")

    # ---- keys

    def action_filter(self) -> None:
        """Type words that the rows must hold."""
        self.query_one(FilterLine).open()
        self.list.prepare_filter()

    def action_unfilter(self) -> None:
        """Take the filter away."""
        self.query_one(FilterLine).action_clear()

    def action_reload(self) -> None:
        """Ask again, and start a host where none runs."""
        self._starts_host = True
        # A worker that failed is not there to be poked.
        self._follow()

    def on_filter_line_changed(self, message: FilterLine.Changed) -> None:
        """Show only what holds the words."""
        self.list.set_filter(message.text)
        self.show_filter_count()

    def on_filter_line_left(self) -> None:
        """Go back to the list."""
        self.list.focus()

    def show_filter_count(self) -> None:
        """Say how many rows pass the filter."""
        self.query_one(FilterLine).show_count(self.list.n_shown, self.list.n_all)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Tell of a fault in this program, and write where it is to the log."""
        if event.state is not WorkerState.ERROR:
            return
        # Textual leaves the worker's result type open.
        worker = cast("Worker[object]", event.worker)  # pyright: ignore[reportUnknownMemberType]
        log.error("screen worker %s failed", worker.name, exc_info=worker.error)
        self.set_status(
            f"Error: something in luci itself failed: {worker.error!r}. logs/screen.log has the "
            "details. Ctrl-R tries again."
        )
