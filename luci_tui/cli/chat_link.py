"""How the commands reach the chats, and what they print of a turn."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from luci_tui.cli.host_link import host_client, narrate_once
from luci_tui.cli.output import ModelText, Progress, Thoughts, narrate
from luci_tui.errors import ChatError, EngineError
from luci_tui.units import format_count, format_rate

if TYPE_CHECKING:
    from luci_tui.chat.turn_events import TurnDone, TurnEvent
    from luci_tui.host.chat_backend import ChatBackend
    from luci_tui.host.wiring import EngineKind


@asynccontextmanager
async def open_chats(kind: EngineKind) -> AsyncGenerator[ChatBackend]:
    """Give the host's chats for the time of one command.

    Raises:
        LuciError: there is no host to be had.
    """
    from luci_tui.host.chat_client import HostChats

    async with host_client(kind) as client:
        yield HostChats(client)
        # What the host met when it opened the chats is known once they were used.
        narrate_once((await client.status()).notices, "luci: ")


@dataclass
class Shown:
    """What a turn has brought."""

    reply_id: str = ""
    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    done: TurnDone | None = None


class TurnSink:
    """Shows a turn: text on stdout, the rest on stderr if that is a terminal."""

    def __init__(self, *, is_json: bool = False) -> None:
        self._progress = Progress()
        self._text = None if is_json else ModelText()
        self._thoughts = Thoughts()
        self.shown = Shown()

    async def read(self, events: AsyncGenerator[TurnEvent]) -> Shown:
        """Show a turn to its end.

        Raises:
            EngineError, ChatError: the turn failed; what came was shown.
        """
        try:
            async with aclosing(events) as turn:
                async for event in turn:
                    self._show(event)
        finally:
            self._end()
        if self.shown.done is None:
            msg = "The answer ended without saying why; it may be incomplete. Try again."
            raise EngineError(msg)
        return self.shown

    def _show(self, event: TurnEvent) -> None:
        match event.kind:
            case "turn_started":
                self.shown.reply_id = event.reply_id
            case "turn_loading":
                part = f" {event.fraction:.0%}" if event.fraction is not None else ""
                self._progress.show(f"{event.words}{part}")
            case "turn_prompt":
                self._progress.show(f"reading the prompt {event.n_done}/{event.n_total} tokens")
            case "turn_delta":
                self._progress.clear()
                self.shown.text.append(event.text)
                self.shown.reasoning.append(event.reasoning)
                self._thoughts.write(event.reasoning)
                if event.text and self._text:
                    self._thoughts.end()
                    self._text.write(event.text)
            case "turn_done":
                self.shown.done = event
            case "turn_failed":
                self._end()
                if event.not_stored:
                    narrate(f"luci: {event.not_stored}")
                raise ChatError(event.message, code=event.code)

    def _end(self) -> None:
        self._progress.clear()
        self._thoughts.end()
        if self._text:
            self._text.end()


def tell_about(done: TurnDone) -> None:
    """Say on stderr what a person must know about an answer, and on a terminal what it cost."""
    for argument in done.doubtful:
        narrate(f"doubtful: '{argument}' is not in your request")
    if done.not_stored:
        narrate(f"luci: {done.not_stored}")
    context = done.context
    # The built-in model never gets more than the request, which is no loss worth a line each time.
    if context.n_left_out and not context.note.endswith("no earlier message was sent."):
        left_out = format_count(context.n_left_out, "earlier message")
        by_summary = ", a summary stands for them" if context.summary_id else ""
        narrate(
            f"luci: {left_out} ({context.left_out_tokens} tokens) did not fit into the context and"
            f" were left out{by_summary}."
        )
    if context.note and sys.stderr.isatty():
        narrate(f"luci: {context.note}")
    if sys.stderr.isatty():
        narrate(truth_line(done, _cost(done)))


def _cost(done: TurnDone) -> str:
    """Say what an answer is estimated to have cost; "" = nothing is known."""
    from luci_tui.chat.cost import cost_of, cost_words, spent_by
    from luci_tui.host.rates import load_rates

    spent = spent_by(done.model, done.usage, done.timings)
    return cost_words(cost_of([spent], load_rates()))


def truth_line(done: TurnDone, cost: str = "") -> str:
    """Say in one line what an answer cost; `cost` is the estimate of it in words."""
    usage, timings = done.usage, done.timings
    parts = [done.model, f"context {usage.prompt_tokens + usage.completion_tokens}/{usage.n_ctx}"]
    if usage.completion_tokens > 1 and timings.decode_ms > 0:
        parts.append(format_rate((usage.completion_tokens - 1) / timings.decode_ms * 1000))
    parts.append(f"TTFT {timings.ttft_ms:.0f} ms")
    if cost:
        parts.append(cost)
    return " · ".join(parts)


def answer_as_json(chat_id: str, shown: Shown) -> dict[str, object]:
    """Give an answer as one JSON object."""
    done = shown.done
    return {
        "chat": chat_id,
        "reply": shown.reply_id,
        "text": "".join(shown.text),
        "reasoning": "".join(shown.reasoning),
        **(done.model_dump(mode="json", exclude={"kind", "reply_id"}) if done else {}),
    }
