"""What front ends and the host say to each other about downloads; see `messages`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from luci_tui.download.plan import Plan
from luci_tui.download.records import ItemState, Step
from luci_tui.host.api.messages import ErrorBody, Gap, Message


class FileRecord(Message):
    """How far one file of a download is."""

    name: str
    step: Step
    done_bytes: int
    size_bytes: int | None
    """None = not known yet."""
    rate_bytes_per_s: float
    n_retries: int
    note: str
    """Why it waits, in one sentence; empty = it does not."""


class DownloadRecord(Message):
    """Everything that is known about a download."""

    id: int
    name: str
    """Under which the model is installed."""
    source: str
    version: str
    state: ItemState
    done_bytes: int
    size_bytes: int
    """What is known of the size of all files together."""
    is_size_known: bool
    """False = there is a file whose size nobody knows yet."""
    rate_bytes_per_s: float = 0.0
    left_s: float | None = None
    """Estimated time until all files are there; None = not known."""
    files: tuple[FileRecord, ...]
    error: ErrorBody | None = None
    """Only of one that has failed."""
    created_at: float
    """Seconds since 1970."""
    ended_at: float | None = None


class DownloadChanged(Message):
    """A download was added, or its state has changed."""

    kind: Literal["download"] = "download"
    download: DownloadRecord


class DownloadsProgress(Message):
    """How far those are that are on their way; comes a few times a second."""

    kind: Literal["downloads_progress"] = "downloads_progress"
    downloads: tuple[DownloadRecord, ...]


class DownloadsForgotten(Message):
    """Downloads that had ended are no longer in the list."""

    kind: Literal["downloads_forgotten"] = "downloads_forgotten"
    ids: tuple[int, ...]


DownloadEvent = Annotated[
    DownloadChanged | DownloadsProgress | DownloadsForgotten | Gap, Field(discriminator="kind")
]
download_event_adapter: TypeAdapter[DownloadEvent] = TypeAdapter(DownloadEvent)


class DownloadList(Message):
    """All downloads, in the order of their turns; those that have ended as well."""

    downloads: tuple[DownloadRecord, ...]
    limit_bytes_per_s: int
    """Of all together; 0 = none."""
    seq: int
    """Number of the last event that is in this list; a reader of the events goes on after it."""


class PlanInstall(Message):
    """Ask which files an install would fetch."""

    wanted: str = Field(min_length=1, max_length=4096)
    """A catalogue name, "hf:owner/repo", "hf:owner/repo/file.gguf" or an http address."""
    name: str = Field(default="", max_length=4096)
    """Under which it shall be installed; empty = as the source says."""
    with_mmproj: bool = False
    """True = with the projector, where the repository has exactly one."""


class StartInstall(Message):
    """Ask for an install."""

    plan: Plan
    is_enabled: bool = True
    """Whether the model may be used as soon as it is installed."""


class How(StrEnum):
    """What came of asking for an install."""

    QUEUED = "queued"
    ATTACHED = "attached"
    """The same one was being installed already, and goes on."""
    INSTALLED = "installed"
    """Exactly this is installed already, so there is nothing to do."""


class InstallStarted(Message):
    """What came of asking for an install."""

    how: How
    download: DownloadRecord | None = None
    """None = it is installed already."""


class MoveDownload(Message):
    """Change the turn of a download."""

    place: Literal["front", "up", "down", "last"]


class ForgetDownloads(Message):
    """Ask to leave downloads out of the list that have ended."""

    ids: tuple[int, ...] | None = Field(default=None, max_length=1000)
    """None = all that have ended."""


class Forgotten(Message):
    """Which downloads were left out of the list."""

    downloads: tuple[DownloadRecord, ...]


class SetLimit(Message):
    """Limit the rate of all downloads together."""

    bytes_per_s: int | None = Field(default=None, ge=0, le=10**13)
    """0 = no limit, None = as the settings say."""


class UninstallModel(Message):
    """Ask to remove an installed model."""

    name: str = Field(min_length=1, max_length=4096)
    unload: bool = False
    """True = take it out of memory first, if nobody uses it at this moment."""


class Uninstalled(Message):
    """What was removed."""

    name: str
    freed_bytes: int
