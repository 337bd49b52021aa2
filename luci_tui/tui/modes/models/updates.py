"""What the hub has otherwise than the catalogue says; asked when a person wants to know."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import BindingType

from luci_tui import paths
from luci_tui.errors import LuciError
from luci_tui.tui.keymap import binding
from luci_tui.tui.modes.models.actions import ModelActions
from luci_tui.tui.screens.page import PageScreen
from luci_tui.tui.widgets.text import one_line
from luci_tui.units import format_count, format_duration

if TYPE_CHECKING:
    from luci_tui.catalog.entries import CatalogEntry
    from luci_tui.library.catalog_check import Checked

MAX_WAIT_S = 330.0
"""The hub counts requests over five minutes."""
N_PARALLEL = 4
PAGE_COLUMNS = 72
ADVICE = "`i` with hf:OWNER/REPO installs what the hub has now."
Report = Callable[[str], None]
"""Takes how far it is, in words."""
CompareAll = Callable[[Report], Awaitable["tuple[Checked, ...]"]]


def read_entries() -> tuple[CatalogEntry, ...]:
    """Read the catalogue, with a person's own entries. Blocks.

    Raises:
        LuciError: it cannot be read.
    """
    from luci_tui.catalog.catalog import load_catalog

    return load_catalog(paths.shipped_catalog_file(), paths.own_catalog_file()).entries


async def compare_all(report: Report) -> tuple[Checked, ...]:
    """Ask the hub for every entry of the catalogue; two questions for each repository.

    Raises:
        LuciError: the catalogue cannot be read, or the token for the hub.
    """
    from luci_tui.download.hub import Hub, HubOptions
    from luci_tui.library.catalog_check import check_catalog

    def wait(seconds: float, reason: str) -> None:
        report(f"the hub is asked again in {format_duration(seconds)}: {reason}")

    def count(n_done: int, n_all: int) -> None:
        report(f"{n_done} of {n_all} repositories compared with the hub")

    options = HubOptions(max_wait_s=MAX_WAIT_S, n_parallel=N_PARALLEL, on_wait=wait)
    return await check_catalog(Hub(options=options), await asyncio.to_thread(read_entries), count)


def words_of(one: Checked) -> tuple[str, ...]:
    """Say in what an entry differs from what the hub has; empty = in nothing."""
    if one.problem:
        return (f"not compared: {one.problem}",)
    return tuple(f"{drift.kind.value}: {drift.text}" for drift in one.drifts)


def page_lines(checked: Sequence[Checked]) -> tuple[str, ...]:
    """Write what was found on a page."""
    n_drifted = sum(bool(one.drifts) for one in checked)
    n_unknown = sum(bool(one.problem) for one in checked)
    lines = [
        f"{format_count(len(checked), 'model')} compared with the hub: {n_drifted} differ, "
        f"{n_unknown} could not be compared."
    ]
    for one in checked:
        if words := words_of(one):
            lines += ["", one_line(one.entry.name)]
            for text in words:
                lines += textwrap.wrap(
                    one_line(text), PAGE_COLUMNS, initial_indent="  ", subsequent_indent="    "
                )
    return (*lines, "", ADVICE) if n_drifted else tuple(lines)


class CatalogueUpdates(ModelActions):
    """The part of Models that compares the catalogue with the hub."""

    BINDINGS: ClassVar[list[BindingType]] = [binding("models.updates", "updates")]
    compare_all: CompareAll = staticmethod(compare_all)

    @property
    def is_catalogue(self) -> bool:
        """The list shows the catalogue."""
        return False

    def show_compared(self, words: str, found: Sequence[Checked] = ()) -> None:
        """Show how far comparing is, and what was found."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Compare only what is seen."""
        if action == "updates":
            return self.is_catalogue
        return super().check_action(action, parameters)

    @work(group="updates", exclusive=True, exit_on_error=False)
    async def action_updates(self) -> None:
        """Ask the hub for every entry of the catalogue, and show what differs."""
        question = "Compare the whole catalogue with the hub? Nothing is fetched."
        if not await self.confirmed(question, "Compare"):
            return
        try:
            checked = await self.compare_all(self.show_compared)
        except LuciError as error:
            self.tell_failure(error)
            return
        finally:
            if self.is_attached:
                self.show_compared("")
        self.show_compared("", checked)
        lines = page_lines(checked)
        if self.is_current:
            page = PageScreen("The catalogue and the hub", lines)
            self.app.push_screen(page)  # pyright: ignore[reportUnknownMemberType]
        else:  # another mode is looked at
            self.notify(f"{lines[0]} The details of each say how.", markup=False)
