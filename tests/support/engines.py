"""Short ways to talk to an engine in tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.engine.load_spec import LoadSpec


@dataclass
class Answer:
    """What came out of one generate call so far."""

    events: list[frames.GenerateEvent] = field(default_factory=list[frames.GenerateEvent])

    @property
    def deltas(self) -> list[frames.Delta]:
        """The deltas, in order."""
        return [event for event in self.events if isinstance(event, frames.Delta)]

    @property
    def text(self) -> str:
        """All text that arrived."""
        return "".join(delta.text for delta in self.deltas)

    @property
    def tokens(self) -> tuple[int, ...]:
        """All token ids that arrived."""
        return tuple(token for delta in self.deltas for token in delta.tokens)

    @property
    def done(self) -> frames.Done:
        """The last event, which must be Done."""
        last = self.events[-1]
        assert isinstance(last, frames.Done)
        return last

    async def collect(self, stream: AsyncIterator[frames.GenerateEvent]) -> Answer:
        """Take everything that is left of a stream; what arrived stays when it raises."""
        async for event in stream:
            self.events.append(event)
        return self


def request(prompt: str = "the letters", **fields: object) -> frames.Generate:
    """Make a request for a few greedy tokens; `fields` replaces what is different."""
    sampling = frames.SamplingParams(temperature=0.0, seed=1, ignore_eos=True)
    defaults: dict[str, object] = {"prompt": prompt, "max_tokens": 24, "sampling": sampling}
    return frames.Generate.model_validate({"request_id": 0, **defaults, **fields})


def endless(context_policy: str = "refuse") -> frames.Generate:
    """Make a request that goes on until the context is full, or with shift until it is ended."""
    return request(max_tokens=-1, delivery_ms=0, context_policy=context_policy)


async def answer(client: EngineClient, wanted: frames.Generate) -> Answer:
    """Run one request to its end."""
    return await Answer().collect(client.generate(wanted))


async def load(client: EngineClient, model_path: str, **fields: object) -> frames.ModelInfo:
    """Load a model with a small context and one thread, and return what it is."""
    defaults: dict[str, object] = {"model_path": model_path, "n_ctx": 512, "n_threads": 1}
    info = None
    async for event in client.load(LoadSpec.model_validate({**defaults, **fields})):
        if isinstance(event, frames.Loaded):
            info = event.info
    assert info is not None
    return info
