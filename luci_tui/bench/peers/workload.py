"""The prompts and counts that every contender gets, so that all do the same work."""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass

from luci_tui.bench.report import percentile

N_PREFILL = 512
N_DECODE = 128
STREAM_COUNTS = (4, 8, 16)
N_STREAM_PROMPT = 16
N_PREFIX_REQUESTS = 40
N_PREFIX = 500
N_SUFFIX = 24
N_PREFIX_NEW = 16
SERVER_SLOT_COUNTS = (1, 4, 8, 16)
OWN_PREFIX_SLOTS = 20
"""luci's slots for the shared prefix: 40 requests in two full waves, one KV buffer for all."""

N_WARM_UP = 64
"""Tokens of an answer before anything is measured: a fresh process pays for its page faults, and
llama-bench warms up by itself."""
N_CTX_PER_SLOT = 1024
N_BATCH = 2048
N_UBATCH = 512

_BOS = 1
_FIRST_WORD = 259
"""Below it stand the control tokens and the bytes."""
_N_VOCAB = 32_000


@dataclass(frozen=True)
class Stream:
    """When one answer started and ended, as its client saw it (seconds, one clock)."""

    sent_s: float
    first_s: float
    """The first piece of text arrived."""
    last_s: float
    """The answer was complete."""
    n_tokens: int


def prompt_tokens(n_tokens: int, seed: int) -> list[int]:
    """Draw a prompt of `n_tokens` token ids that starts with BOS; the same seed gives the same."""
    draw = random.Random(seed)
    return [_BOS, *(draw.randrange(_FIRST_WORD, _N_VOCAB) for _ in range(n_tokens - 1))]


def prefix_prompts(round_index: int) -> list[list[int]]:
    """Draw the prompts that share a prefix; each round has another prefix, so none is cached."""
    prefix = prompt_tokens(N_PREFIX, seed=10_000 + round_index)
    first = 100_000 + round_index * N_PREFIX_REQUESTS
    return [
        prefix + prompt_tokens(N_SUFFIX + 1, seed=first + index)[1:]
        for index in range(N_PREFIX_REQUESTS)
    ]


def decode_rate(streams: list[Stream]) -> float:
    """Return tokens per second over all streams, from the first piece of text to the last answer.

    Each stream's first token belongs to its prefill and is left out.
    """
    n_tokens = sum(stream.n_tokens - 1 for stream in streams)
    span_s = max(s.last_s for s in streams) - min(s.first_s for s in streams)
    return n_tokens / span_s


def prefill_rate(streams: list[Stream]) -> float:
    """Return the median of prompt tokens per second, from sending a prompt to its first text."""
    return statistics.median(N_PREFILL / (s.first_s - s.sent_s) for s in streams)


def single_decode_rate(streams: list[Stream]) -> float:
    """Return the median decode rate of answers that came one after the other."""
    return statistics.median(decode_rate([stream]) for stream in streams)


def ttft_p95_ms(streams: list[Stream]) -> float:
    """Return the 95th percentile of the time from sending a prompt to its first text, in ms."""
    return 1000 * percentile([s.first_s - s.sent_s for s in streams], 95)


def total_s(streams: list[Stream]) -> float:
    """Return the time from the first request sent to the last answer complete, in seconds."""
    return max(s.last_s for s in streams) - min(s.sent_s for s in streams)
