"""Make the engine of a model: a worker process here, or servers elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

from luci_tui.engine.client import EngineClient
from luci_tui.engine.process import WorkerEngine, WorkerOptions
from luci_tui.manager.entries import ModelEntry
from luci_tui.manager.startup import MakeEngine

_NOT_FOR_FILE_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_FILE_NAME = 80


def engine_maker(logs: Path, options: WorkerOptions | None = None) -> MakeEngine:
    """Return what makes engines, each with a log of its own.

    Args:
        logs: Folder for the logs of workers.
        options: How workers are started and how much patience they get.
    """

    def make(entry: ModelEntry, index: int) -> EngineClient:
        if not entry.is_remote:
            return WorkerEngine(logs / log_name(entry.name, index), options)
        # httpx is imported only by those who have remote models.
        from luci_tui.manager.balance import BalancedEngine
        from luci_tui.manager.remote import RemoteEngine

        engines = [RemoteEngine(endpoint) for endpoint in entry.endpoints]
        return engines[0] if len(engines) == 1 else BalancedEngine(engines)

    return make


def log_name(name: str, index: int) -> str:
    """Name the log of one worker: the model's name without what a file name should not have."""
    words = _NOT_FOR_FILE_NAMES.sub("-", name).strip("-.")[-_MAX_FILE_NAME:]
    number = f"-{index}" if index else ""
    return f"worker-{words or 'model'}{number}.log"
