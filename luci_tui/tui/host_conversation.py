"""A chat that belongs to the host: closing the screen, or losing it, ends nothing.

See `conversation.Conversation` for what each method means.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import assert_never
from urllib.parse import quote

from luci_tui import paths
from luci_tui.chat.answer import truth_line
from luci_tui.chat.cost import RatesOf, cost_of, cost_words, spent_by
from luci_tui.chat.records import Message, MessageState, OpenedChat, Role
from luci_tui.chat.turn_events import (
    TurnDelta,
    TurnDone,
    TurnFailed,
    TurnLoading,
    TurnPrompt,
    TurnStarted,
)
from luci_tui.engine import frames
from luci_tui.errors import EngineError, HostError, LuciError, WorkerLostError
from luci_tui.host.api import messages
from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.host.run_files import run_files
from luci_tui.host.told import untold
from luci_tui.tui.conversation import (
    AnswerDone,
    AnswerEvent,
    LoadingShown,
    PromptShown,
    Resumed,
    Shown,
    TextAdded,
)

STOP_S = 5.0
"""How long the host may take to end an answer before the screen goes on without waiting."""
_LOST = frozenset({"worker_lost", "crash_loop", "not_loaded"})
"""Codes of turns that failed because there is no worker any more."""

FindHost = Callable[[], Awaitable[HostClient]]


@dataclass
class HostConversation:
    """One chat in the host; the chat begins with the first prompt."""

    find_host: FindHost
    model: str
    """The name of the model, or an absolute path."""
    label: str
    """What a person calls it."""
    answers_with_command: bool = False
    resume_chat: str | None = None
    """A chat to go on with, or the beginning of its id; "" = the one that was used last;
    None = only one in which the host is answering with this model."""
    rates_of: RatesOf | None = None
    """For the estimate of what answers cost; None = none is shown."""
    client: HostClient | None = None
    chat_id: str = ""
    turn_id: str = ""
    """The answer that is being given; empty = none."""
    notices: list[str] = field(default_factory=list[str])
    """What the person may not know yet; `news` gives what nobody was told."""
    loaded: messages.ModelStatus | None = None
    """What answers; None = nothing yet."""

    def describe(self) -> str:
        """Return the model in one line."""
        if self.loaded is None or not self.loaded.n_ctx:
            return self.label
        return f"{self.label} · {self.loaded.description} · context {self.loaded.n_ctx}"

    async def load(self) -> AsyncGenerator[LoadingShown]:
        """Find or start the host and let it load the model."""
        client = await self._reach()
        await self._take_model_of_chat(client)
        job = await client.load_model(self.model)
        async with aclosing(client.job_events(job.id)) as events:
            async for event in events:
                match event:
                    case messages.Progress():
                        yield LoadingShown(event.n_done / event.n_total if event.n_total else 0.0)
                    case messages.JobChanged() if event.job.error is not None:
                        raise messages.to_error(event.job.error)
                    case messages.JobChanged() if event.job.state is messages.JobState.DONE:
                        name = str((event.job.result or {}).get("name", ""))
                        loaded = (await client.models()).loaded
                        self.loaded = next((one for one in loaded if one.name == name), None)
                        return
                    case _:
                        pass
        msg = "Loading the model ended without an answer."
        raise EngineError(msg)

    async def _take_model_of_chat(self, client: HostClient) -> None:
        """Use the model of the chat that is gone on with, unless another one was asked for."""
        if self.resume_chat is None or self.chat_id or not self.answers_with_command:
            return
        opened = await self._chat_to_resume(HostChats(client), {})
        if opened is not None and opened.session.model not in ("", self.model):
            self.model = opened.session.model
            self.label = self.model.rpartition("/")[2]
            self.answers_with_command = False

    async def resume(self) -> Resumed | None:
        """Give the chat that was asked for, or one in which an answer is being given."""
        client = await self._reach()
        turns = (await client.get("/luci/turns", messages.Turns)).turns
        running = {turn.chat_id: turn.turn_id for turn in turns if turn.is_running}
        opened = await self._chat_to_resume(HostChats(client), running)
        if opened is None:
            return None
        self.chat_id = opened.session.id
        self.turn_id = running.get(self.chat_id, "")
        shown = list(opened.messages)
        if self.turn_id and shown and shown[-1].role is Role.ASSISTANT:
            # Its turn is followed from the first event, so its text comes from there.
            shown.pop()
        return Resumed(
            messages=tuple(self._shown(one) for one in shown), is_answering=bool(self.turn_id)
        )

    async def answer(self, prompt: str) -> AsyncGenerator[AnswerEvent]:
        """Send a prompt and stream the answer; closing the stream leaves the answer to the host."""
        client = await self._reach()
        if not self.chat_id:
            self.chat_id = (await HostChats(client).create({"model": self.model})).id
        path = f"/luci/chats/{quote(self.chat_id)}/turns"
        turn = messages.StartTurn(text=prompt)
        self.turn_id = (await client.post(path, turn, messages.TurnOpened)).turn_id
        async with aclosing(self.follow()) as events:
            async for event in events:
                yield event

    async def follow(self) -> AsyncGenerator[AnswerEvent]:
        """Stream the answer that is being given, from its beginning."""
        client = await self._reach()
        async with aclosing(HostChats(client).read_turn(self.turn_id)) as events:
            async for turn in events:
                match turn:
                    case TurnStarted():
                        pass
                    case TurnLoading():
                        yield PromptShown(0, 0)
                    case TurnPrompt():
                        yield PromptShown(turn.n_done, turn.n_total)
                    case TurnDelta():
                        yield TextAdded(turn.text, turn.reasoning)
                    case TurnDone():
                        self.turn_id = ""
                        yield AnswerDone(self._truth(turn), self._marks(turn))
                        return
                    case TurnFailed():
                        self.turn_id = ""
                        raise _failure(turn)
                    case _:
                        assert_never(turn)
        self.turn_id = ""
        msg = "The host ended the answer without saying why; it may be incomplete."
        raise EngineError(msg)

    async def stop(self) -> None:
        """End the answer in the host."""
        turn_id, self.turn_id = self.turn_id, ""
        if not turn_id or self.client is None:
            return
        try:
            async with asyncio.timeout(STOP_S):
                await self.client.cancel_turn(turn_id)
        except (LuciError, TimeoutError):
            # A host that is gone answers nothing any more, and one that hangs is told of next.
            return

    def forget(self) -> None:
        """Begin another chat with the next prompt; this one stays in the host."""
        self.chat_id = ""

    async def news(self) -> list[str]:
        """Give what neither a screen nor a command has told since the host started."""
        notices, self.notices = self.notices, []
        if self.client is not None:
            with suppress(HostError):  # a host that is gone is told of when it is needed
                notices += (await self.client.status()).notices
        return await asyncio.to_thread(untold, run_files(paths.luci_home()), notices)

    def farewell(self) -> str:
        """Say how to come back to the chat."""
        if not self.chat_id:
            return ""
        going_on = "The answer goes on in the host. " if self.turn_id else ""
        return f"{going_on}`luci --resume {self.chat_id}` opens this chat again."

    async def close(self) -> None:
        """Close the connections; the host goes on."""
        if self.client is not None:
            await self.client.close()
            self.client = None

    async def _reach(self) -> HostClient:
        """Give a client of a host that answers, starting one where the last is gone."""
        if self.client is not None:
            try:
                await self.client.hello()
            except HostError:
                await self.close()
        if self.client is None:
            self.client = await self.find_host()
            self.notices += self.client.notices
        return self.client

    def _marks(self, done: TurnDone) -> list[str]:
        marks = [f"doubtful: '{argument}' is not in your request" for argument in done.doubtful]
        if done.context.n_left_out and not self.answers_with_command:
            marks.append(
                f"{done.context.n_left_out} earlier messages did not fit and were left out"
            )
        if done.usage.dropped_tokens:
            marks.append(f"{done.usage.dropped_tokens} tokens did not fit and were left out")
        if done.finish_reason is frames.FinishReason.LENGTH:
            marks.append("the answer met the end of the context; Ctrl-N starts a new chat")
        if done.not_stored:
            marks.append(done.not_stored)
        return marks

    def _shown(self, message: Message) -> Shown:
        if message.role is Role.USER:
            return Shown(is_user=True, text=message.text)
        marks = [f"doubtful: '{argument}' is not in your request" for argument in message.doubtful]
        if message.state is not MessageState.COMPLETE:
            marks.append(f"this is not the whole answer ({message.state.value})")
        truth = ""
        if message.usage is not None and message.timings is not None:
            done = frames.Done(
                request_id=0,
                finish_reason=message.finish_reason or frames.FinishReason.STOP,
                usage=message.usage,
                timings=message.timings,
            )
            truth = truth_line(done, self._cost(message.model, done))
        return Shown(
            is_user=False,
            text=message.text,
            reasoning=message.reasoning,
            truth=truth,
            marks=tuple(marks),
        )

    def _truth(self, turn: TurnDone) -> str:
        done = frames.Done(
            request_id=0,
            finish_reason=turn.finish_reason,
            usage=turn.usage,
            timings=turn.timings,
            seed=turn.seed,
        )
        return truth_line(done, self._cost(turn.model, done))

    def _cost(self, model: str, done: frames.Done) -> str:
        if self.rates_of is None:
            return ""
        spent = spent_by(model, done.usage, done.timings)
        return cost_words(cost_of([spent], self.rates_of))

    async def _chat_to_resume(self, chats: HostChats, running: dict[str, str]) -> OpenedChat | None:
        if self.resume_chat:
            return await chats.get(self.resume_chat)
        if self.resume_chat == "":
            rows = await chats.list(limit=1, archived=False)
            return await chats.get(rows[0].session.id) if rows else None
        for chat_id in running:
            opened = await chats.get(chat_id)
            if opened.session.model == self.model:
                return opened
        return None


def _failure(failed: TurnFailed) -> LuciError:
    kind = WorkerLostError if failed.code in _LOST else EngineError
    return kind(failed.message, code=failed.code)
