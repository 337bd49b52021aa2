"""One turn: lease the model, plan the prompt, stream the answer, store it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from luci_tui.chat.context import TemplateCost
from luci_tui.chat.counting import TokenCounter
from luci_tui.chat.decline import is_decline
from luci_tui.chat.doubt import doubtful_arguments
from luci_tui.chat.journal import Journal
from luci_tui.chat.media import LoadedMedium
from luci_tui.chat.naming import now_ms
from luci_tui.chat.plan import Plan, Planner
from luci_tui.chat.recorder import Recorder
from luci_tui.chat.records import ChatSession, Message, MessageState
from luci_tui.chat.seams import Lease, Models, TurnOptions, loading_event
from luci_tui.chat.store import ChatStore
from luci_tui.chat.store_thread import StoreThread
from luci_tui.chat.turn_events import (
    TurnDelta,
    TurnDone,
    TurnEvent,
    TurnFailed,
    TurnLoading,
    TurnPrompt,
    TurnStarted,
)
from luci_tui.chat.turn_queue import TurnQueue
from luci_tui.engine import frames
from luci_tui.errors import ChatError, EngineError, LuciError

MAX_PLANS = 5
"""Prompts that are tried when the engine counts more tokens than were foreseen."""

_log = logging.getLogger(__name__)


@dataclass
class Means:
    """What all turns of a service share."""

    store: StoreThread
    models: Models
    journal: Journal
    templates: dict[str, TemplateCost] = field(default_factory=dict[str, TemplateCost])
    """What is known about chat templates, by model."""


class TurnRun:
    """The answer to one user's turn, which is stored already."""

    def __init__(
        self,
        means: Means,
        session: ChatSession,
        user: Message,
        reply: Message,
        options: TurnOptions,
    ) -> None:
        self._means = means
        self._session = session
        self._user = user
        self._reply = reply
        self._options = options
        self._events = TurnQueue()
        self._recorder = Recorder(means.store, session.id, reply)
        self._started_s = time.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._is_ending = False
        """True = how the reply ends is decided; a stop comes too late to change it."""
        self.stored = asyncio.Event()
        """Set when the reply is stored as it ended, or cannot be."""

    def stop(self) -> None:
        """Cancel the turn for those who iterate it: they get a TurnFailed with code "cancelled"."""
        # A second one must not break off the end of the first: what came would not be stored.
        if self._task is not None and not self._is_ending:
            self._is_stopped = self._is_ending = True
            self._task.cancel()

    async def events(self) -> AsyncGenerator[TurnEvent]:
        """Stream the turn; closing the iterator cancels it and keeps the text that came."""
        self._task = task = asyncio.create_task(self._run())
        task.add_done_callback(self._wake_reader)
        try:
            while not (task.done() and self._events.empty()):
                if (event := await self._events.get()) is not None:
                    yield event
            await task
        finally:
            if not task.done():
                task.cancel()
                # The text is stored even if the one who closes is cancelled meanwhile.
                await asyncio.wait([task])

    async def _run(self) -> None:
        """Answer, store the end whatever it is, and report it."""
        try:
            end = await self._to_the_end()
        finally:
            self.stored.set()
        await self._events.put(end)

    def _wake_reader(self, _: object) -> None:
        """Let a reader that waits see that nothing follows, however the task ended."""
        # In a full queue there is something to read, and the reader does not wait.
        with suppress(asyncio.QueueFull):
            self._events.put_nowait(None)

    async def _to_the_end(self) -> TurnDone | TurnFailed:
        started = TurnStarted(
            chat_id=self._session.id,
            user_message_id=self._user.id,
            reply_id=self._reply.id,
            model=self._reply.model,
        )
        try:
            await self._events.put(started)
            await self._log_start(started)
            end = await self._answer()
        except LuciError as error:
            self._is_ending = True
            end = await self._fail(error.code, error.message)
        except asyncio.CancelledError:
            self._is_ending = True
            not_stored = await self._cancel()
            if not self._is_stopped:
                raise
            return TurnFailed(
                reply_id=self._reply.id,
                code="cancelled",
                message="The answer was stopped.",
                not_stored=not_stored,
            )
        except Exception:
            # A fault of luci itself; the reply must not look as if it still streamed.
            self._is_ending = True
            _log.exception("a turn failed")
            end = await self._fail("internal", "luci failed while it answered; its log says why.")
        self._is_ending = True
        await self._log_end(end)
        return end

    async def _answer(self) -> TurnDone:
        async with self._means.models.lease(
            self._reply.model, lambda progress: self._say(loading_event(progress))
        ) as lease:
            planner = await self._planner(lease)
            plan, done = await self._generate(lease, planner)
            await self._remember(planner.counter, lease)
        whole = self._recorder.whole
        report = plan.report.model_copy(update={"prompt_tokens": done.usage.prompt_tokens})
        is_cancelled = done.finish_reason is frames.FinishReason.CANCELLED
        message = self._ended(
            MessageState.CANCELLED if is_cancelled else MessageState.COMPLETE,
            model=lease.entry.name,
            asked_model=self._reply.model if lease.entry.name != self._reply.model else "",
            finish_reason=done.finish_reason,
            usage=done.usage,
            timings=done.timings,
            seed=done.seed,
            context=report,
            doubtful=self._doubtful(lease, whole.text),
        )
        return TurnDone(
            reply_id=self._reply.id,
            model=lease.entry.name,
            finish_reason=done.finish_reason,
            usage=done.usage,
            timings=done.timings,
            seed=done.seed,
            context=report,
            doubtful=message.doubtful,
            not_stored=await self._recorder.finish(message),
        )

    async def _planner(self, lease: Lease) -> Planner:
        store, chat_id = self._means.store, self._session.id
        known = await store.run(ChatStore.token_counts, chat_id, _tokenizer(lease))

        async def store_summary(summary: Message) -> None:
            # A summary that cannot be stored still serves this turn.
            with suppress(ChatError):
                await store.run(ChatStore.add_message, chat_id, summary)

        async def load_media(message_id: str) -> tuple[LoadedMedium, ...]:
            return await store.run(ChatStore.media, chat_id, message_id)

        return Planner(
            session=self._session,
            options=self._options,
            lease=lease,
            branch=await store.run(ChatStore.branch, chat_id, self._user.id),
            summaries=await store.run(ChatStore.summaries, chat_id),
            counter=TokenCounter(lease, known),
            load_media=load_media,
            store_summary=store_summary,
            say=self._say,
        )

    async def _generate(self, lease: Lease, planner: Planner) -> tuple[Plan, frames.Done]:
        """Send the prompt; one that is longer than foreseen is planned again with less in it."""
        templates, key = self._means.templates, _tokenizer(lease)
        cost = templates.get(key, TemplateCost())
        for attempt in range(MAX_PLANS):
            plan = await planner.plan(cost)
            try:
                done = await self._stream(lease, plan.request)
            except EngineError as error:
                is_last = attempt + 1 == MAX_PLANS or plan.report.n_sent == 1
                if error.code != "context_length_exceeded" or is_last:
                    raise
                cost = cost.doubled()
                continue
            if not (self._options.tools_json or done.usage.dropped_tokens or plan.has_media):
                added = done.usage.prompt_tokens - plan.text_tokens
                templates[key] = cost.measured(plan.n_messages, added)
            return plan, done
        raise AssertionError

    async def _stream(self, lease: Lease, request: frames.Generate) -> frames.Done:
        async with aclosing(lease.engine.generate(request)) as events:
            async for event in events:
                match event:
                    case frames.PromptProgress():
                        put = TurnPrompt(n_done=event.n_done, n_total=event.n_total)
                        await self._events.put(put)
                    case frames.Delta():
                        await self._take(event)
                    case frames.Done():
                        return event
        msg = "The engine ended the answer without saying why; it may be incomplete. Try again."
        raise EngineError(msg, code="no_end")

    async def _take(self, delta: frames.Delta) -> None:
        if delta.text or delta.reasoning or delta.tool_calls:
            self._recorder.add(delta)
            await self._events.put(
                TurnDelta(text=delta.text, reasoning=delta.reasoning, tool_calls=delta.tool_calls)
            )

    async def _remember(self, counter: TokenCounter, lease: Lease) -> None:
        if not counter.counted:
            return
        # Counts are only a convenience; the reply itself says whether the store works.
        with suppress(ChatError):
            await self._means.store.run(
                ChatStore.remember_counts, self._session.id, _tokenizer(lease), counter.counted
            )

    def _doubtful(self, lease: Lease, text: str) -> tuple[str, ...]:
        if not lease.entry.answers_with_command or is_decline(text):
            return ()
        return doubtful_arguments(self._user.text, text)

    def _ended(self, state: MessageState, **fields: object) -> Message:
        whole = self._recorder.whole
        return self._reply.model_copy(
            update={
                "state": state,
                "text": whole.text,
                "reasoning": whole.reasoning,
                "tool_calls": whole.tool_calls,
                "finished_ms": now_ms(),
                **fields,
            }
        )

    async def _fail(self, code: str, sentence: str) -> TurnFailed:
        message = self._ended(MessageState.FAILED, failure_code=code, failure=sentence)
        return TurnFailed(
            reply_id=self._reply.id,
            code=code,
            message=sentence,
            not_stored=await self._recorder.finish(message),
        )

    async def _cancel(self) -> str:
        """Store what came; gives why it could not be stored, as Recorder.finish."""
        message = self._ended(MessageState.CANCELLED, finish_reason=frames.FinishReason.CANCELLED)
        not_stored = await self._recorder.finish(message)
        if not_stored:
            _log.warning("a cancelled answer could not be stored: %s", not_stored)
        elapsed_s = time.monotonic() - self._started_s
        journal, chat_id, reply_id = self._means.journal, self._session.id, self._reply.id
        await self._means.store.call(lambda: journal.cancelled(chat_id, reply_id, elapsed_s))
        return not_stored

    def _say(self, event: TurnLoading) -> None:
        # Progress that nobody reads in time is worth nothing later.
        with suppress(asyncio.QueueFull):
            self._events.put_nowait(event)

    async def _log_start(self, started: TurnStarted) -> None:
        journal, text = self._means.journal, self._user.text
        await self._means.store.call(lambda: journal.begun(started, text))

    async def _log_end(self, end: TurnDone | TurnFailed) -> None:
        elapsed_s = time.monotonic() - self._started_s
        journal, chat_id, text = self._means.journal, self._session.id, self._recorder.whole.text
        await self._means.store.call(lambda: journal.ended(chat_id, end, elapsed_s, text))


def _tokenizer(lease: Lease) -> str:
    """Name what decides how many tokens a text has."""
    return lease.info.model_path or lease.entry.name
