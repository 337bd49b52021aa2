"""What chats have cost: tokens, seconds of compute, energy and money, each with its source.

Energy and money are estimates: the power is one number that a person wrote down, and a price knows
nothing of discounts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from luci_tui.chat.records import Identifier, Message, Record
from luci_tui.engine import frames
from luci_tui.units import format_count


class Rates(Record):
    """What is known about the price of a model's answers; None = not known."""

    place: Literal["here", "elsewhere", "unknown"] = "here"
    """Where the model computes; "unknown" = no model has this name any more."""
    watts: float | None = None
    """Power while a model computes here."""
    price_per_kwh: float | None = None
    price_per_million_prompt_tokens: float | None = None
    """This and the next: of a model elsewhere that is paid by the token."""
    price_per_million_completion_tokens: float | None = None
    currency: str = ""


RatesOf = Callable[[str], Rates]
"""Tells the rates of a model by its name."""


class Spent(Record):
    """What the answers of one model in one chat took, over all branches and summaries."""

    chat_id: Identifier = "-"
    model: str
    n_answers: int
    """Those that tell their tokens."""
    n_timed: int
    """Those that tell their time; an answer that was broken off has none."""
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    compute_ms: float


class Figure(Record):
    """One number with where it comes from."""

    value: float | None
    """None = unknown; `source` says why."""
    unit: str
    source: str


class ChatCost(Record):
    """The figures of one chat."""

    n_answers: int
    prompt_tokens: int
    cached_tokens: int
    """Of the prompts, taken from the KV cache and not computed again."""
    completion_tokens: int
    compute_s: Figure
    energy: Figure
    energy_money: Figure
    token_money: Figure

    def estimates(self) -> list[tuple[str, Figure]]:
        """List what is known of energy and money, each with a word for it."""
        all_ = (
            ("energy", self.energy),
            ("cost of energy", self.energy_money),
            ("cost of tokens", self.token_money),
        )
        return [(noun, figure) for noun, figure in all_ if figure.value is not None]


def spent_on(messages: Iterable[Message]) -> tuple[Spent, ...]:
    """Sum up messages by the model that answered."""
    found: dict[str, Spent] = {}
    for message in messages:
        usage, timings = message.usage, message.timings
        if usage is None and timings is None:
            continue
        one = spent_by(message.model, usage, timings)
        before = found.get(message.model)
        found[message.model] = _sum(before, one) if before else one
    return tuple(found.values())


def spent_by(model: str, usage: frames.Usage | None, timings: frames.Timings | None) -> Spent:
    """Say what one answer took."""
    return Spent(
        model=model,
        n_answers=int(usage is not None),
        n_timed=int(timings is not None),
        prompt_tokens=usage.prompt_tokens if usage else 0,
        cached_tokens=usage.cached_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        compute_ms=timings.prefill_ms + timings.decode_ms if timings else 0.0,
    )


def cost_of(spent: Sequence[Spent], rates_of: RatesOf) -> ChatCost:
    """Price what was spent.

    Args:
        spent: Of one chat, each model once.
        rates_of: What is known about power and prices of each model.
    """
    priced = [(one, rates_of(one.model)) for one in spent]
    here = [(one, rates) for one, rates in priced if rates.place == "here"]
    elsewhere = [(one, rates) for one, rates in priced if rates.place == "elsewhere"]
    seconds = sum(one.compute_ms for one, _ in here) / 1000
    # Watts, currency and the price of energy are of the machine: each model tells the same.
    rates = here[0][1] if here else rates_of("")
    return ChatCost(
        n_answers=sum(one.n_answers for one in spent),
        prompt_tokens=sum(one.prompt_tokens for one in spent),
        cached_tokens=sum(one.cached_tokens for one in spent),
        completion_tokens=sum(one.completion_tokens for one in spent),
        compute_s=_compute(seconds, priced),
        energy=_energy(seconds, rates),
        energy_money=_energy_money(seconds, rates),
        token_money=_token_money(elsewhere, rates.currency),
    )


def cost_words(cost: ChatCost) -> str:
    """Say in a few words what is estimated; "" = nothing is known."""
    energy = cost.energy.value
    money = [
        figure.value for figure in (cost.energy_money, cost.token_money) if figure.value is not None
    ]
    parts = [f"{energy:.3g} Wh"] if energy else []
    if sum(money):
        parts.append(f"{sum(money):.3g} {cost.token_money.unit}".rstrip())
    return f"about {' and '.join(parts)} (estimate)" if parts else ""


def _compute(seconds: float, priced: Sequence[tuple[Spent, Rates]]) -> Figure:
    counts = {"here": 0, "elsewhere": 0, "unknown": 0}
    for one, rates in priced:
        counts[rates.place] += one.n_timed
    answers = format_count(counts["here"], "answer")
    source = f"prefill and decode of {answers} as the engine measured them"
    if counts["elsewhere"]:
        source += f"; {format_count(counts['elsewhere'], 'answer')} of servers elsewhere left out"
    if counts["unknown"]:
        source += f"; {format_count(counts['unknown'], 'answer')} of models left out that are gone"
    return Figure(value=round(seconds, 3), unit="s", source=source)


def _energy(seconds: float, rates: Rates) -> Figure:
    if rates.watts is None:
        return Figure(value=None, unit="Wh", source="unknown: the setting watts is not made")
    return Figure(
        value=seconds * rates.watts / 3600,
        unit="Wh",
        source=f"estimate: seconds of compute x {rates.watts:g} W of the setting watts",
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
        source=f"estimate: energy x {rates.price_per_kwh:g} per kWh of the setting price_per_kwh",
    )


def _token_money(elsewhere: Sequence[tuple[Spent, Rates]], currency: str) -> Figure:
    """Price the tokens of servers elsewhere; cached ones count like any other."""
    money, priced, unpriced = 0.0, list[str](), list[str]()
    for one, rates in elsewhere:
        for_prompt = rates.price_per_million_prompt_tokens
        for_completion = rates.price_per_million_completion_tokens
        if for_prompt is None or for_completion is None:
            unpriced.append(one.model)
            continue
        money += (one.prompt_tokens * for_prompt + one.completion_tokens * for_completion) / 1e6
        priced.append(f"{for_prompt:g} and {for_completion:g} for {one.model}")
    if not priced:
        why = f" for {', '.join(unpriced)}" if unpriced else ", or no answer is paid by the token"
        source = f"unknown: models.toml has no prices per million tokens{why}"
        return Figure(value=None, unit=currency, source=source)
    source = f"estimate: {', '.join(priced)} per million prompt and completion tokens (models.toml)"
    if unpriced:
        source += f"; without {', '.join(unpriced)}, which has no price"
    return Figure(value=money, unit=currency, source=source)


def _sum(one: Spent, other: Spent) -> Spent:
    return one.model_copy(
        update={
            name: getattr(one, name) + getattr(other, name)
            for name in Spent.model_fields
            if name not in {"chat_id", "model"}
        }
    )
