"""ChatStore: the chats on disk. All calls block and belong to the thread that made the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from luci_tui.chat import rows
from luci_tui.chat.database import Database, end_streams
from luci_tui.chat.media import LoadedMedium, StoredMedium
from luci_tui.chat.naming import automatic_title, clean, new_id, now_ms, tidy_title
from luci_tui.chat.reader import ChatReader
from luci_tui.chat.records import ChatSession, Message, MessageState, Parameters, Role
from luci_tui.engine import frames
from luci_tui.errors import ChatError


class ChatStore(ChatReader):
    """One file of chats, held by this object alone while it is open."""

    def __init__(
        self, path: Path, *, max_bytes: int | None = None, clock: Callable[[], int] = now_ms
    ) -> None:
        """Open the file, make it if there is none, and put in order what a crash left.

        A damaged file is kept aside and what can be read of it is carried over; `notice` says so.

        Args:
            path: The file; its folder is made if needed.
            max_bytes: Largest size of the file; None = what the disk holds.
            clock: Milliseconds since 1970.

        Raises:
            ChatError: the file cannot be opened, is held by another luci or is of a newer one.
        """
        super().__init__(Database(path, max_bytes))
        self._clock = clock

    # Chats.

    def create(
        self,
        *,
        title: str = "",
        model: str = "",
        system: str = "",
        parameters: Parameters | None = None,
    ) -> ChatSession:
        """Make an empty chat."""
        now = self._clock()
        session = ChatSession(
            id=new_id(10),
            title=tidy_title(title),
            is_title_set=bool(tidy_title(title)),
            model=model,
            system=clean(system),
            parameters=parameters or Parameters(),
            created_ms=now,
            updated_ms=now,
        )
        with self._base.write("a chat"):
            self._base.connection.execute(rows.INSERT_CHAT, rows.row_of_session(session))
        return session

    def update(
        self,
        chat_id: str,
        *,
        title: str | None = None,
        model: str | None = None,
        system: str | None = None,
        parameters: Parameters | None = None,
        is_archived: bool | None = None,
    ) -> ChatSession:
        """Change what is given and return the chat.

        An empty title makes it the first words of the first prompt again.
        """
        changes: dict[str, object] = {"updated_ms": self._clock()}
        if title is not None:
            changes["title"] = tidy_title(title) or self._first_words(chat_id)
            changes["is_title_set"] = bool(tidy_title(title))
        if model is not None:
            changes["model"] = model
        if system is not None:
            changes["system"] = clean(system)
        if parameters is not None:
            changes["parameters"] = parameters
        if is_archived is not None:
            changes["is_archived"] = is_archived
        session = self.session(chat_id).model_copy(update=changes)
        self._set_session(session)
        return session

    def delete(self, chat_id: str) -> None:
        """Remove a chat with all its messages."""
        self.session(chat_id)
        with self._base.write("the removal of a chat"):
            self._base.connection.execute("DELETE FROM chats WHERE id = ?", (chat_id,))

    def add(
        self,
        session: ChatSession,
        messages: Sequence[Message],
        media: Sequence[StoredMedium] = (),
    ) -> ChatSession:
        """Store a whole chat; it gets another id if its own is taken.

        Args:
            session: As it is to be stored.
            messages: Each behind its parent.
            media: What their pictures and sounds hold.
        """
        taken = self._base.one("SELECT 1 FROM chats WHERE id = ?", (session.id,))
        if taken is not None:
            session = session.model_copy(update={"id": new_id(10)})
        with self._base.write("a chat"):
            self._base.connection.execute(rows.INSERT_CHAT, rows.row_of_session(session))
            self._insert(session.id, messages)
            for one in media:
                self._insert_media(session.id, {one.message_id: [(one.place, one.content)]})
        return session

    # The tree.

    def select(self, chat_id: str, message_id: str) -> ChatSession:
        """Make the newest branch through a message the active one."""
        leaf = self.message(chat_id, message_id).id
        child = (leaf,)
        while child is not None:
            leaf = child[0]
            child = self._base.one(
                "SELECT id FROM messages WHERE chat_id = ? AND parent_id = ? AND kind = 'text'"
                " ORDER BY n DESC LIMIT 1",
                (chat_id, leaf),
            )
        session = self.session(chat_id).model_copy(update={"active_leaf_id": leaf})
        self._set_session(session)
        return session

    # Turns.

    def begin_turn(
        self,
        chat_id: str,
        text: str,
        *,
        parent_id: str | None,
        model: str,
        media: Sequence[LoadedMedium] = (),
    ) -> tuple[Message, Message]:
        """Store a user's turn and the empty reply below it; it is on the disk afterwards.

        Args:
            chat_id: The chat.
            text: What the user says.
            parent_id: The message before it; None = there is none.
            model: The model that is asked.
            media: Pictures and sounds that the message carries.
        """
        session = self.session(chat_id)
        if parent_id is not None:
            self.message(chat_id, parent_id)
        now = self._clock()
        user = Message(
            id=new_id(),
            parent_id=parent_id,
            role=Role.USER,
            text=clean(text),
            media=tuple(one.medium for one in media),
            created_ms=now,
        )
        reply = _empty_reply(user.id, model, now)
        changes: dict[str, object] = {"active_leaf_id": reply.id, "updated_ms": now}
        if not session.title:
            changes["title"] = automatic_title(user.text)
        with self._base.write("your message") as db:
            end_streams(db, chat_id)
            self._insert(chat_id, (user, reply))
            self._insert_media(chat_id, {user.id: enumerate(one.content for one in media)})
            self._update_session(session.model_copy(update=changes))
        return user, reply

    def begin_reply(self, chat_id: str, parent_id: str, model: str) -> Message:
        """Store an empty reply below a message, and make its branch the active one."""
        parent = self.message(chat_id, parent_id)
        now = self._clock()
        reply = _empty_reply(parent.id, model, now)
        changes = {"active_leaf_id": reply.id, "updated_ms": now}
        with self._base.write("another answer") as db:
            end_streams(db, chat_id)
            self._insert(chat_id, (reply,))
            self._update_session(self.session(chat_id).model_copy(update=changes))
        return reply

    def append(
        self,
        chat_id: str,
        reply_id: str,
        text: str,
        reasoning: str = "",
        tool_calls: tuple[frames.ToolCallDelta, ...] = (),
    ) -> None:
        """Store what a streaming reply has gained; the end of the process does not lose it."""
        with self._base.write("a piece of the answer", is_durable=False):
            self._base.connection.execute(
                "INSERT INTO pieces (message_n, place, text, reasoning, tool_calls)"
                " SELECT n, (SELECT ifnull(max(place), 0) + 1 FROM pieces WHERE message_n = n),"
                " ?, ?, ? FROM messages WHERE chat_id = ? AND id = ?",
                (
                    clean(text),
                    clean(reasoning),
                    rows.dump_tool_calls(tool_calls),
                    chat_id,
                    reply_id,
                ),
            )

    def finish(self, chat_id: str, message: Message) -> None:
        """Store a message as it ended; it is on the disk afterwards."""
        with self._base.write("the answer"):
            self._change(chat_id, message)
            self._base.connection.execute(
                "DELETE FROM pieces WHERE message_n ="
                " (SELECT n FROM messages WHERE chat_id = ? AND id = ?)",
                (chat_id, message.id),
            )
            self._base.connection.execute(
                "UPDATE chats SET updated_ms = ? WHERE id = ?", (self._clock(), chat_id)
            )

    def add_message(self, chat_id: str, message: Message) -> None:
        """Store a message that is complete, such as a summary; the active branch stays."""
        with self._base.write("a message"):
            self._insert(chat_id, (message,))

    def pin(self, chat_id: str, message_id: str, is_pinned: bool) -> Message:
        """Pin a message, so that it is never left out of a prompt, or let it go again."""
        return self._set_message(chat_id, message_id, {"is_pinned": is_pinned})

    def rate(self, chat_id: str, message_id: str, rating: int, note: str = "") -> Message:
        """Rate a message: 1 = good, -1 = bad, 0 = not rated.

        Raises:
            ChatError: the rating is another number; code "bad_rating".
        """
        if rating not in (-1, 0, 1):
            raise ChatError(
                f"The rating {rating} cannot be used: 1 is good, -1 is bad, 0 takes it away.",
                code="bad_rating",
            )
        return self._set_message(
            chat_id, message_id, {"rating": rating, "rating_note": clean(note)}
        )

    # Counting and searching.

    def remember_counts(self, chat_id: str, tokenizer: str, counts: dict[str, int]) -> None:
        """Keep counted tokens by message id; an answer that still grows is not kept."""
        with self._base.write("token counts", is_durable=False):
            self._base.connection.executemany(
                "INSERT OR REPLACE INTO token_counts (message_n, tokenizer, n_tokens)"
                " SELECT n, ?, ? FROM messages WHERE chat_id = ? AND id = ?"
                " AND state <> 'streaming'",
                [(tokenizer, n_tokens, chat_id, key) for key, n_tokens in counts.items()],
            )

    # Behind it.

    def _first_words(self, chat_id: str) -> str:
        row = self._base.one(
            "SELECT text FROM messages WHERE chat_id = ? AND role = 'user' ORDER BY n LIMIT 1",
            (chat_id,),
        )
        return automatic_title(str(row[0])) if row else ""

    def _set_session(self, session: ChatSession) -> None:
        with self._base.write("the change of a chat"):
            self._update_session(session)

    def _update_session(self, session: ChatSession) -> None:
        names = ", ".join(f"{name} = ?" for name in rows.CHAT_COLUMNS)
        self._base.connection.execute(
            f"UPDATE chats SET {names} WHERE id = ?",
            [*rows.row_of_session(session), session.id],
        )

    def _set_message(self, chat_id: str, message_id: str, changes: dict[str, Any]) -> Message:
        names = ", ".join(f"{name} = ?" for name in changes)
        with self._base.write("the change of a message"):
            self._base.connection.execute(
                f"UPDATE messages SET {names} WHERE chat_id = ? AND id = ?",
                [*changes.values(), chat_id, message_id],
            )
        return self.message(chat_id, message_id)

    def _change(self, chat_id: str, message: Message) -> None:
        self._base.connection.execute(
            "UPDATE messages SET state = ?, text = ?, reasoning = ?, details = ?"
            " WHERE chat_id = ? AND id = ?",
            (
                message.state,
                clean(message.text),
                clean(message.reasoning),
                rows.details_of(message),
                chat_id,
                message.id,
            ),
        )

    def _insert_media(self, chat_id: str, media: Mapping[str, Iterable[tuple[int, bytes]]]) -> None:
        """Store what the media of messages hold: message id -> (place, content) of each."""
        self._base.connection.executemany(
            rows.INSERT_MEDIUM,
            [
                (place, content, chat_id, message_id)
                for message_id, contents in media.items()
                for place, content in contents
            ],
        )

    def _insert(self, chat_id: str, messages: Iterable[Message]) -> None:
        self._base.connection.executemany(
            rows.INSERT_MESSAGE,
            [[chat_id, *rows.row_of_message(message)] for message in messages],
        )


def _empty_reply(parent_id: str, model: str, now: int) -> Message:
    return Message(
        id=new_id(),
        parent_id=parent_id,
        role=Role.ASSISTANT,
        state=MessageState.STREAMING,
        created_ms=now,
        model=model,
    )
