"""ChatService: answer in chats, one turn at a time in each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, contextmanager, suppress

from luci_tui.chat.journal import Journal
from luci_tui.chat.media import LoadedMedium
from luci_tui.chat.records import ChatSession, Message, Role
from luci_tui.chat.seams import Models, TurnOptions
from luci_tui.chat.store import ChatStore
from luci_tui.chat.store_thread import StoreThread
from luci_tui.chat.turn import Means, TurnRun
from luci_tui.chat.turn_events import TurnEvent
from luci_tui.errors import ChatError

ROOT = ""
"""As `parent_id`: the message begins the chat, as a sibling of its first message."""
MAX_CHARACTERS = 16 * 1024 * 1024
"""Longest text of one turn; no context holds more."""
CLOSE_TIMEOUT_S = 10.0
"""How long running turns get to be stored when the service is closed."""

_AS_THE_CHAT_SAYS = TurnOptions()


class ChatService:
    """Owns a chat store and answers in it; all methods belong to one event loop."""

    def __init__(self, store: StoreThread, models: Models, journal: Journal) -> None:
        """Take what the service works with.

        Args:
            store: The chats; the service closes it. `service.store.run(ChatStore.open, …)` reads
                and changes them.
            models: Lends the models that answer.
            journal: The session logs.
        """
        self.store = store
        self._journal = journal
        self._means = Means(store, models, journal)
        self._answering: dict[str, TurnRun | None] = {}
        """By chat; None = the turn is only about to begin."""

    @property
    def answering(self) -> tuple[str, ...]:
        """The chats in which an answer is being given."""
        return tuple(self._answering)

    async def send(
        self,
        chat_id: str,
        text: str,
        *,
        parent_id: str | None = None,
        options: TurnOptions = _AS_THE_CHAT_SAYS,
        media: Sequence[LoadedMedium] = (),
        media_of: str = "",
    ) -> AsyncGenerator[TurnEvent]:
        """Store a user's turn and stream the answer; closing the iterator cancels the answer.

        Args:
            chat_id: The chat.
            text: What the user says.
            parent_id: The message before it; None = the last one of the active branch, ROOT = none.
            options: What this turn wants otherwise than the chat says.
            media: Pictures and sounds that the message carries.
            media_of: A message whose pictures and sounds it carries, too; empty = none.

        Raises:
            ChatError: nothing was stored and the model was not asked: there is no such chat or
                message, the text is empty, the chat is answering already, the disk is full, ….
        """
        _check_text(text)
        with self._alone(chat_id):
            session = await self.store.run(ChatStore.session, chat_id)
            before = session.active_leaf_id if parent_id is None else parent_id or None
            if media_of:
                media = (*await self.store.run(ChatStore.media, chat_id, media_of), *media)
            user, reply = await self.store.run(
                ChatStore.begin_turn,
                chat_id,
                text,
                parent_id=before,
                model=_model(session, options),
                media=media,
            )
            async with aclosing(self._turn(session, user, reply, options)) as events:
                async for event in events:
                    yield event

    async def regenerate(
        self, chat_id: str, message_id: str, *, options: TurnOptions = _AS_THE_CHAT_SAYS
    ) -> AsyncGenerator[TurnEvent]:
        """Answer again, as a sibling of the reply `message_id`; see `send`.

        A user's message that has no answer may be named as well; it gets one.
        """
        with self._alone(chat_id):
            session = await self.store.run(ChatStore.session, chat_id)
            user = await self._asked_by(chat_id, message_id)
            reply = await self.store.run(
                ChatStore.begin_reply, chat_id, user.id, _model(session, options)
            )
            async with aclosing(self._turn(session, user, reply, options)) as events:
                async for event in events:
                    yield event

    async def edit(
        self, chat_id: str, message_id: str, text: str, *, options: TurnOptions = _AS_THE_CHAT_SAYS
    ) -> AsyncGenerator[TurnEvent]:
        """Send another text, with the same media, in place of the user's turn; see `send`."""
        old = await self.store.run(ChatStore.message, chat_id, message_id)
        if old.role is not Role.USER:
            raise ChatError(
                f"The message {message_id} is not the user's and cannot be edited. Regenerate it"
                " instead.",
                code="not_editable",
            )
        sending = self.send(
            chat_id, text, parent_id=old.parent_id or ROOT, options=options, media_of=old.id
        )
        async with aclosing(sending) as events:
            async for event in events:
                yield event

    async def delete(self, chat_id: str) -> None:
        """Remove a chat with its session log.

        Raises:
            ChatError: there is no such chat, or it is answering.
        """
        with self._alone(chat_id):
            await self.store.run(ChatStore.delete, chat_id)
            await self.store.call(lambda: self._journal.forget(chat_id))

    def stop(self, chat_id: str) -> None:
        """Stop the answer in a chat, if there is one; who iterates it gets a TurnFailed."""
        run = self._answering.get(chat_id)
        if run is not None:
            run.stop()

    async def close(self) -> None:
        """Stop the answers that are being given, keep their text, and close the store."""
        runs = [run for run in self._answering.values() if run is not None]
        for run in runs:
            run.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                for run in runs:
                    await run.stored.wait()
        await self.store.close()

    async def _turn(
        self, session: ChatSession, user: Message, reply: Message, options: TurnOptions
    ) -> AsyncGenerator[TurnEvent]:
        run = TurnRun(self._means, session, user, reply, options)
        self._answering[session.id] = run
        async with aclosing(run.events()) as events:
            async for event in events:
                yield event

    async def _asked_by(self, chat_id: str, message_id: str) -> Message:
        """Give the message that a reply answers."""
        message = await self.store.run(ChatStore.message, chat_id, message_id)
        if message.role is Role.USER:
            return message
        if message.role is Role.ASSISTANT and message.parent_id is not None:
            return await self.store.run(ChatStore.message, chat_id, message.parent_id)
        raise ChatError(
            f"The message {message_id} answers nothing and cannot be made again. Name an answer.",
            code="not_an_answer",
        )

    @contextmanager
    def _alone(self, chat_id: str) -> Generator[None]:
        """Keep a chat for one turn."""
        if chat_id in self._answering:
            raise ChatError(
                f"The chat {chat_id} is answering already. Wait for the end of that answer, or"
                " stop it.",
                code="chat_busy",
            )
        self._answering[chat_id] = None
        try:
            yield
        finally:
            del self._answering[chat_id]


def _model(session: ChatSession, options: TurnOptions) -> str:
    model = options.model or session.model
    if not model:
        raise ChatError(
            f"The chat {session.id} names no model. Give it one, or name one for this turn.",
            code="no_model",
        )
    return model


def _check_text(text: str) -> None:
    if not text.strip():
        msg = "The message is empty. Write something."
        raise ChatError(msg, code="empty_message")
    if len(text) > MAX_CHARACTERS:
        raise ChatError(
            f"The message has {len(text)} characters and {MAX_CHARACTERS} are the most. Shorten"
            " it.",
            code="message_too_long",
        )
