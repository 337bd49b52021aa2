"""Ask what an install would fetch, then let the host begin it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from luci_tui.errors import LuciError
from luci_tui.tui.screens.confirm import ConfirmScreen
from luci_tui.tui.widgets.text import one_line
from luci_tui.units import format_bytes, format_count

if TYPE_CHECKING:
    from textual.app import App

    from luci_tui.download.plan import Plan
    from luci_tui.tui.services import Link


def install_question(plan: Plan) -> str:
    """Ask whether to install: from where, and how much comes."""
    # A name of the catalogue does not say where its files lie.
    source = f"hf:{plan.repo}" if plan.repo else plan.source
    files = format_count(len(plan.files), "file")
    return f"Install {plan.name} from {source}?\n{files}, {format_bytes(plan.size_bytes)}."


async def ask_and_install(app: App[int], link: Link | None, wanted: str) -> int | None:
    """Install a model when the person says yes; for a worker.

    Args:
        app: Shows the question and how it went.
        link: The way to the host, which is started where none runs; None = there is none.
        wanted: What `luci install` would be given.

    Returns:
        The download that was begun; None = none was.
    """
    try:
        client = None if link is None else await link.client(start=True)
        if client is None:
            return None
        from luci_tui.host.download_client import HostDownloads

        downloads = HostDownloads(client)
        plan = await downloads.plan(wanted)
        if not await app.push_screen_wait(ConfirmScreen(install_question(plan), "Install")):
            return None
        begun = (await downloads.add(plan)).download
    except LuciError as error:
        app.notify(one_line(f"Error: {error.message}"), severity="error", markup=False)
        return None
    told = "is on its way; Downloads (3) shows how far it is"
    if begun is None:
        told = "is installed already"
    app.notify(one_line(f"{plan.name} {told}."), markup=False)
    return None if begun is None else begun.id
