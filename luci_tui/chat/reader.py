"""ChatReader: looks chats up, changing nothing. All calls block."""

from __future__ import annotations

import json
from collections.abc import Sequence

from luci_tui.chat import rows
from luci_tui.chat.cost import Spent
from luci_tui.chat.database import Database
from luci_tui.chat.media import LoadedMedium, StoredMedium
from luci_tui.chat.records import (
    ChatRow,
    ChatSession,
    Fork,
    Message,
    MessageState,
    OpenedChat,
    SearchHit,
)
from luci_tui.chat.schema import explained
from luci_tui.chat.search import SearchOrder, search
from luci_tui.errors import ChatError

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


class ChatReader:
    """What can be asked of one file of chats; `ChatStore` opens and changes it."""

    def __init__(self, base: Database) -> None:
        """Read a file that is open."""
        self._base = base

    @property
    def notice(self) -> str:
        """What a person should know about the opening, in one sentence; empty = nothing."""
        return self._base.notice

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._base.close()

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

    def summaries(self, chat_id: str) -> tuple[Message, ...]:
        """Return the summaries of a chat, of all branches."""
        found = self._base.all(
            f"SELECT {_MESSAGE} FROM messages WHERE chat_id = ? AND kind = 'summary' ORDER BY n",
            (chat_id,),
        )
        return rows.messages_of(found)

    def token_counts(self, chat_id: str, tokenizer: str) -> dict[str, int]:
        """Return the tokens of the messages that were counted with this tokenizer, by id."""
        found = self._base.all(
            "SELECT messages.id, n_tokens FROM token_counts"
            " JOIN messages ON messages.n = message_n WHERE chat_id = ? AND tokenizer = ?",
            (chat_id, tokenizer),
        )
        return {str(row[0]): int(row[1]) for row in found}

    def search(
        self, query: str, *, order: SearchOrder = SearchOrder.BEST, limit: int = 50
    ) -> tuple[SearchHit, ...]:
        """Find words in titles and messages; see luci_tui.chat.search."""
        return tuple(search(self._base.all, query, order, limit))

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


def _no_message(chat_id: str, message_id: str) -> ChatError:
    return ChatError(
        f'The chat {chat_id} has no message "{message_id}". `luci chat show {chat_id}` shows'
        " those that are there.",
        code="message_not_found",
    )
