"""`LUCI_HOME/downloads.json`: the queue on the disk. Everything here blocks."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from luci_tui.download.part import sync_folder
from luci_tui.download.plan import Plan
from luci_tui.download.records import ENDED, QueueData

MAX_FILE_BYTES = 64 * 1024 * 1024

logger = logging.getLogger(__name__)


def load_queue(path: Path) -> tuple[QueueData, str]:
    """Read the queue; a file that is no queue is set aside, which the second value says."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return QueueData(), ""
    except OSError as error:
        return QueueData(), _set_aside(path, error)
    try:
        return QueueData.model_validate_json(data), ""
    except ValidationError as error:
        return QueueData(), _set_aside(path, error)


def save_queue(path: Path, data: QueueData) -> None:
    """Write the queue so that a crash leaves the old one or the new one.

    It is for this user alone: an address may be one that nobody else should have.

    Raises:
        OSError: the disk is full or fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data.model_dump_json().encode())
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def unfinished_versions(path: Path) -> frozenset[tuple[str, str]] | None:
    """Give (model, version) of each install that has not ended, and leave the file as it is.

    Returns:
        None = the file cannot be read, so anything may be needed.
    """
    try:
        with path.open("rb") as file:
            data: Any = json.loads(file.read(MAX_FILE_BYTES))
        plans = [
            Plan.model_validate(item["plan"])
            for item in data["items"]
            if item["state"] not in ENDED
        ]
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return frozenset((plan.name, plan.version) for plan in plans)


def _set_aside(path: Path, why: Exception) -> str:
    aside = path.with_name(f"{path.name}.corrupt-{int(time.time())}")
    logger.error("%s cannot be read as the queue of downloads: %s", path, why)
    try:
        path.replace(aside)
        done = f"was set aside as {aside.name}"
    except OSError as error:
        done = f"cannot be set aside either ({error.strerror})"
    return (
        f"{path} could not be read as the queue of downloads and {done}. "
        "Install again what is missing; what has arrived is gone on from."
    )
