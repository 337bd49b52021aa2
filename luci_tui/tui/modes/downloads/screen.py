"""Downloads: the queue of models on their way, and how each is doing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll

from luci_tui import paths
from luci_tui.errors import LuciError
from luci_tui.host.api.download_messages import DownloadRecord, MoveDownload
from luci_tui.host.download_client import HostDownloads
from luci_tui.tui.keymap import binding
from luci_tui.tui.modes.downloads import words
from luci_tui.tui.screens.ask import AskScreen
from luci_tui.tui.screens.live import NO_HOST, LiveScreen
from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.rows import Rows
from luci_tui.units import parse_rate

if TYPE_CHECKING:
    from luci_tui.host.client import HostClient
    from luci_tui.tui.services import Services

EMPTY = "Nothing is being downloaded. Models (2) installs them, and so does `luci install NAME`."
ASK_LIMIT = (
    'Bytes per second for all downloads together: 5MB, 800k, 1.5MiB; "none"; "default" is what '
    "config.toml says."
)
_NEEDS: dict[str, Callable[[DownloadRecord], bool]] = {
    "pause": words.can_pause,
    "resume": words.can_resume,
    "cancel": words.is_open,
    "move": words.can_pause,
}
"""What a download must be for an action."""


def free_disk_bytes() -> int:
    """Say what is free where models are put."""
    folder = paths.models_folder()
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    return shutil.disk_usage(existing).free


class DownloadsScreen(LiveScreen):
    """The downloads, and everything about the one with the cursor.

    Args:
        services: What the app hands to its screens.
        free_bytes: Says what is free on the disk.
    """

    NAME: ClassVar = "downloads"
    HELP: ClassVar = (
        "Models on their way to this machine, in the order of their turns. The host fetches them "
        "and goes on when luci is closed; what has arrived is never fetched twice."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("downloads.pause", "pause"),
        binding("downloads.resume", "resume"),
        binding("downloads.cancel", "cancel"),
        binding("downloads.earlier", "move('up')"),
        binding("downloads.later", "move('down')"),
        binding("downloads.limit", "limit"),
    ]

    def __init__(self, services: Services, free_bytes: Callable[[], int] = free_disk_bytes) -> None:
        super().__init__(services)
        self._free_bytes = free_bytes
        self._downloads: dict[str, DownloadRecord] = {}

    def compose_body(self) -> ComposeResult:
        """Lay out the list and the details."""
        with Container(classes="split"):
            yield Rows(words.COLUMNS)
            with VerticalScroll(classes="details", can_focus=False):
                yield Block(id="details")

    async def look(self, client: HostClient | None) -> None:
        """See `LiveScreen`."""
        if client is None:
            self.set_status(NO_HOST)
            return
        listed = await HostDownloads(client).list()
        free_bytes = await asyncio.to_thread(self._free_bytes)
        self._downloads = {str(one.id): one for one in listed.downloads}
        self.list.set_rows(list(map(words.row_of, listed.downloads)), EMPTY)
        self.set_status(words.status_of(listed, free_bytes))
        self.show_filter_count()
        self._show_details()
        self.offer_keys()

    def _show_details(self) -> None:
        one = self._downloads.get(self.list.key)
        self.query_one(".details").display = one is not None
        if one is not None:
            text = words.details_of(one, self.services.now_s())
            self.query_one("#details", Block).say(text)

    def on_rows_moved(self) -> None:
        """Show the details of another download."""
        self._show_details()
        self.offer_keys()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done with the one that the cursor is on."""
        if action not in _NEEDS:
            return super().check_action(action, parameters)
        one = self._downloads.get(self.list.key)
        return one is not None and _NEEDS[action](one)

    @work(group="act", exit_on_error=False)
    async def action_pause(self) -> None:
        """Stop it until it is resumed."""
        await self._change(lambda downloads, number: downloads.pause(number))

    @work(group="act", exit_on_error=False)
    async def action_resume(self) -> None:
        """Let it go on."""
        await self._change(lambda downloads, number: downloads.resume(number))

    @work(group="act", exit_on_error=False)
    async def action_move(self, place: Literal["up", "down"]) -> None:
        """Change its turn."""
        wanted = MoveDownload(place=place)
        await self._change(lambda downloads, number: downloads.move(number, wanted))

    @work(group="act", exit_on_error=False)
    async def action_cancel(self) -> None:
        """Ask, then end it."""
        one = self._downloads[self.list.key]
        if await self.confirmed(words.question_before_cancel(one), "Cancel it"):
            await self._change(lambda downloads, _: downloads.cancel(one.id))

    @work(group="act", exit_on_error=False)
    async def action_limit(self) -> None:
        """Ask for a rate, and limit all downloads to it."""
        if text := await self.asked(AskScreen(ASK_LIMIT, check=parse_rate)):
            rate = parse_rate(text)
            await self._change(lambda downloads, _: downloads.set_limit(rate))

    async def _change(self, change: Callable[[HostDownloads, int], Awaitable[object]]) -> None:
        number = int(self.list.key or 0)
        try:
            await change(HostDownloads(await self.client()), number)
        except LuciError as error:
            self.tell_failure(error)
        self.poke()
