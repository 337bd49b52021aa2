"""What the queue says when something cannot be done with an item."""

from __future__ import annotations

from luci_tui.download.plan import Plan
from luci_tui.download.records import ItemState, QueueItem
from luci_tui.errors import DownloadError


def has_ended(item: QueueItem) -> DownloadError:
    """Say that an item needs nothing any more."""
    hint = "Install it again if it is wanted."
    if item.state is ItemState.DONE:
        hint = f"`luci uninstall {item.plan.name}` removes it."
    return DownloadError(
        f"Download {item.id} ({item.plan.name}) is {item.state.value} already. {hint}",
        code="has_ended",
    )


def has_not_ended(item: QueueItem) -> DownloadError:
    """Say that an item cannot be left out yet."""
    return DownloadError(
        f"Download {item.id} ({item.plan.name}) is {item.state.value}, so it is still needed. "
        f"End it with `luci downloads cancel {item.id}` first.",
        code="not_ended",
    )


def mistake(error: Exception) -> DownloadError:
    """Say that the program did something that it should not."""
    msg = f"The download met a mistake in luci: {error!r}. Report it with the host's log."
    return DownloadError(msg, code="internal")


def is_installing(found: QueueItem, plan: Plan) -> DownloadError:
    """Say that another version of the model is on its way."""
    return DownloadError(
        f"{plan.name} is being installed already with other files (download {found.id}, from "
        f"{found.plan.source}). Cancel that one with `luci downloads cancel {found.id}`, or "
        "give this one another name with --name.",
        code="busy",
    )
