"""What the HTTP API stands on: models to lease, limits, a fair queue, and counters.

The protocols name only what the API reads, so that the model manager's own types fit them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.host.openai.key import KeyRing
from luci_tui.host.openai.limits import FairGate
from luci_tui.host.openai.metrics import ApiMetrics
from luci_tui.host.openai.settings import ServeSettings


class EntryView(Protocol):
    """A model that may be asked for."""

    @property
    def name(self) -> str:
        """What a request calls it."""
        ...

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other names for it."""
        ...

    @property
    def sampling(self) -> frames.SamplingParams:
        """Its own sampling; a request replaces what it names."""
        ...

    @property
    def system(self) -> str:
        """System message of a request that has none; empty = none."""
        ...

    @property
    def max_workers(self) -> int:
        """Most workers that may serve it at once."""
        ...


class LeaseView(Protocol):
    """A loaded model, to be used inside its `async with`."""

    @property
    def entry(self) -> EntryView:
        """The model that serves; a fallback has another name than was asked for."""
        ...

    @property
    def info(self) -> frames.ModelInfo:
        """What it is."""
        ...

    @property
    def engine(self) -> EngineClient:
        """Only `generate` and `ask` are used."""
        ...


class ResidentView(Protocol):
    """A model that is in memory, or on its way there."""

    @property
    def name(self) -> str:
        """The entry's name."""
        ...

    @property
    def state(self) -> str:
        """The manager's word for it."""
        ...


class ModelSource(Protocol):
    """Where models come from: the model manager and its registry."""

    def names(self) -> Sequence[EntryView]:
        """Return the models that may be asked for; nothing else can be."""
        ...

    def lease(self, name: str) -> AbstractAsyncContextManager[LeaseView]:
        """Hold a model in memory, loading it first if need be."""
        ...

    def snapshot(self) -> Sequence[ResidentView]:
        """Return what is in memory now."""
        ...


@dataclass(frozen=True)
class Services:
    """Everything that an endpoint may use."""

    models: ModelSource
    settings: ServeSettings
    gate: FairGate
    metrics: ApiMetrics
    keys: KeyRing = field(default_factory=KeyRing)
    """Without a key in it, `settings.require_key` lets nobody in."""


def make_services(models: ModelSource, settings: ServeSettings, keys: tuple[str, ...]) -> Services:
    """Return what one server stands on: a queue and counters of its own, with these limits.

    Args:
        models: The model manager and its registry.
        settings: Where and how to serve.
        keys: What `key.load_keys` found; none is needed without `settings.require_key`.
    """
    gate = FairGate(
        settings.max_running,
        settings.max_queued,
        settings.max_queued_per_client,
        settings.queue_timeout_s,
    )
    return Services(models, settings, gate, ApiMetrics(), KeyRing(keys))
