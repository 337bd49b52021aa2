"""Measure a model as a client of an engine sees it, next to the bare core behind it.

Each round takes every figure once through the client and once from the core, in alternating
order, so that a machine that slows down slows both. Decode through the client is (tokens after
the first delta) / (time from the first delta to Done). Prompts are random tokens, and no answer
may end early.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from luci_tui.bench.plan import BenchPlan
from luci_tui.bench.report import BenchReport, Measured, Spread, Via
from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import ConfigError, EngineError
from luci_tui.units import format_count

CANCEL_TOKENS = 4096
"""Length of an answer that is going to be cancelled, where the context is that long."""

CANCEL_TIMEOUT_S = 30.0

MAX_TRIES = 5
"""On a busy machine a short answer may be over before this process is given a turn."""


@dataclass(frozen=True)
class BenchStep:
    """What is being measured now."""

    words: str
    n_done: int
    n_total: int


@dataclass(frozen=True)
class BenchSample:
    """What one round of one test brought; warm-ups bring nothing."""

    test: str
    streams: int
    via: Via
    tokens_per_s: float

    @property
    def name(self) -> str:
        """Test, streams and way, as a series of rounds is called."""
        return f"{self.test} x{self.streams}, {self.via.value}"


Told = BenchStep | BenchSample
"""What is told while a bench runs."""


@dataclass(frozen=True)
class _Timing:
    """One answer on the client's clock; seconds of time.perf_counter."""

    sent_s: float
    first_s: float
    last_s: float
    n_first: int
    """Tokens in the first delta."""
    n_tokens: int

    @property
    def ttft_s(self) -> float:
        """Sent to first delta."""
        return self.first_s - self.sent_s


@dataclass
class _Rounds:
    """What the rounds of one test brought; round 0 is a warm-up and does not count."""

    rates: dict[Via, list[float]] = field(default_factory=lambda: {via: [] for via in Via})
    ttft_ms: list[float] = field(default_factory=list[float])

    def add_ttft(self, number: int, timings: Sequence[_Timing]) -> None:
        if number:
            self.ttft_ms += [timing.ttft_s * 1000 for timing in timings]


async def measure(
    engine: EngineClient, load: LoadSpec, plan: BenchPlan
) -> AsyncGenerator[Told | BenchReport]:
    """Run the plan; the last item is the report.

    Args:
        engine: An engine without work; the model is loaded once per number of streams.
        load: How to load the model; `n_ctx` and `n_slots` are replaced.
        plan: What to measure.

    Raises:
        ConfigError: the plan measures nothing.
        EngineError: the model cannot be loaded, or a request failed.
    """
    if plan.n_prompt < 1 or plan.n_gen < 2 or plan.rounds < 1 or not plan.streams:
        msg = "The bench needs at least --pp 1, --tg 2, one round and one stream."
        raise ConfigError(msg)
    bench = _Bench(engine, load, plan)
    for n_streams in sorted({1, *plan.streams}):
        async for item in bench.run(n_streams):
            yield item
    yield bench.report()


class _Bench:
    """The measurements, on one engine."""

    def __init__(self, engine: EngineClient, load: LoadSpec, plan: BenchPlan) -> None:
        self._engine = engine
        self._load_spec = load
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._info: frames.ModelInfo | None = None
        self._results: list[Measured] = []
        self._cancel_ms: list[float] = []
        self._step_ms = 0.0
        self._n_steps = 0

    async def run(self, n_streams: int) -> AsyncGenerator[Told]:
        """Load the model with n_streams slots and take all figures of that number."""
        yield self._step(f"loading for {format_count(n_streams, 'stream')}")
        self._info = info = await self._load(n_streams)
        if n_streams == 1:
            async for item in self._prefill(info):
                yield item
        async for item in self._decode(info, n_streams):
            yield item
        if n_streams == 1:
            self._step_ms = 1000 / self._results[-1].tokens_per_s.median
            yield self._step(f"{self._plan.n_cancels} cancels")
            for _ in range(self._plan.n_cancels):
                self._cancel_ms.append(await self._cancel(info))

    def _step(self, words: str) -> BenchStep:
        self._n_steps += 1
        return BenchStep(words, self._n_steps - 1, self._plan.n_steps)

    def report(self) -> BenchReport:
        """Sum up; there must have been a run."""
        assert self._info is not None
        return BenchReport(
            model=self._info.name,
            description=self._info.description,
            threads=self._info.n_threads,
            rounds=self._plan.rounds,
            temperature=self._plan.temperature,
            results=self._results,
            cancel_ms=self._cancel_ms,
            step_ms=self._step_ms,
        )

    async def _load(self, n_slots: int) -> frames.ModelInfo:
        changes = {"n_ctx": self._plan.n_ctx, "n_slots": n_slots}
        spec = self._load_spec.model_copy(update=changes)
        async with aclosing(self._engine.load(spec)) as events:
            async for event in events:
                if isinstance(event, frames.Loaded):
                    return event.info
        msg = f"Loading {spec.model_path} ended without an answer. Try again."
        raise EngineError(msg)

    async def _prefill(self, info: frames.ModelInfo) -> AsyncGenerator[Told]:
        """Measure the prompt alone: n_prompt tokens in, one token out."""
        name = f"pp{self._plan.n_prompt}"
        rounds = _Rounds()
        for number, via in self._order():
            yield self._step(f"{name}, {_round(number)}, {via.value}")
            if via is Via.CORE:
                rate = await self._core(self._plan.n_prompt, 0, 1)
            else:
                timing = await self._stream(info, self._plan.n_prompt, 1)
                rate = self._plan.n_prompt / timing.ttft_s
                rounds.add_ttft(number, [timing])
            if number:
                rounds.rates[via].append(rate)
                yield BenchSample(name, 1, via, rate)
        self._results += _results(name, 1, rounds)

    async def _decode(self, info: frames.ModelInfo, n_streams: int) -> AsyncGenerator[Told]:
        """Measure n_gen tokens of n_streams answers at once, each after a prompt of one token."""
        name = f"tg{self._plan.n_gen}"
        rounds = _Rounds()
        for number, via in self._order():
            yield self._step(f"{name} x{n_streams}, {_round(number)}, {via.value}")
            if via is Via.CORE:
                rate = await self._core(0, self._plan.n_gen, n_streams)
            else:
                rate, timings = await self._decode_through_client(info, n_streams)
                rounds.add_ttft(number, timings)
            if number:
                rounds.rates[via].append(rate)
                yield BenchSample(name, n_streams, via, rate)
        self._results += _results(name, n_streams, rounds)

    async def _decode_through_client(
        self, info: frames.ModelInfo, n_streams: int
    ) -> tuple[float, list[_Timing]]:
        """Decode once; again where this process slept until the answers came in one piece."""
        for _ in range(MAX_TRIES):
            timings = await self._streams(info, n_streams)
            rate = _decode_rate(timings)
            if rate is not None:
                return rate, timings
        msg = "The answers came in one piece, so no decode speed is known. Use a larger --tg."
        raise ConfigError(msg)

    async def _cancel(self, info: frames.ModelInfo) -> float:
        """Return the milliseconds from closing an answer until the engine reports idle slots."""
        request = self._request(info, 1, min(CANCEL_TOKENS, info.n_ctx - 2))
        async with aclosing(self._engine.generate(request)) as events:
            async for event in events:
                if isinstance(event, frames.Delta):
                    break
            closed_s = time.perf_counter()
        async with asyncio.timeout(CANCEL_TIMEOUT_S):
            while not await self._is_idle():
                pass
        return (time.perf_counter() - closed_s) * 1000

    def _order(self) -> list[tuple[int, Via]]:
        """Return (round, via) in turn; round 0 warms up, and who goes first alternates."""
        first, second = Via.WORKER, Via.CORE
        return [
            (number, via)
            for number in range(self._plan.rounds + 1)
            for via in ((first, second) if number % 2 else (second, first))
        ]

    async def _is_idle(self) -> bool:
        report = await self._engine.ask(frames.Status(request_id=0))
        if not isinstance(report, frames.StatusReport):
            msg = f"The engine answered a status request with {report.kind}. Try again."
            raise EngineError(msg)
        return report.n_queued == 0 and all(slot.state == "idle" for slot in report.slots)

    async def _core(self, n_prompt: int, n_gen: int, n_streams: int) -> float:
        command = frames.Bench(
            request_id=0, n_prompt=n_prompt, n_gen=n_gen, n_streams=n_streams, repetitions=1
        )
        result = await self._engine.ask(command)
        if not isinstance(result, frames.BenchResult):
            msg = f"The engine answered a bench request with {result.kind}. Try again."
            raise EngineError(msg)
        return (result.decode_tokens_per_s if n_gen else result.prefill_tokens_per_s)[0]

    async def _streams(self, info: frames.ModelInfo, n_streams: int) -> list[_Timing]:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._stream(info, 1, self._plan.n_gen)) for _ in range(n_streams)
            ]
        return [task.result() for task in tasks]

    async def _stream(self, info: frames.ModelInfo, n_prompt: int, n_gen: int) -> _Timing:
        request = self._request(info, n_prompt, n_gen)
        first_s, n_first = 0.0, 0
        sent_s = time.perf_counter()
        async with aclosing(self._engine.generate(request)) as events:
            async for event in events:
                now_s = time.perf_counter()
                if isinstance(event, frames.Delta) and not n_first:
                    first_s, n_first = now_s, max(1, len(event.tokens))
                elif isinstance(event, frames.Done):
                    n_tokens = event.usage.completion_tokens
                    if n_tokens != n_gen or not n_first:
                        msg = f"The model gave {n_tokens} of {n_gen} tokens, so no speed is known."
                        raise EngineError(msg)
                    return _Timing(sent_s, first_s, now_s, n_first, n_tokens)
        msg = "The engine ended an answer without saying why. Try again."
        raise EngineError(msg)

    def _request(self, info: frames.ModelInfo, n_prompt: int, n_gen: int) -> frames.Generate:
        return frames.Generate(
            request_id=0,
            tokens=tuple(self._random.randrange(info.n_vocab) for _ in range(n_prompt)),
            max_tokens=n_gen,
            cache_prompt=False,
            sampling=frames.SamplingParams(
                temperature=self._plan.temperature, ignore_eos=True, seed=self._plan.seed
            ),
        )


def _decode_rate(timings: Sequence[_Timing]) -> float | None:
    """Tokens after each first delta, over the time from the first delta of all to the last Done.

    None = all tokens were in the first deltas.
    """
    n_tokens = sum(timing.n_tokens - timing.n_first for timing in timings)
    elapsed_s = max(t.last_s for t in timings) - min(t.first_s for t in timings)
    return n_tokens / elapsed_s if n_tokens > 0 and elapsed_s > 0 else None


def _results(name: str, n_streams: int, rounds: _Rounds) -> list[Measured]:
    results: list[Measured] = []
    for via in (Via.WORKER, Via.CORE):
        rates = Spread.of(rounds.rates[via])
        assert rates is not None
        ttft_ms = Spread.of(rounds.ttft_ms) if via is Via.WORKER else None
        results.append(Measured(name, via, n_streams, rates, ttft_ms))
    return results


def _round(number: int) -> str:
    return f"round {number}" if number else "warm-up"
