"""A model manager over engines that a test can hold back, break and count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

from luci_tui.engine import frames
from luci_tui.engine.echo import EchoEngine
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import CatalogError, WorkerLostError
from luci_tui.manager.entries import LoadOptions, ModelEntry
from luci_tui.manager.progress import LeaseProgress
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.tiny_vocab import CHATML_TEMPLATE


class TestableEngine(EchoEngine):
    """An echo whose load a test may hold back or let fail, and whose worker it may kill."""

    __test__ = False

    def __init__(
        self,
        name: str,
        number: int,
        load_error: Exception | None,
        gate: asyncio.Event,
        close_gate: asyncio.Event,
    ) -> None:
        super().__init__()
        self.name = name
        self.number = number
        self.is_closing = False
        self._close_gate = close_gate
        self.is_closed = False
        self.is_loaded = False
        self._load_error = load_error
        self._gate = gate
        self._lost: WorkerLostError | None = None

    @property
    def pid(self) -> int | None:
        """None: it is no process, so nothing is measured."""
        return None

    @property
    def lost(self) -> WorkerLostError | None:
        """What `kill` was given."""
        return self._lost

    def kill(self, reason: str) -> None:
        """Be a worker that ended."""
        self._lost = WorkerLostError(reason)

    async def load(self, spec: LoadSpec) -> AsyncGenerator[frames.LoadProgress | frames.Loaded]:
        """Load when the gate is open."""
        yield frames.LoadProgress(request_id=0, fraction=0.25)
        await self._gate.wait()
        if self._load_error is not None:
            raise self._load_error
        async for event in super().load(spec):
            self.is_loaded = isinstance(event, frames.Loaded)
            if isinstance(event, frames.Loaded) or event.fraction > 0.25:
                yield event

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        """Echo, or fail as a lost worker does."""
        async for event in super().generate(request):
            if self._lost is not None:
                raise WorkerLostError(self._lost.message)
            yield event

    async def close(self) -> None:
        """Be gone, when the gate is open."""
        self.is_closing = True
        await self._close_gate.wait()
        self.is_closed = True
        await super().close()


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


@dataclass
class EngineMaker:
    """Makes the engines of one manager and remembers them by model."""

    made: dict[str, list[TestableEngine]] = field(default_factory=dict[str, list[TestableEngine]])
    gates: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    """Loads of these models wait until their event is set."""
    close_gates: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    """Workers of these models take until then to end."""
    load_errors: dict[str, list[Exception]] = field(default_factory=dict[str, list[Exception]])
    """Errors of the next loads of a model, in order."""

    def __call__(self, entry: ModelEntry, index: int) -> TestableEngine:
        """Make an engine for a model."""
        del index
        errors = self.load_errors.get(entry.name, [])
        engines = self.made.setdefault(entry.name, [])
        engine = TestableEngine(
            entry.name,
            len(engines),
            errors.pop(0) if errors else None,
            self.gates.get(entry.name) or _open_gate(),
            self.close_gates.get(entry.name) or _open_gate(),
        )
        engines.append(engine)
        return engine

    def alive(self, name: str) -> list[TestableEngine]:
        """List the engines of a model that are not closed."""
        return [engine for engine in self.made.get(name, []) if not engine.is_closed]


class Models:
    """A source of models that a test writes down; the file of each is a real one."""

    def __init__(self, folder: Path) -> None:
        self.path = write_arch_model(
            TinyArch.LLAMA, folder / "tiny.gguf", chat_template=CHATML_TEMPLATE
        )
        self.entries: dict[str, ModelEntry] = {}

    def add(self, name: str, n_ctx: int = 512, **fields: object) -> ModelEntry:
        """Add or replace a model."""
        values: dict[str, object] = {
            "name": name,
            "path": str(self.path),
            "load": LoadOptions(n_ctx=n_ctx),
        }
        self.entries[name] = ModelEntry.model_validate({**values, **fields})
        return self.entries[name]

    def resolve(self, name: str) -> ModelEntry:
        """Return the model of this name."""
        if name not in self.entries:
            raise CatalogError(f'There is no model "{name}".')
        return self.entries[name]


def kinds(progress: list[LeaseProgress]) -> list[str]:
    """List the kinds of what was reported, each run of the same once."""
    found: list[str] = []
    for one in progress:
        if not found or found[-1] != one.kind:
            found.append(one.kind)
    return found
