"""Which messages of a chat fit into one prompt, and exactly what is left out.

The unit is the turn: a user's message and all that follows it up to the next one. Kept are the last
turn, turns with a pinned message, and then the newest turns that still fit; templates that want
user and assistant to alternate get that. Texts are counted by the engine's tokenizer; what a
chat template adds is not known before an answer, so it starts as a guess and is then measured.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from luci_tui.chat.records import (
    ChatPolicy,
    ContextReport,
    LeftOut,
    Message,
    MessageState,
    Role,
)
from luci_tui.errors import ChatError

GUESSED_OVERHEAD = 8.0
"""Tokens that a template is taken to add to each message until that is measured; ChatML adds 5."""
MAX_RESERVE = 1024
"""Most context kept free for an answer whose length nobody bounds."""
BYTES_PER_TOKEN = 3.0
"""For texts that cannot be counted; real tokenizers reach about 4 in English and 3 elsewhere."""

CountTokens = Callable[[Sequence[Message]], Awaitable[dict[str, int]]]
"""Messages -> tokens by message id, templates not included."""


@dataclass(frozen=True)
class TemplateCost:
    """Tokens that a chat template adds to the texts."""

    per_message: float = GUESSED_OVERHEAD
    fixed: float = 0.0
    """Once per prompt, such as a BOS token and the beginning of the answer."""
    seen: tuple[int, int] | None = None
    """(messages, tokens added) of the prompt that was measured; None = the figures are a guess."""

    def of(self, n_messages: int) -> float:
        """Give what the template adds to a prompt of so many messages."""
        return self.fixed + self.per_message * n_messages

    def measured(self, n_messages: int, added_tokens: int) -> TemplateCost:
        """Learn from a prompt that the engine has counted; two of different length tell all."""
        seen = (n_messages, added_tokens)
        if self.seen is not None and self.seen[0] != n_messages:
            per_message = (added_tokens - self.seen[1]) / (n_messages - self.seen[0])
            fixed = added_tokens - per_message * n_messages
            if per_message >= 0 and fixed >= 0:
                return TemplateCost(per_message, fixed, seen)
        elif self.seen == seen:
            return self
        return TemplateCost(max(0.0, added_tokens / n_messages), 0.0, seen)

    def doubled(self) -> TemplateCost:
        """Guess more: a prompt that should have fitted did not."""
        return TemplateCost(2 * self.per_message + GUESSED_OVERHEAD, self.fixed)


@dataclass(frozen=True)
class Budget:
    """How much room there is."""

    n_ctx: int
    reserve_tokens: int
    """Kept free for the answer."""
    system_tokens: int = 0
    """Of the system message's text."""
    template: TemplateCost = TemplateCost()
    can_count: bool = True
    """False = the engine has no tokenizer to ask, so texts are estimated by their bytes."""

    @property
    def room(self) -> int:
        """Tokens that a prompt may have."""
        return self.n_ctx - self.reserve_tokens

    @property
    def words(self) -> str:
        """How exact a count is."""
        texts = (
            "texts counted by the model's tokenizer"
            if self.can_count
            else f"texts estimated at {BYTES_PER_TOKEN:g} bytes per token"
        )
        cost = self.template
        source = "guessed" if cost.seen is None else "measured in an earlier answer"
        return (
            f"{texts}; the template's part is {source}: {cost.per_message:.1f} tokens per message"
            f" and {cost.fixed:.1f} per prompt"
        )


def reserve(n_ctx: int, max_tokens: int, asked: int | None) -> int:
    """Say how much context an answer gets: what was asked for, at most half of it."""
    wanted = asked if asked is not None else max_tokens
    if wanted < 0:
        wanted = min(MAX_RESERVE, n_ctx // 4)
    return min(wanted, n_ctx // 2)


@dataclass(frozen=True)
class Turn:
    """A user's message and what follows it."""

    messages: tuple[Message, ...]

    @property
    def is_pinned(self) -> bool:
        """One of its messages is pinned."""
        return any(message.is_pinned for message in self.messages)


@dataclass(frozen=True)
class Fitted:
    """What a prompt takes of a branch."""

    kept: tuple[Message, ...]
    left_out: tuple[Message, ...]
    """Of the messages that `fit` was given."""
    counts: dict[str, int]
    """Tokens of the messages that were counted."""
    tokens: int
    """Of the prompt as counted, the template's part included."""


def sendable(branch: Sequence[Message]) -> list[Message]:
    """Leave away answers that failed or were stopped before they had a word."""
    return [
        message
        for message in branch
        if message.role is not Role.ASSISTANT or message.text or message.tool_calls
    ]


def turns_of(messages: Sequence[Message]) -> list[Turn]:
    """Split a branch into turns; what stands before the first user's message is one, too."""
    turns: list[list[Message]] = []
    for message in messages:
        if not turns or message.role is Role.USER:
            turns.append([])
        turns[-1].append(message)
    return [Turn(tuple(turn)) for turn in turns]


@dataclass
class _Filling:
    """A prompt that is filled."""

    budget: Budget
    count: CountTokens
    counts: dict[str, int] = field(default_factory=dict[str, int])
    used: float = 0.0

    async def add(self, turn: Turn, *, limit: float) -> bool:
        """Take a turn if it fits below `limit`; tells whether it did."""
        self.counts |= await self.count(turn.messages)
        per_message = self.budget.template.per_message
        tokens = sum(self.counts[message.id] + per_message for message in turn.messages)
        if self.used + tokens > limit:
            return False
        self.used += tokens
        return True


async def fit(
    branch: Sequence[Message],
    budget: Budget,
    count: CountTokens,
    policy: ChatPolicy = ChatPolicy.DROP_OLDEST,
    *,
    extra_tokens: int = 0,
    share: float = 1.0,
) -> Fitted:
    """Choose what a prompt contains.

    Args:
        branch: From the first message to the user's turn that is to be answered.
        budget: The room.
        count: Counts the messages it is given.
        policy: REFUSE = everything or an error.
        extra_tokens: Of what is sent besides, such as a summary.
        share: Part of the room that turns may fill which need not be there.

    Raises:
        ChatError: what must be there does not fit; code "context_length_exceeded".
    """
    turns = turns_of(sendable(branch))
    needed = [turn for turn in turns[:-1] if turn.is_pinned]
    filling = _Filling(budget, count)
    filling.used = budget.system_tokens + extra_tokens
    if budget.system_tokens or extra_tokens:
        filling.used += budget.template.per_message
    fixed = filling.used
    filling.used += budget.template.fixed
    for turn in (turns[-1], *needed):
        await filling.add(turn, limit=float("inf"))
    if filling.used > budget.room:
        raise _too_long(turns[-1], needed, filling, fixed)
    kept = {id(turns[-1]), *map(id, needed)}
    limit = max(filling.used, budget.room * share)
    for turn in reversed(turns[:-1]):
        if id(turn) in kept:
            continue
        if not await filling.add(turn, limit=limit):
            break
        kept.add(id(turn))
    left_out = [message for turn in turns if id(turn) not in kept for message in turn.messages]
    if left_out and policy is ChatPolicy.REFUSE:
        raise ChatError(
            f"This chat does not fit: {len(left_out)} of its messages are beyond the"
            f" {budget.room} tokens that n_ctx {budget.n_ctx} leaves beside"
            f" {budget.reserve_tokens} for the answer. Let the oldest be left out, or load the"
            " model with a larger n_ctx.",
            code="context_length_exceeded",
        )
    return Fitted(
        kept=tuple(m for turn in turns if id(turn) in kept for m in turn.messages),
        left_out=tuple(left_out),
        counts=filling.counts,
        tokens=round(filling.used),
    )


def _too_long(last: Turn, pinned: list[Turn], filling: _Filling, fixed: float) -> ChatError:
    def tokens(turns: Sequence[Turn]) -> int:
        return sum(filling.counts[m.id] for turn in turns for m in turn.messages)

    budget = filling.budget
    parts = [f"your message has {tokens([last])} tokens"]
    if pinned:
        parts.append(f"pinned turns {tokens(pinned)}")
    if fixed:
        parts.append(f"system message and summary {round(fixed)}")
    advice = "Unpin some, shorten it" if pinned else "Shorten it"
    return ChatError(
        f"The prompt does not fit: {', '.join(parts)}, and n_ctx {budget.n_ctx} leaves"
        f" {budget.room} beside {budget.reserve_tokens} for the answer. {advice}, or load the"
        " model with a larger n_ctx.",
        code="context_length_exceeded",
    )


def report(
    branch: Sequence[Message],
    fitted: Fitted,
    budget: Budget,
    known_counts: dict[str, int],
    summary: Message | None = None,
    note: str = "",
) -> ContextReport:
    """Say what a prompt contains and what not.

    Args:
        branch: The whole branch, also where `fit` was given a part of it.
        fitted: What `fit` gave.
        budget: As for `fit`.
        known_counts: Tokens of messages that were counted in earlier turns.
        summary: The summary that is sent.
        note: What else a reader has to know.
    """
    counts = {**known_counts, **fitted.counts}
    kept = {message.id for message in fitted.kept}
    summarised = covered(branch, summary)
    return ContextReport(
        n_ctx=budget.n_ctx,
        reserve_tokens=budget.reserve_tokens,
        counted_tokens=fitted.tokens,
        counting=budget.words,
        n_sent=len(fitted.kept),
        left_out=tuple(
            _left_out(run, counts, summarised) for run in _runs(branch, kept, summarised)
        ),
        pinned_ids=tuple(message.id for message in branch if message.is_pinned),
        summary_id=summary.id if summary else None,
        note=note,
    )


def covered(branch: Sequence[Message], summary: Message | None) -> set[str]:
    """Give the ids that a summary speaks for: from the root to its parent."""
    if summary is None:
        return set()
    ids = [message.id for message in branch]
    end = ids.index(summary.parent_id) if summary.parent_id in ids else -1
    return set(ids[: end + 1])


def _runs(branch: Sequence[Message], kept: set[str], summarised: set[str]) -> list[list[Message]]:
    """Group what was left out into neighbours that are alike."""
    left_out = {message.id for message in sendable(branch)} - kept
    runs: list[list[Message]] = []
    before: tuple[int, bool] | None = None
    for place, message in enumerate(branch):
        if message.id not in left_out:
            continue
        here = (place, message.id in summarised)
        if before is None or before != (place - 1, here[1]):
            runs.append([])
        runs[-1].append(message)
        before = here
    return runs


def _left_out(run: Sequence[Message], counts: dict[str, int], summarised: set[str]) -> LeftOut:
    counted = [message for message in run if message.id in counts]
    tokens = sum(counts[message.id] for message in counted)
    uncounted = sum(estimate(prompt_text(m)) for m in run if m.id not in counts)
    return LeftOut(
        first_id=run[0].id,
        last_id=run[-1].id,
        n_messages=len(run),
        tokens=tokens + uncounted,
        is_estimated=len(counted) < len(run),
        is_summarised=run[0].id in summarised,
    )


def estimate(text: str) -> int:
    """Guess the tokens of a text by its bytes."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)


def prompt_text(message: Message) -> str:
    """Return what of a message enters a prompt; thinking does not."""
    calls = "".join(call.name + call.arguments for call in message.tool_calls)
    return message.text + calls


def is_usable(summary: Message, branch_ids: set[str]) -> bool:
    """Tell whether a summary is about this branch."""
    return summary.state is MessageState.COMPLETE and summary.parent_id in branch_ids
