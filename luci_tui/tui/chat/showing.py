"""From the records of a chat to what the screen shows of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from luci_tui.chat.answer import decode_rate, truth_line
from luci_tui.chat.cost import RatesOf, cost_of, cost_words, spent_by
from luci_tui.chat.records import (
    ContextReport,
    LeftOut,
    Message,
    MessageState,
    OpenedChat,
    Role,
)
from luci_tui.chat.turn_events import TurnDone
from luci_tui.engine import frames
from luci_tui.tui.chat.shown import About, CallShown, LeftOutShown, PictureShown, Shown
from luci_tui.tui.conversation import AnswerDone
from luci_tui.units import format_count, format_duration, format_rate

_NOT_WHOLE = {
    MessageState.STREAMING: "this answer is still being given",
    MessageState.CANCELLED: "stopped by you; this is not the whole answer",
    MessageState.INTERRUPTED: "the host ended while this was said; it is not the whole answer",
}
_ENDINGS = {
    frames.FinishReason.STOP: "by itself",
    frames.FinishReason.LENGTH: "at its longest, or at the end of the context",
    frames.FinishReason.TOOL_CALLS: "to have tools called",
    frames.FinishReason.CANCELLED: "it was stopped",
}


class Facts(Protocol):
    """What a stored message and the end of a turn both know about an answer."""

    @property
    def model(self) -> str:
        """The model that answered."""
        ...

    @property
    def finish_reason(self) -> frames.FinishReason | None:
        """Why it ended."""
        ...

    @property
    def usage(self) -> frames.Usage | None:
        """Its tokens."""
        ...

    @property
    def timings(self) -> frames.Timings | None:
        """How long it took."""
        ...

    @property
    def seed(self) -> int | None:
        """What its samplers began with."""
        ...

    @property
    def context(self) -> ContextReport | None:
        """What its prompt contained."""
        ...


@dataclass(frozen=True)
class Showing:
    """How records are shown."""

    rates_of: RatesOf | None
    """For the estimate of what answers cost; None = none is shown."""
    answers_alone: bool
    """The model sees each prompt by itself, so nothing is ever left out."""

    def chat(self, opened: OpenedChat) -> tuple[Shown, ...]:
        """Show the active branch."""
        forks = {fork.message_id: tuple(fork.sibling_ids) for fork in opened.forks}
        return tuple(self._message(one, forks) for one in opened.messages)

    def done(self, turn: TurnDone) -> AnswerDone:
        """Show the end of an answer."""
        marks = [_doubt(argument) for argument in turn.doubtful]
        marks += self._left_out(turn)
        if turn.finish_reason is frames.FinishReason.LENGTH:
            marks.append("the answer met the end of the context; Ctrl-N starts a new chat")
        if turn.not_stored:
            marks.append(turn.not_stored)
        return AnswerDone(self._truth(turn), marks, partial(self._about, turn))

    def _message(self, message: Message, forks: Mapping[str, tuple[str, ...]]) -> Shown:
        marks = [_doubt(argument) for argument in message.doubtful]
        if message.role is not Role.USER:
            marks += self._left_out(message)
        if message.state in _NOT_WHOLE:
            marks.append(_NOT_WHOLE[message.state])
        if message.state is MessageState.FAILED:
            marks.append(f"the answer broke off here: {message.failure}")
        has_more = message.role is Role.ASSISTANT and bool(message.model or message.usage)
        return Shown(
            is_user=message.role is Role.USER,
            text=message.text,
            reasoning=message.reasoning,
            truth=self._truth(message),
            marks=tuple(marks),
            id=message.id,
            siblings=forks.get(message.id, ()),
            calls=tuple(CallShown(call.name, call.arguments) for call in message.tool_calls),
            answers_call=message.role is Role.TOOL,
            is_pinned=message.is_pinned,
            rating=message.rating,
            rating_note=message.rating_note,
            about=partial(self._about, message) if has_more else None,
            attached=tuple(one.words for one in message.media),
            pictures=tuple(
                PictureShown(place, one.width, one.height)
                for place, one in enumerate(message.media)
                if not one.is_audio
            ),
        )

    def _about(self, facts: Facts | Message) -> About:
        known = about(facts)
        return replace(known, left_out=()) if self.answers_alone else known

    def _left_out(self, facts: Facts) -> list[str]:
        marks: list[str] = []
        if facts.context is not None and facts.context.n_left_out and not self.answers_alone:
            n_left_out = format_count(facts.context.n_left_out, "earlier message")
            marks.append(f"{n_left_out} did not fit and were left out")
        if facts.usage is not None and facts.usage.dropped_tokens:
            marks.append(f"{facts.usage.dropped_tokens} tokens did not fit and were left out")
        return marks

    def _truth(self, facts: Facts) -> str:
        if facts.usage is None or facts.timings is None:
            return ""
        return truth_line(_end(facts, facts.usage, facts.timings), self._cost(facts))

    def _cost(self, facts: Facts) -> str:
        if self.rates_of is None or facts.usage is None or facts.timings is None:
            return ""
        spent = spent_by(facts.model, facts.usage, facts.timings)
        return cost_words(cost_of([spent], self.rates_of))


def about(facts: Facts | Message) -> About:
    """Tell all that is known about an answer."""
    lines = [("model", facts.model)]
    if isinstance(facts, Message):
        if facts.asked_model:
            lines.append(("asked for", f"{facts.asked_model}, in whose place it answered"))
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(facts.created_ms / 1000))
        lines.append(("begun", at))
    if facts.usage is not None:
        lines += _usage_lines(facts.usage)
    if facts.usage is not None and facts.timings is not None:
        lines += _speed_lines(facts, facts.usage, facts.timings)
    if facts.seed is not None:
        lines.append(("seed", str(facts.seed)))
    if facts.finish_reason is not None:
        lines.append(("ended", _ENDINGS[facts.finish_reason]))
    report = facts.context
    if report is None:
        return About(tuple(lines))
    sent = format_count(report.n_sent, "message")
    lines.append(("prompt", f"{sent} of this chat, {report.reserve_tokens} tokens kept free"))
    lines += [("counting", report.counting)] if report.counting else []
    lines += [("note", report.note)] if report.note else []
    return About(tuple(lines), tuple(_run(run) for run in report.left_out))


def _usage_lines(usage: frames.Usage) -> list[tuple[str, str]]:
    used = usage.prompt_tokens + usage.completion_tokens
    cached = f", {usage.cached_tokens} taken from the cache" if usage.cached_tokens else ""
    lines = [
        ("context", f"{used} of {usage.n_ctx} tokens"),
        ("tokens", f"prompt {usage.prompt_tokens}{cached}; answer {usage.completion_tokens}"),
    ]
    if usage.drafted_tokens:
        lines.append(("drafted", f"{usage.drafted_tokens}, of which {usage.accepted_tokens} held"))
    return lines


def _speed_lines(
    facts: Facts, usage: frames.Usage, timings: frames.Timings
) -> list[tuple[str, str]]:
    parts: list[str] = []
    n_computed = usage.prompt_tokens - usage.cached_tokens
    if n_computed > 0 and timings.prefill_ms > 0:
        parts.append(f"prompt {format_rate(n_computed / timings.prefill_ms * 1000)}")
    if rate := decode_rate(_end(facts, usage, timings)):
        parts.append(f"answer {format_rate(rate)}")
    parts.append(f"first token after {format_duration(timings.ttft_ms / 1000)}")
    return [("speed", ", ".join(parts))]


def _run(run: LeftOut) -> LeftOutShown:
    near = "about " if run.is_estimated else ""
    instead = "; the summary speaks for them" if run.is_summarised else ""
    words = f"{format_count(run.n_messages, 'message')}, {near}{run.tokens} tokens{instead}"
    return LeftOutShown(run.first_id, run.last_id, words)


def _end(facts: Facts, usage: frames.Usage, timings: frames.Timings) -> frames.Done:
    return frames.Done(
        request_id=0,
        finish_reason=facts.finish_reason or frames.FinishReason.STOP,
        usage=usage,
        timings=timings,
        seed=facts.seed or 0,
    )


def _doubt(argument: str) -> str:
    return f"doubtful: '{argument}' is not in your request"
