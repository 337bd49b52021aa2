"""What the manager tells about each model that it holds or has given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from luci_tui.manager.entries import ModelEntry
from luci_tui.manager.health import Health
from luci_tui.manager.resident import Resident, ResidentState

State = Literal["loading", "ready", "unloading", "failed"]


class ResidentStatus(BaseModel):
    """One model at this moment, all its workers together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    state: State
    """That of the most useful worker; "failed" = there is none, see `last_error`."""
    fraction: float
    """Of a load, 0 to 1; 1 = ready."""
    pids: tuple[int, ...]
    """Worker processes of this machine; empty for a remote model."""
    is_remote: bool
    is_own: bool = False
    """One holder has it for itself, with options of its own."""
    n_workers: int
    n_leases: int
    """Those who wait for a load included."""
    estimated_bytes: int
    """What its loads were estimated to take."""
    measured_bytes: int
    """What its processes have in RAM now; shared pages of a file count in each."""
    idle_s: float | None
    """Seconds since it was last used; 0 = in use, None = nothing is loaded."""
    ttl_left_s: float | None
    """Seconds until it is unloaded if nobody asks for it; None = it is not going to be."""
    n_restarts: int
    """Workers that were lost since luci started."""
    pinned: bool
    description: str
    """llama.cpp's short description, e.g. "llama 1B Q4_K - Medium"; "" = nothing is loaded."""
    n_ctx: int
    """Tokens of context per slot; 0 = nothing is loaded."""
    takes_images: bool | None = None
    """None = nothing is loaded, or a server elsewhere has it and does not say."""
    takes_audio: bool | None = None
    last_error: str
    """Why a worker was lost or a load failed last; "" = never."""
    retry_in_s: float
    """Seconds until it may be started again after crashes; 0 = now."""


def status_of(
    entry: ModelEntry,
    residents: Sequence[Resident],
    health: Health,
    now_s: float,
    default_ttl_s: float,
) -> ResidentStatus:
    """Put together what is known about one model."""
    n_leases = sum(one.n_leases for one in residents)
    idle_s = None
    if residents:
        idle_s = 0.0 if n_leases else now_s - max(one.last_used_s for one in residents)
    ttl_s = default_ttl_s if entry.ttl_s is None else entry.ttl_s
    ttl_left_s = None
    if idle_s is not None and not n_leases and not entry.pinned and ttl_s >= 0:
        ttl_left_s = max(0.0, ttl_s - idle_s)
    state = _state(residents)
    info = next((one.info for one in residents if one.info is not None), None)
    takes = info if info is not None and not entry.is_remote else None
    loading = [one.fraction for one in residents if one.state is ResidentState.LOADING]
    return ResidentStatus(
        name=entry.name,
        state=state,
        fraction=max(loading, default=0.0) if state != "ready" else 1.0,
        pids=tuple(pid for one in residents if (pid := one.pid) is not None),
        is_remote=entry.is_remote,
        n_workers=len(residents),
        n_leases=n_leases,
        estimated_bytes=sum(one.promised.total_bytes for one in residents),
        measured_bytes=sum(one.measured_bytes() for one in residents),
        idle_s=idle_s,
        ttl_left_s=ttl_left_s,
        n_restarts=health.n_deaths,
        pinned=entry.pinned,
        description="" if info is None else info.description,
        n_ctx=0 if info is None else info.n_ctx,
        takes_images=None if takes is None else takes.takes_images,
        takes_audio=None if takes is None else takes.takes_audio,
        last_error="" if health.last_error is None else health.last_error.message,
        retry_in_s=health.retry_in_s(now_s),
    )


def _state(residents: Sequence[Resident]) -> State:
    # A lost worker is of no use to those who still hold it.
    states = {one.state for one in residents if one.lost is None}
    if ResidentState.READY in states:
        return "ready"
    if ResidentState.LOADING in states:
        return "loading"
    return "unloading" if states else "failed"
