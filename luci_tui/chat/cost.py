"""What a chat has cost: tokens, seconds of compute, energy and money, each with its source."""

from __future__ import annotations

from collections.abc import Sequence

from luci_tui.chat.records import Message, Record


class Rates(Record):
    """What a person knows about the machine and its power; None = not known."""

    watts: float | None = None
    """Power while a model computes."""
    price_per_kwh: float | None = None
    price_per_million_prompt_tokens: float | None = None
    """For models behind an endpoint that is paid by the token."""
    price_per_million_completion_tokens: float | None = None
    currency: str = ""


class Figure(Record):
    """One number with where it comes from."""

    value: float | None
    """None = unknown; `source` says why."""
    unit: str
    source: str


class ChatCost(Record):
    """The figures of one chat, over all its branches and summaries."""

    n_answers: int
    prompt_tokens: int
    cached_tokens: int
    """Of the prompts, taken from the KV cache and not computed again."""
    completion_tokens: int
    compute_s: Figure
    energy: Figure
    energy_money: Figure
    token_money: Figure


def cost_of(messages: Sequence[Message], rates: Rates) -> ChatCost:
    """Sum up a chat.

    Args:
        messages: All of them, summaries included.
        rates: What is known about power and prices.
    """
    used = [message.usage for message in messages if message.usage is not None]
    timed = [message.timings for message in messages if message.timings is not None]
    prompt_tokens = sum(usage.prompt_tokens for usage in used)
    completion_tokens = sum(usage.completion_tokens for usage in used)
    seconds = sum(timing.prefill_ms + timing.decode_ms for timing in timed) / 1000
    return ChatCost(
        n_answers=len(used),
        prompt_tokens=prompt_tokens,
        cached_tokens=sum(usage.cached_tokens for usage in used),
        completion_tokens=completion_tokens,
        compute_s=Figure(
            value=round(seconds, 3),
            unit="s",
            source=(
                f"prefill and decode of {len(timed)} answers as the engine measured them; an"
                " answer that was broken off has none"
            ),
        ),
        energy=_energy(seconds, rates),
        energy_money=_energy_money(seconds, rates),
        token_money=_token_money(prompt_tokens, completion_tokens, rates),
    )


def _energy(seconds: float, rates: Rates) -> Figure:
    if rates.watts is None:
        return Figure(value=None, unit="Wh", source="unknown: the setting watts is not made")
    return Figure(
        value=seconds * rates.watts / 3600,
        unit="Wh",
        source=f"seconds of compute x {rates.watts:g} W of the setting watts",
    )


def _energy_money(seconds: float, rates: Rates) -> Figure:
    missing = [
        name
        for name, value in (("watts", rates.watts), ("price_per_kwh", rates.price_per_kwh))
        if value is None
    ]
    if rates.watts is None or rates.price_per_kwh is None:
        source = f"unknown: the setting {' and '.join(missing)} is not made"
        return Figure(value=None, unit=rates.currency, source=source)
    return Figure(
        value=seconds * rates.watts / 3_600_000 * rates.price_per_kwh,
        unit=rates.currency,
        source=f"energy x {rates.price_per_kwh:g} per kWh of the setting price_per_kwh",
    )


def _token_money(prompt_tokens: int, completion_tokens: int, rates: Rates) -> Figure:
    for_prompt = rates.price_per_million_prompt_tokens
    for_completion = rates.price_per_million_completion_tokens
    if for_prompt is None or for_completion is None:
        return Figure(
            value=None,
            unit=rates.currency,
            source="unknown: the settings of prices per million tokens are not made",
        )
    return Figure(
        value=(prompt_tokens * for_prompt + completion_tokens * for_completion) / 1e6,
        unit=rates.currency,
        source=f"{for_prompt:g} and {for_completion:g} per million prompt and completion tokens",
    )
