"""ChatStore: the chats on disk. All calls block and belong to the thread that made the store."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from luci_tui.chat import rows
from luci_tui.chat.cost import Spent
from luci_tui.chat.database import Database, end_streams
from luci_tui.chat.media import LoadedMedium, StoredMedium
from luci_tui.chat.records import (
    ChatRow,
    ChatSession,
    Fork,
    Message,
    MessageState,
    OpenedChat,
    Parameters,
    Role,
    SearchHit,
)
from luci_tui.chat.schema import explained
from luci_tui.chat.search import SearchOrder, search
from luci_tui.engine import frames
from luci_tui.errors import ChatError

MAX_TITLE = 200
"""Longest title."""
AUTOMATIC_TITLE = 60
"""Longest title that is made of the first prompt's words."""

_ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""No letters that look alike."""
_CHAT = ", ".join(f"chats.{name}" for name in rows.CHAT_COLUMNS)
_MESSAGE = ", ".join(f"messages.{name}" for name in rows.MESSAGE_COLUMNS)
_BRANCH = (
    "WITH RECURSIVE branch (n, parent_id, depth) AS ("
    " SELECT n, parent_id, 0 FROM messages WHERE chat_id = :chat AND id = :leaf"
    " UNION ALL SELECT messages.n, messages.parent_id, depth + 1 FROM branch"
    " JOIN messages ON messages.chat_id = :chat AND messages.id = branch.parent_id"
    " WHERE depth < 1000000)"
)
"""The messages from a leaf up to the root. Parents are never changed, so only a damaged file has
a cycle; the bound keeps it from being followed for ever."""


def new_id(n_letters: int = 12) -> str:
    """Make an identifier that nobody has, short enough to be typed."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(n_letters))


def now_ms() -> int:
    """Return the time as records hold it."""
    return time.time_ns() // 1_000_000


def automatic_title(prompt: str) -> str:
    """Make a title of the first words of a prompt."""
    words = " ".join(prompt.split())
    if len(words) <= AUTOMATIC_TITLE:
        return words
    cut = words[: AUTOMATIC_TITLE - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + "…"


def clean(text: str) -> str:
    """Replace what is no text (halves of UTF-16 pairs), so that every file can hold it."""
    return text.encode("utf-8", "replace").decode("utf-8")


class ChatStore:
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
        self._base = Database(path, max_bytes)
        self._clock = clock

    @property
    def notice(self) -> str:
        """What a person should know about the opening, in one sentence; empty = nothing."""
        return self._base.notice

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._base.close()

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
            title=_title(title),
            is_title_set=bool(_title(title)),
            model=model,
            system=clean(system),
            parameters=parameters or Parameters(),
            created_ms=now,
            updated_ms=now,
        )
        with self._base.write("a chat"):
            self._base.connection.execute(rows.INSERT_CHAT, rows.row_of_session(session))
        return session

    def session(self, chat_id: str) -> ChatSession:
        """Return a chat without its messages.

        Raises:
            ChatError: there is no such chat; code "chat_not_found".
        """
        row = self._base.one(f"SELECT {_CHAT} FROM chats WHERE id = ?", (chat_id,))
        if row is None:
            raise ChatError(
                f'There is no chat "{chat_id}". `luci chat list` shows those that are there.',
                code="chat_not_found",
            )
        return rows.session_of(row)

    def find(self, beginning: str) -> ChatSession:
        """Return the chat whose id is, or alone begins with, what a person typed.

        Raises:
            ChatError: none or several do.
        """
        found = self._base.all(
            f"SELECT {_CHAT} FROM chats WHERE substr(id, 1, ?) = ? LIMIT 2",
            (len(beginning), beginning),
        )
        exact = [row for row in found if row[0] == beginning]
        if len(exact or found) > 1:
            raise ChatError(
                f'Several chats begin with "{beginning}". Type more of the id.',
                code="chat_ambiguous",
            )
        return rows.session_of((exact or found)[0]) if found else self.session(beginning)

    def chats(
        self, *, is_archived: bool = False, limit: int = 1000, offset: int = 0
    ) -> tuple[ChatRow, ...]:
        """Return chats, the one that was used last first."""
        found = self._base.all(
            f"SELECT {_CHAT}, (SELECT count(*) FROM messages WHERE chat_id = chats.id"
            " AND kind = 'text') FROM chats WHERE is_archived = ?"
            " ORDER BY updated_ms DESC, n DESC LIMIT ? OFFSET ?",
            (is_archived, limit, offset),
        )
        return tuple(
            ChatRow(session=rows.session_of(row[:-1]), n_messages=row[-1]) for row in found
        )

    def spent(self, chat_ids: tuple[str, ...]) -> tuple[Spent, ...]:
        """Sum up what the answers in some chats took, by chat and model."""
        found = self._base.all(rows.SPENT, (json.dumps(chat_ids),))
        return tuple(rows.spent_of(row) for row in found)

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
            changes["title"] = _title(title) or self._first_words(chat_id)
            changes["is_title_set"] = bool(_title(title))
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

    def open(self, chat_id: str) -> OpenedChat:
        """Return a chat with its active branch and the places where that forks."""
        session = self.session(chat_id)
        leaf = session.active_leaf_id
        messages = self._active_branch(chat_id, leaf) if leaf else ()
        return OpenedChat(session=session, messages=messages, forks=self._forks(chat_id, messages))

    def branch(self, chat_id: str, leaf_id: str) -> tuple[Message, ...]:
        """Return the messages from the root to `leaf_id`.

        Raises:
            ChatError: there is no such message; code "message_not_found".
        """
        found = self._base.all(
            f"{_BRANCH} SELECT {_MESSAGE} FROM branch JOIN messages ON messages.n = branch.n"
            " ORDER BY depth DESC",
            {"chat": chat_id, "leaf": leaf_id},
        )
        if not found:
            raise _no_message(chat_id, leaf_id)
        return self._with_pieces(chat_id, rows.messages_of(found))

    def messages(self, chat_id: str) -> tuple[Message, ...]:
        """Return all messages of a chat, of every branch, in the order of their making."""
        found = self._base.all(
            f"SELECT {_MESSAGE} FROM messages WHERE chat_id = ? ORDER BY n", (chat_id,)
        )
        return self._with_pieces(chat_id, rows.messages_of(found))

    def message(self, chat_id: str, message_id: str) -> Message:
        """Return one message.

        Raises:
            ChatError: there is no such message; code "message_not_found".
        """
        row = self._base.one(
            f"SELECT {_MESSAGE} FROM messages WHERE chat_id = ? AND id = ?", (chat_id, message_id)
        )
        if row is None:
            raise _no_message(chat_id, message_id)
        return self._with_pieces(chat_id, (rows.message_of(row),))[0]

    def media(self, chat_id: str, message_id: str) -> tuple[LoadedMedium, ...]:
        """Return the pictures and sounds of a message; what was lost of them is left away.

        Raises:
            ChatError: there is no such message; code "message_not_found".
        """
        named = self.message(chat_id, message_id).media
        found = self._base.all(
            "SELECT place, content FROM media WHERE message_n ="
            " (SELECT n FROM messages WHERE chat_id = ? AND id = ?) ORDER BY place",
            (chat_id, message_id),
        )
        return tuple(
            LoadedMedium(named[int(row[0])], bytes(row[1]))
            for row in found
            if 0 <= int(row[0]) < len(named)
        )

    def all_media(self, chat_id: str) -> tuple[StoredMedium, ...]:
        """Return what all pictures and sounds of a chat hold, of every branch."""
        found = self._base.all(
            "SELECT messages.id, place, content FROM media JOIN messages ON messages.n = message_n"
            " WHERE chat_id = ? ORDER BY messages.n, place",
            (chat_id,),
        )
        return tuple(StoredMedium(str(row[0]), int(row[1]), bytes(row[2])) for row in found)

    def siblings(self, chat_id: str, message_id: str) -> Fork:
        """Return a message's siblings and itself, oldest first."""
        parent_id = self.message(chat_id, message_id).parent_id
        found = self._base.all(
            "SELECT id FROM messages WHERE chat_id = ? AND parent_id IS ? AND kind = 'text'"
            " ORDER BY n",
            (chat_id, parent_id),
        )
        return Fork(message_id=message_id, sibling_ids=tuple(row[0] for row in found))

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

    def summaries(self, chat_id: str) -> tuple[Message, ...]:
        """Return the summaries of a chat, of all branches."""
        found = self._base.all(
            f"SELECT {_MESSAGE} FROM messages WHERE chat_id = ? AND kind = 'summary' ORDER BY n",
            (chat_id,),
        )
        return rows.messages_of(found)

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

    def token_counts(self, chat_id: str, tokenizer: str) -> dict[str, int]:
        """Return the tokens of the messages that were counted with this tokenizer, by id."""
        found = self._base.all(
            "SELECT messages.id, n_tokens FROM token_counts"
            " JOIN messages ON messages.n = message_n WHERE chat_id = ? AND tokenizer = ?",
            (chat_id, tokenizer),
        )
        return {str(row[0]): int(row[1]) for row in found}

    def remember_counts(self, chat_id: str, tokenizer: str, counts: dict[str, int]) -> None:
        """Keep counted tokens by message id; an answer that still grows is not kept."""
        with self._base.write("token counts", is_durable=False):
            self._base.connection.executemany(
                "INSERT OR REPLACE INTO token_counts (message_n, tokenizer, n_tokens)"
                " SELECT n, ?, ? FROM messages WHERE chat_id = ? AND id = ?"
                " AND state <> 'streaming'",
                [(tokenizer, n_tokens, chat_id, key) for key, n_tokens in counts.items()],
            )

    def search(
        self, query: str, *, order: SearchOrder = SearchOrder.BEST, limit: int = 50
    ) -> tuple[SearchHit, ...]:
        """Find words in titles and messages; see luci_tui.chat.search."""
        return tuple(search(self._base.all, query, order, limit))

    # Behind it.

    def _active_branch(self, chat_id: str, leaf_id: str) -> tuple[Message, ...]:
        try:
            return self.branch(chat_id, leaf_id)
        except ChatError:
            # Damage that SQLite cannot see: any branch is better than none.
            last = self._base.one(
                "SELECT id FROM messages WHERE chat_id = ? ORDER BY n DESC LIMIT 1", (chat_id,)
            )
            return self.branch(chat_id, last[0]) if last else ()

    def _forks(self, chat_id: str, messages: Sequence[Message]) -> tuple[Fork, ...]:
        found = self._base.all(
            "SELECT parent_id, group_concat(id) FROM (SELECT parent_id, id FROM messages"
            " WHERE chat_id = ? AND kind = 'text' ORDER BY parent_id, n)"
            " GROUP BY parent_id HAVING count(*) > 1",
            (chat_id,),
        )
        siblings: dict[object, str] = {row[0]: str(row[1]) for row in found}
        return tuple(
            Fork(message_id=message.id, sibling_ids=tuple(siblings[message.parent_id].split(",")))
            for message in messages
            if message.parent_id in siblings
        )

    def _with_pieces(self, chat_id: str, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Add to streaming messages what they have gained so far."""
        if all(message.state is not MessageState.STREAMING for message in messages):
            return messages
        return tuple(
            self._grown(chat_id, message) if message.state is MessageState.STREAMING else message
            for message in messages
        )

    def _grown(self, chat_id: str, message: Message) -> Message:
        row = self._base.one(
            "SELECT n FROM messages WHERE chat_id = ? AND id = ?", (chat_id, message.id)
        )
        with explained(self._base.path, "reading an answer"):
            return rows.pieces_of(self._base.connection, row[0]).onto(message) if row else message

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


def _title(text: str) -> str:
    return " ".join(clean(text).split())[:MAX_TITLE]


def _empty_reply(parent_id: str, model: str, now: int) -> Message:
    return Message(
        id=new_id(),
        parent_id=parent_id,
        role=Role.ASSISTANT,
        state=MessageState.STREAMING,
        created_ms=now,
        model=model,
    )


def _no_message(chat_id: str, message_id: str) -> ChatError:
    return ChatError(
        f'The chat {chat_id} has no message "{message_id}". `luci chat show {chat_id}` shows'
        " those that are there.",
        code="message_not_found",
    )
