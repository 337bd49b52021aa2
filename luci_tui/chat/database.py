"""One SQLite file, opened by one luci at a time: repair, migration, transactions, errors."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from luci_tui.chat import rows
from luci_tui.chat.records import MessageState
from luci_tui.chat.repair import damage_of, finish_repair, is_damage, readable, repair
from luci_tui.chat.schema import connect, explained, migrate, transaction
from luci_tui.errors import ChatError

Values = Sequence[object] | dict[str, object]


class Database:
    """The opened file. All calls block and belong to the thread that made it."""

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        """Open the file, make it if there is none, and put in order what a crash left.

        Args:
            path: The file; its folder is made if needed.
            max_bytes: Largest size of the file; None = what the disk holds.

        Raises:
            ChatError: it cannot be opened, is held by another luci or is of a newer one.
        """
        self.path = path
        self.notice = ""
        """What a person should know about the opening, in one sentence; empty = nothing."""
        self._lock_fd = _lock(path)
        try:
            with explained(path, "opening the chats"):
                self._put_in_order()
                self.connection = self._connect(max_bytes)
        except BaseException:
            os.close(self._lock_fd)
            raise

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self.connection.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def one(self, sql: str, values: Values = ()) -> Any:
        """Return the first row; None = there is none."""
        return next(iter(self.all(sql, values)), None)

    def all(self, sql: str, values: Values = ()) -> list[Any]:
        """Return all rows; damaged text in them is shown as such, damaged indexes are made anew."""
        with explained(self.path, "reading the chats"):
            try:
                return self._fetch(sql, values)
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
            self._make_indexes_anew()
            return self._fetch(sql, values)

    def _fetch(self, sql: str, values: Values) -> list[Any]:
        try:
            return self.connection.execute(sql, values).fetchall()
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
        self.connection.text_factory = readable
        try:
            return self.connection.execute(sql, values).fetchall()
        finally:
            self.connection.text_factory = str

    def _make_indexes_anew(self) -> None:
        """Make again what is only derived from the tables; the check at the start does not see it.

        Source: https://www.sqlite.org/pragma.html#pragma_quick_check
        """
        with transaction(self.connection):
            self.connection.execute("REINDEX")
            for table in ("found_titles", "found_texts"):
                self.connection.execute(f"INSERT INTO {table} ({table}) VALUES ('rebuild')")

    @contextmanager
    def write(self, what: str, *, is_durable: bool = True) -> Generator[sqlite3.Connection]:
        """Commit at the end of the block, or take everything back.

        Args:
            what: What is stored, for the sentence of an error.
            is_durable: True = on the disk when the block is left.
        """
        with explained(self.path, what), transaction(self.connection, is_durable=is_durable):
            yield self.connection

    def _put_in_order(self) -> None:
        try:
            aside = finish_repair(self.path)
            damage = damage_of(self.path)
            if damage:
                self.notice = repair(self.path, damage)
            elif aside is not None:
                self.notice = (
                    f"{self.path} was damaged: it is kept as {aside}, and what could be read was"
                    " carried over."
                )
        except OSError as error:
            raise ChatError(
                f"{self.path} is damaged and could not be repaired ({error.strerror}). Free some"
                " space and start luci again; nothing was removed.",
                code="corrupt",
            ) from error

    def _connect(self, max_bytes: int | None) -> sqlite3.Connection:
        connection = connect(self.path)
        try:
            if max_bytes is not None:
                page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])
                n_pages = max(1, max_bytes // page_bytes)
                connection.execute(f"PRAGMA max_page_count = {n_pages}")
            backup = migrate(connection, self.path)
            if backup is not None:
                self.notice = f"The chats were brought to a newer form; the old one is {backup}."
            with transaction(connection):
                end_streams(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _lock(path: Path) -> int:
    """Take the lock of a chats' file; the system gives it back when the process ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock_fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ChatError(
            f"{path} cannot be opened ({error.strerror}). Check that its folder is there and"
            " writable, or name another one with LUCI_HOME.",
            code="cannot_open",
        ) from error
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock_fd)
        raise ChatError(
            f"{path} is held by another luci. Close that one, or use its screen.",
            code="store_held",
        ) from error
    if not path.exists():
        # Chats are private: the file is made for its owner alone.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    return lock_fd


def end_streams(connection: sqlite3.Connection, chat_id: str | None = None) -> None:
    """Turn messages that stream no longer into interrupted ones with their text.

    Args:
        connection: One with an open transaction.
        chat_id: Of one chat alone; None = of all.
    """
    columns = ", ".join(rows.MESSAGE_COLUMNS)
    streaming = connection.execute(
        f"SELECT n, {columns} FROM messages"
        " WHERE state = 'streaming' AND chat_id = ifnull(?, chat_id)",
        (chat_id,),
    ).fetchall()
    for n, *row in streaming:
        message = rows.pieces_of(connection, n).onto(rows.message_of(row))
        connection.execute(
            "UPDATE messages SET state = ?, text = ?, reasoning = ?, details = ? WHERE n = ?",
            (
                MessageState.INTERRUPTED,
                message.text,
                message.reasoning,
                rows.details_of(message),
                n,
            ),
        )
        connection.execute("DELETE FROM pieces WHERE message_n = ?", (n,))
