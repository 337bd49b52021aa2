"""A chat that belongs to the host: closing the screen, or losing it, ends nothing.

See `conversation.Conversation` for what each method means.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import assert_never

from luci_tui import paths
from luci_tui.chat.cost import RatesOf
from luci_tui.chat.records import OpenedChat, Role
from luci_tui.chat.rows import Pieces
from luci_tui.chat.turn_events import (
    TurnDelta,
    TurnDone,
    TurnFailed,
    TurnLoading,
    TurnPrompt,
    TurnStarted,
)
from luci_tui.errors import EngineError, HostError, LuciError, WorkerLostError
from luci_tui.host.api import messages
from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.host.run_files import run_files
from luci_tui.host.told import untold
from luci_tui.tui.attachments import sent_media
from luci_tui.tui.chat.keeping import HostKeeper
from luci_tui.tui.chat.showing import Showing
from luci_tui.tui.chat.shown import CallShown, Resumed
from luci_tui.tui.chat_settings import Beginning, ChatSettings
from luci_tui.tui.conversation import (
    AnswerBegun,
    AnswerEvent,
    CallsShown,
    LoadingShown,
    PromptShown,
    TextAdded,
)
from luci_tui.tui.draft import Attachment
from luci_tui.tui.host_settings import HostChatSettings

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
    start: Beginning = field(default_factory=Beginning)
    """What the chat begins with."""

    @property
    def keeper(self) -> HostKeeper | None:
        """Give the way to this chat; None = it has not begun."""
        return HostKeeper(self._reach, self.chat_id, self._showing) if self.chat_id else None

    @property
    def _showing(self) -> Showing:
        return Showing(self.rates_of, self.answers_with_command)

    def describe(self) -> str:
        """Return the model in one line."""
        if self.loaded is None or not self.loaded.n_ctx:
            return self.label
        return f"{self.label} · {self.loaded.description} · context {self.loaded.n_ctx}"

    async def load(self) -> AsyncGenerator[LoadingShown]:
        """Find or start the host and let it load the model."""
        client = await self._reach()
        await self._take_model_of_chat(client)
        if await self._is_ready(client):
            return
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
        """Give this chat; before it begins the one asked for, or one that is being answered."""
        client = await self._reach()
        turns = (await client.get("/luci/turns", messages.Turns)).turns
        running = {turn.chat_id: turn.turn_id for turn in turns if turn.is_running}
        opened = await self._chat_to_resume(HostChats(client), running)
        if opened is None:
            return None
        self.chat_id = opened.session.id
        self.turn_id = running.get(self.chat_id, "")
        shown = self._showing.chat(opened)
        if self.turn_id and opened.messages and opened.messages[-1].role is Role.ASSISTANT:
            # Its turn is followed from the first event, so its text comes from there.
            shown = shown[:-1]
        return Resumed(messages=shown, is_answering=bool(self.turn_id))

    async def answer(
        self,
        prompt: str,
        after: str | None = None,
        media: Sequence[Attachment] = (),
        media_of: str = "",
    ) -> AsyncGenerator[AnswerEvent]:
        """Send a prompt and stream the answer; closing the stream leaves the answer to the host."""
        if not self.chat_id:
            self.chat_id = await self._begin()
        turn = messages.StartTurn(
            text=prompt,
            parent_id=after,
            media=await asyncio.to_thread(sent_media, media) if media else (),
            media_of=media_of,
        )
        async with aclosing(self._turn(turn)) as events:
            async for event in events:
                yield event

    async def again(self, message_id: str) -> AsyncGenerator[AnswerEvent]:
        """Stream another answer; closing the stream leaves it to the host."""
        async with aclosing(self._turn(messages.StartTurn(regenerate=message_id))) as events:
            async for event in events:
                yield event

    async def _turn(self, turn: messages.StartTurn) -> AsyncGenerator[AnswerEvent]:
        client = await self._reach()
        self.turn_id = await client.start_turn(self.chat_id, turn)
        async with aclosing(self.follow()) as events:
            async for event in events:
                yield event

    async def follow(self) -> AsyncGenerator[AnswerEvent]:
        """Stream the answer that is being given, from its beginning."""
        client = await self._reach()
        calls = Pieces()
        async with aclosing(HostChats(client).read_turn(self.turn_id)) as events:
            async for turn in events:
                match turn:
                    case TurnStarted():
                        yield AnswerBegun(turn.user_message_id, turn.reply_id)
                    case TurnLoading():
                        yield PromptShown(0, 0)
                    case TurnPrompt():
                        yield PromptShown(turn.n_done, turn.n_total)
                    case TurnDelta():
                        yield TextAdded(turn.text, turn.reasoning)
                        if turn.tool_calls:
                            calls.add("", "", turn.tool_calls)
                            found = (CallShown(one.name, one.arguments) for one in calls.tool_calls)
                            yield CallsShown(tuple(found))
                    case TurnDone():
                        self.turn_id = ""
                        yield self._showing.done(turn)
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
        self.start = Beginning()

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

    @property
    def settings(self) -> ChatSettings:
        """Return what changes how the chat is asked."""
        return HostChatSettings(self)

    @property
    def n_ctx(self) -> int:
        """Return the tokens of context of the loaded model; 0 = not known."""
        return 0 if self.loaded is None else self.loaded.n_ctx

    def cannot_take(self, attachment: Attachment) -> str:
        """Say what the loaded model cannot be given of a file, in a word; empty = it may."""
        loaded = self.loaded
        if loaded is None:
            return ""
        return attachment.beyond(images=loaded.takes_images, audio=loaded.takes_audio)

    def begin_with(self, start: Beginning) -> None:
        """Say what the chat begins with that the next prompt begins."""
        self.start = start

    def from_here(self) -> Beginning:
        """Give what another chat begins with that shall go on from where this one is."""
        return Beginning(after_chat=self.chat_id) if self.chat_id else self.start

    async def put_away(self) -> None:
        """Take the chat out of the list of chats; it is kept."""
        if self.chat_id and self.client is not None:
            with suppress(LuciError):  # a host that is gone keeps it in the list
                await HostChats(self.client).update(self.chat_id, {"is_archived": True})

    async def _is_ready(self, client: HostClient) -> bool:
        """Take a model that is in memory already as it is; no job has to load it."""
        self.loaded = next(
            (one for one in (await client.models()).loaded if one.name == self.model), None
        )
        return self.loaded is not None and self.loaded.state == "ready" and not self.loaded.is_own

    async def _begin(self) -> str:
        """Make the chat in the host, and give its id."""
        chats, start = HostChats(await self._reach()), self.start
        fields: dict[str, object] = {"model": self.model}
        if start.system or start.parameters or not start.after_chat:
            fields |= {"system": start.system, "parameters": dict(start.parameters)}
        if not start.after_chat:
            return (await chats.create(fields)).id
        whole, _ = await chats.export(start.after_chat, "json")
        (copied,) = await chats.import_chats(whole)
        await chats.update(copied.session.id, fields)
        return copied.session.id

    async def reach(self) -> HostClient:
        """Give a client of a host that answers, starting one where the last is gone."""
        return await self._reach()

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

    async def _chat_to_resume(self, chats: HostChats, running: dict[str, str]) -> OpenedChat | None:
        if wanted := self.chat_id or self.resume_chat:
            return await chats.get(wanted)
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
