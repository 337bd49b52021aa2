"""What a finished answer says about itself."""

from __future__ import annotations

from luci_tui.engine import frames


def truth_line(done: frames.Done, cost: str = "") -> str:
    """Say in one line what an answer cost: context, rates, time to the first token.

    Args:
        done: How it ended.
        cost: What it is estimated to have cost, in words; "" = nothing is known.
    """
    usage, timings = done.usage, done.timings
    parts = [f"context {usage.prompt_tokens + usage.completion_tokens}/{usage.n_ctx}"]
    if usage.dropped_tokens:
        parts.append(f"{usage.dropped_tokens} tokens dropped")
    rate = decode_rate(done)
    if rate:
        parts.append(f"{rate:.1f} tok/s")
    parts.append(f"TTFT {timings.ttft_ms:.0f} ms")
    if cost:
        parts.append(cost)
    return " · ".join(parts)


def decode_rate(done: frames.Done) -> float | None:
    """Return tokens per second after the first token; None if there were fewer than two."""
    n_after_first = done.usage.completion_tokens - 1
    if n_after_first < 1 or done.timings.decode_ms <= 0:
        return None
    return n_after_first / done.timings.decode_ms * 1000
