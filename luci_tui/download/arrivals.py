"""How far each file of the queue's items is. Belongs to the queue's event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from luci_tui.download.part import part_paths
from luci_tui.download.plan import Plan, PlannedFile
from luci_tui.download.records import ENDED, GOING, FileStatus, QueueItem, Step

Unit = tuple[int, str]
"""(item, name of its file)."""


def parts_on_disk(
    items: Iterable[QueueItem], folder: Callable[[Plan], Path]
) -> dict[Unit, FileStatus]:
    """See how far an earlier host has come. Blocks.

    Args:
        items: All of the queue's.
        folder: Tells where the files of a plan lie.
    """
    found: dict[Unit, FileStatus] = {}
    for item in items:
        for file in item.plan.files if item.state not in ENDED else ():
            part, _ = part_paths(folder(item.plan) / file.name)
            size_bytes = part.stat().st_size if part.is_file() else 0
            found[item.id, file.name] = FileStatus(
                file.name, Step.WAITING_TURN, size_bytes, file.size_bytes
            )
    return found


class Arrivals:
    """What was noted last of each file that is not there yet."""

    def __init__(self, noted: Mapping[Unit, FileStatus] | None = None) -> None:
        self._noted = dict(noted or {})

    def note(self, unit: Unit, status: FileStatus) -> None:
        """Remember how far a file is."""
        self._noted[unit] = status

    def forget(self, item: QueueItem) -> None:
        """Remember nothing of an item any more."""
        for file in item.plan.files:
            self._noted.pop((item.id, file.name), None)

    def status(
        self, item: QueueItem, file: PlannedFile, *, is_active: bool, is_finishing: bool
    ) -> FileStatus:
        """Say how far a file is.

        Args:
            item: Whose file it is.
            file: The file.
            is_active: It is on its way.
            is_finishing: All of the item are there and are being checked.
        """
        arrived = next((one for one in item.fetched if one.name == file.name), None)
        if arrived is not None:
            is_checking = item.state in GOING and is_finishing
            step = Step.CHECKING if is_checking else Step.FETCHED
            return FileStatus(file.name, step, arrived.size_bytes, arrived.size_bytes)
        noted = self._noted.get((item.id, file.name))
        status = noted or FileStatus(file.name, Step.WAITING_TURN, size_bytes=file.size_bytes)
        if is_active:
            is_known = status.step is not Step.WAITING_TURN
            return status if is_known else replace(status, step=Step.STARTING)
        return replace(status, step=Step.WAITING_TURN, rate_bytes_per_s=0.0, note="")
