"""What the queue of downloads keeps on the disk, and what it tells while it works."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from luci_tui.download.plan import FileName, Plan, Sha256


class ItemState(StrEnum):
    """How an install stands."""

    QUEUED = "queued"
    """It waits for its turn."""
    RUNNING = "running"
    PAUSED = "paused"
    """Until somebody resumes it."""
    FAILED = "failed"
    """What has arrived stays; resuming it goes on from there."""
    DONE = "done"
    CANCELLED = "cancelled"


ENDED = frozenset({ItemState.DONE, ItemState.CANCELLED})
"""Nothing of these lies around unfinished."""
GOING = frozenset({ItemState.QUEUED, ItemState.RUNNING})
"""These go on by themselves."""


class FetchedFile(BaseModel):
    """A file of a plan that is whole and has its final name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: FileName
    size_bytes: int = Field(ge=0)
    sha256: Sha256
    """Of what was written."""


class QueueItem(BaseModel):
    """One model that is being installed, or was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int = Field(ge=1)
    plan: Plan
    state: ItemState = ItemState.QUEUED
    is_enabled: bool = True
    """Whether it may be used as soon as it is installed."""
    fetched: tuple[FetchedFile, ...] = ()
    error_code: str = ""
    error: str = ""
    """Why it failed, in one sentence; empty = it did not."""
    created_at: float
    """Seconds since 1970."""
    ended_at: float | None = None
    """Seconds since 1970; also of one that has failed, until it goes on."""

    def has(self, name: str) -> bool:
        """Tell whether a file of the plan has arrived."""
        return any(one.name == name for one in self.fetched)

    @property
    def is_fetched(self) -> bool:
        """Every file has arrived; what is left is to check and to install them."""
        return all(self.has(file.name) for file in self.plan.files)


class QueueData(BaseModel):
    """The whole queue as it stands in its file; never with a token in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    next_id: int = Field(default=1, ge=1)
    limit_bytes_per_s: int | None = Field(default=None, ge=0)
    """As somebody set it while it ran; 0 = none, None = as the settings say."""
    items: tuple[QueueItem, ...] = ()
    """In the order of their turns; those that have ended lie in between and have none."""


class Step(StrEnum):
    """What is being done with one file of an item."""

    WAITING_TURN = "queued"
    STARTING = "starting"
    """What is there is looked at, and the server is asked."""
    REHASHING = "rehashing"
    DOWNLOADING = "downloading"
    WAITING_RETRY = "waiting"
    PUBLISHING = "publishing"
    FETCHED = "fetched"
    CHECKING = "checking"
    """All files are there and are being validated."""


@dataclass(frozen=True)
class FileStatus:
    """How far one file of an item is."""

    name: str
    step: Step
    done_bytes: int = 0
    size_bytes: int | None = None
    rate_bytes_per_s: float = 0.0
    n_retries: int = 0
    note: str = ""
    """Why it waits, in one sentence; empty = it does not."""
