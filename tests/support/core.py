"""Drive the compiled core in this process: load a tiny model, run requests to their end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from luci_tui.engine.native import require_native

require_native()

from luci_tui import _native  # noqa: E402  # after the check that says how to build it

if TYPE_CHECKING:
    from collections.abc import Sequence

Options = Mapping[str, object]


@dataclass
class Outcome:
    """All that one request said."""

    text: str = ""
    reasoning: str = ""
    tokens: list[int] = field(default_factory=list[int])
    tool_calls: list[_native.ToolCallDelta] = field(default_factory=list[_native.ToolCallDelta])
    logprobs: list[_native.TokenLogprob] = field(default_factory=list[_native.TokenLogprob])
    prompt_logprobs: list[_native.PromptLogprob] = field(
        default_factory=list[_native.PromptLogprob]
    )
    progress: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    end: _native.Event | None = None
    """The "done" or "failed" event."""

    @property
    def done(self) -> _native.Event:
        """The "done" event; fails the test when the request failed."""
        assert self.end is not None
        assert self.end.kind == "done", self.end.message
        return self.end

    @property
    def failed(self) -> _native.Event:
        """The "failed" event; fails the test when the request did not fail."""
        assert self.end is not None
        assert self.end.kind == "failed", self.end.finish_reason
        return self.end


def load(path: Path, **options: object) -> _native.Engine:
    """Load a model with 1,024 tokens of context, one slot, one thread and the given LoadParams.

    More threads wait for each other by spinning, and tests beside this one take their processors.
    """
    params = _native.LoadParams()
    params.model_path = str(path)
    params.n_ctx = 1024
    params.n_threads = 1
    for name, value in options.items():
        setattr(params, name, value)
    return _native.Engine(params, _native.LoadProgress())


def request(
    prompt: str | Sequence[int] | None = None,
    *,
    max_tokens: int = 24,
    sampling: Options | None = None,
    **options: object,
) -> _native.Request:
    """Make a request at temperature 0 that does not end by itself, unless told otherwise."""
    made = _native.Request()
    if isinstance(prompt, str):
        made.prompt = prompt
    elif prompt is not None:
        made.tokens = prompt
    made.max_tokens = max_tokens
    chain = _native.SamplingParams()
    for name, value in {"temperature": 0.0, "ignore_eos": True, **(sampling or {})}.items():
        setattr(chain, name, value)
    made.sampling = chain
    for name, value in options.items():
        setattr(made, name, value)
    return made


def drain(engine: _native.Engine, ids: Iterable[int]) -> list[Outcome]:
    """Run until nothing is left to do; the outcomes are in the order of `ids`."""
    outcomes = {request_id: Outcome() for request_id in ids}
    while engine.has_work():
        for event in engine.run(1000.0):
            collect(outcomes[event.id], event)
    return list(outcomes.values())


def collect(outcome: Outcome, event: _native.Event) -> None:
    """Add one event to an outcome."""
    if event.kind == "delta":
        outcome.text += event.text
        outcome.reasoning += event.reasoning
        outcome.tokens += event.tokens
        outcome.tool_calls += event.tool_calls
        outcome.logprobs += event.logprobs
        outcome.prompt_logprobs += event.prompt_logprobs
    elif event.kind == "progress":
        outcome.progress.append((event.n_done, event.n_total))
    else:
        assert outcome.end is None
        outcome.end = event


def answer(engine: _native.Engine, made: _native.Request) -> Outcome:
    """Run one request to its end."""
    return drain(engine, [engine.submit(made)])[0]


def biased(
    sampling: _native.SamplingParams, bias: Sequence[tuple[int, float]]
) -> _native.SamplingParams:
    """Set the logit bias of a chain."""
    sampling.logit_bias = bias
    return sampling
