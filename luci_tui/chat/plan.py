"""Plan one prompt: count, fit, summarise if asked for, and say what was left out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from luci_tui.chat import context, prompt
from luci_tui.chat.counting import TokenCounter
from luci_tui.chat.media import (
    GUESSED_TOKENS,
    MAX_PROMPT_BYTES,
    MAX_PROMPT_MEDIA,
    LoadedMedium,
    takes,
)
from luci_tui.chat.records import ChatPolicy, ChatSession, ContextReport, Message
from luci_tui.chat.seams import Lease, TurnOptions
from luci_tui.chat.summary import summarise, summary_tokens
from luci_tui.chat.turn_events import TurnLoading
from luci_tui.engine import frames
from luci_tui.errors import ChatError, EngineError
from luci_tui.units import format_count

FOLDED_SHARE = 0.5
"""A summary is made for so much that the turns that stay fill this part of the room; the next one
is then due after many turns and not after one."""

LoadMedia = Callable[[str], Awaitable[tuple[LoadedMedium, ...]]]
"""Message id -> its pictures and sounds."""
StoreSummary = Callable[[Message], Awaitable[None]]
Say = Callable[[TurnLoading], None]


@dataclass(frozen=True)
class Plan:
    """A prompt that is ready to be sent."""

    request: frames.Generate
    report: ContextReport
    n_messages: int
    """Messages in the prompt, the system message included."""
    text_tokens: int
    """Tokens of their texts."""
    has_media: bool = False
    """It holds pictures or sounds, whose tokens are a guess."""


@dataclass
class Planner:
    """Plans the prompts of one turn; a second one when the first did not fit after all."""

    session: ChatSession
    options: TurnOptions
    lease: Lease
    branch: Sequence[Message]
    """From the first message to the user's turn that is to be answered."""
    summaries: Sequence[Message]
    """All of the chat."""
    counter: TokenCounter
    load_media: LoadMedia
    store_summary: StoreSummary
    say: Say

    async def plan(self, template: context.TemplateCost) -> Plan:
        """Plan the prompt.

        Raises:
            ChatError: what must be sent does not fit; code "context_length_exceeded".
        """
        alone = prompt.answers_alone(self.lease)
        parameters = prompt.effective(self.session, self.options)
        budget = await self._budget(template)
        branch = self.branch[-1:] if alone else self.branch
        note, summary = alone, None
        policy = ChatPolicy.REFUSE if alone else parameters.policy
        if policy is ChatPolicy.SUMMARISE:
            try:
                summary = await self._summary(budget)
            except EngineError as error:
                note = f"There is no new summary: {error.message}"
                summary = self._last_summary()
        extra = await self.counter.text(summary.text) if summary else 0
        fitted = await context.fit(
            self._rest(branch, summary), budget, self.counter.messages, policy, extra_tokens=extra
        )
        report = context.report(self.branch, fitted, budget, self.counter.known, summary, note)
        media = await self._media(fitted.kept)
        request = prompt.request_of(
            self.session, self.options, self.lease, fitted.kept, summary, media
        )
        has_system = bool(prompt.system_text(self.session, self.lease, summary))
        texts = sum(fitted.counts[message.id] for message in fitted.kept)
        return Plan(
            request=request,
            report=report.model_copy(
                update={"counting": self._counting(report.counting, has_media=bool(media))}
            ),
            n_messages=len(fitted.kept) + has_system,
            text_tokens=texts + budget.system_tokens + extra,
            has_media=bool(media),
        )

    def _counting(self, words: str, *, has_media: bool) -> str:
        if self.options.tools_json:
            words = f"{words}; the tools were not counted before"
        if has_media:
            words = f"{words}; each picture or sound is taken to have {GUESSED_TOKENS} tokens"
        return words

    async def _media(self, kept: Sequence[Message]) -> dict[str, prompt.Given]:
        """Say what the model is given of pictures and sounds, by message: the newest first.

        What the question itself carries is always given, so that an engine that cannot take it
        says so. What an earlier message carries is named instead where it cannot be given.
        """
        found: dict[str, prompt.Given] = {}
        n_bytes = n_media = 0
        for message in reversed(kept):
            if not message.media:
                continue
            parts: list[dict[str, object]] = []
            names = [medium.words for medium in message.media]
            for one in await self.load_media(message.id):
                is_asked = message is kept[-1] or takes(self.lease.info, one.medium)
                n_media += 1
                n_bytes += len(one.content)
                if is_asked and n_bytes <= MAX_PROMPT_BYTES and n_media <= MAX_PROMPT_MEDIA:
                    parts.append(one.part)
                    names.remove(one.medium.words)
            found[message.id] = prompt.Given(tuple(parts), tuple(names))
        return found

    async def _budget(self, template: context.TemplateCost) -> context.Budget:
        parameters = prompt.effective(self.session, self.options)
        n_ctx = self.lease.info.n_ctx
        if not n_ctx:
            name = self.lease.entry.name
            raise ChatError(
                f"The server of {name} does not say how much context it has, so no chat can be"
                " fitted into it. Write `load = { n_ctx = … }` into its entry in models.toml.",
                code="n_ctx_unknown",
            )
        system_tokens = await self.counter.text(prompt.system_text(self.session, self.lease))
        return context.Budget(
            n_ctx=n_ctx,
            reserve_tokens=context.reserve(n_ctx, parameters.max_tokens, parameters.reserve_tokens),
            system_tokens=system_tokens,
            template=template,
            can_count=self.counter.can_count,
        )

    def _last_summary(self) -> Message | None:
        """Give the summary that covers most of this branch."""
        places = {message.id: place for place, message in enumerate(self.branch)}
        usable = [one for one in self.summaries if context.is_usable(one, set(places))]
        return max(usable, key=lambda one: places[str(one.parent_id)], default=None)

    def _rest(self, branch: Sequence[Message], summary: Message | None) -> list[Message]:
        """Give what a summary does not speak for, and the pinned turns that it does."""
        covered = context.covered(branch, summary)
        return [
            message
            for turn in context.turns_of(branch)
            for message in turn.messages
            if turn.is_pinned or message.id not in covered
        ]

    async def _summary(self, budget: context.Budget) -> Message | None:
        """Give the summary to send, a new one if more must be left out than it covers."""
        summary = self._last_summary()
        extra = await self.counter.text(summary.text) if summary else 0
        rest = self._rest(self.branch, summary)
        count = self.counter.messages
        if not (await context.fit(rest, budget, count, extra_tokens=extra)).left_out:
            return summary
        extra = max(extra, summary_tokens(budget.n_ctx))
        try:
            fitted = await context.fit(rest, budget, count, extra_tokens=extra, share=FOLDED_SHARE)
        except ChatError:
            # With a summary beside them the last turn and the pinned ones would not fit.
            return None
        folded = fitted.left_out
        words = format_count(len(folded), "message")
        self.say(TurnLoading(words=f"summarising {words} that no longer fit"))
        summary = await summarise(self.lease, self.counter, summary, folded)
        await self.store_summary(summary)
        self.summaries = (*self.summaries, summary)
        return summary
