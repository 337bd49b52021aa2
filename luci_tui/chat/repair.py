"""What happens to a damaged chats' file: it is kept aside, and what can be read is carried over.

The new file is made under a name of its own and is whole before anything else is touched; from then
on, an end of the process at any moment leaves something that the next start can complete.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from luci_tui.chat import rows
from luci_tui.chat.records import ChatSession, Message, MessageState, Role
from luci_tui.chat.schema import MIGRATIONS, connect, migrate, transaction, version_of
from luci_tui.units import format_count

MAX_PROBES = 1_000_000
"""Rows between two readable ends of a table that are looked for one by one."""

_PAGE_SIZE_BYTES = 4096
"""SQLite's default, with which every chats' file is made."""

_INNER_PAGE = 5
"""Type of a page of a table that refers to other pages."""

_TABLES = {
    "chats": ("n", *rows.CHAT_COLUMNS),
    "messages": ("n", "chat_id", *rows.MESSAGE_COLUMNS),
    "pieces": ("message_n", "place", "text", "reasoning", "tool_calls"),
    "media": ("message_n", "place", "content"),
    "token_counts": ("message_n", "tokenizer", "n_tokens"),
    "found_titles": ("title",),
    "found_texts": ("text",),
}

_SIDE_FILES = ("", "-wal", "-shm")


@dataclass
class Salvage:
    """What could be read of a damaged file."""

    chats: list[ChatSession] = field(default_factory=list[ChatSession])
    messages: dict[str, list[Message]] = field(default_factory=dict[str, list[Message]])
    """By chat, in the order in which they were written."""
    rows: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """Number of the row of a message with media, by chat and message."""
    n_unreadable: int = 0
    """Rows that are there and could not be read; a damaged page may hide more."""

    @property
    def n_messages(self) -> int:
        """How many messages were read."""
        return sum(len(messages) for messages in self.messages.values())


def damage_of(path: Path) -> str:
    """Say what is wrong with a file, in SQLite's words; empty = nothing, or there is no file.

    Raises:
        sqlite3.Error: it cannot be opened for another reason than damage.
    """
    if not path.exists():
        return ""
    try:
        with closing(connect(path)) as connection:
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            if found == "ok" and version_of(connection) == len(MIGRATIONS):
                found = _schema_damage(connection)
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return str(error)
        raise
    except UnicodeDecodeError:
        return "its tables have names that are no text"
    return "" if found == "ok" else " ".join(found.split())


def _schema_damage(connection: sqlite3.Connection) -> str:
    """Say what is missing of the tables; "ok" = nothing."""
    for table, columns in _TABLES.items():
        try:
            connection.execute(f"SELECT {', '.join(columns)} FROM {table} LIMIT 0")
        except sqlite3.OperationalError as error:
            return str(error)
    return "ok"


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether an error of SQLite means that the file itself is broken."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # A header whose format number is overwritten has no code of its own.
    is_strange = "unsupported file format" in str(error)
    return is_strange or primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def repair(path: Path, damage: str) -> str:
    """Keep a damaged file aside, carry over what can be read, and say so in one sentence.

    Raises:
        sqlite3.Error, OSError: there is no room for the new file; the old one is untouched.
    """
    with _opened_copy(path) as connection:
        salvage = _read(connection)
        _build(salvage, _recovering(path), connection)
    _recovering(path).replace(_recovered(path))
    _sync(path.parent)
    aside = finish_repair(path)
    lost = format_count(salvage.n_unreadable, "row")
    return (
        f"{path} was damaged ({damage.rstrip('.')}): it is kept as {aside}, and"
        f" {format_count(len(salvage.chats), 'chat')} with"
        f" {format_count(salvage.n_messages, 'message')} were carried over"
        + (f", {lost} could not be read." if salvage.n_unreadable else ".")
    )


def finish_repair(path: Path) -> Path | None:
    """Put a repaired file that is complete in its place; says where the damaged one is.

    Does nothing and returns None if no repair was begun.
    """
    if not _recovered(path).exists():
        return None
    aside = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}")
    for suffix in _SIDE_FILES:
        damaged = path.with_name(path.name + suffix)
        if damaged.exists():
            shutil.copy2(damaged, aside.with_name(aside.name + suffix))
    # The log of the damaged file must never be applied to the new one.
    for suffix in _SIDE_FILES[1:]:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    _sync(path.parent)
    _recovered(path).replace(path)
    _sync(path.parent)
    return aside


def _recovering(path: Path) -> Path:
    return path.with_name(path.name + ".recovering")


def _recovered(path: Path) -> Path:
    return path.with_name(path.name + ".recovered")


def _remove(path: Path) -> None:
    for suffix in _SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _opened_copy(path: Path) -> Generator[sqlite3.Connection]:
    """Open a copy of a damaged file, because opening it with its log would change it."""
    copy = path.with_name(path.name + ".copy")
    _remove(copy)
    try:
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                shutil.copyfile(source, copy.with_name(copy.name + suffix))
        if not _has_tables(copy):
            _graft_schema(copy)
        with closing(sqlite3.connect(copy)) as connection:
            connection.text_factory = readable
            yield connection
    finally:
        _remove(copy)


def readable(data: bytes) -> str:
    """Decode text of a damaged file, with marks where it is no UTF-8."""
    return data.decode("utf-8", "replace")


def _has_tables(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as connection:
            for table in ("chats", "messages"):
                columns = ", ".join(_TABLES[table])
                connection.execute(f"SELECT {columns} FROM {table} LIMIT 0")
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return False
    return True


def _graft_schema(path: Path) -> None:
    """Replace the pages that say where the tables lie by those of a fresh file.

    The same statements put the same tables on the same pages. The number of pages in the header
    is not valid for the file then, so SQLite takes the file's size instead.
    Source: https://www.sqlite.org/fileformat2.html#in_header_database_size
    """
    donor = path.with_name(path.name + ".donor")
    _remove(donor)
    try:
        with closing(connect(donor)) as connection:
            migrate(connection, donor)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        fresh = bytearray(donor.read_bytes())
    finally:
        _remove(donor)
    fresh[92:96] = bytes(4)
    # No list of free pages: the damaged file's own is not to be trusted.
    fresh[32:40] = bytes(8)
    with path.open("r+b") as file:
        for page in _schema_pages(fresh):
            start = (page - 1) * _PAGE_SIZE_BYTES
            file.seek(start)
            file.write(fresh[start : start + _PAGE_SIZE_BYTES])


def _schema_pages(data: bytearray) -> list[int]:
    """Return the pages of sqlite_schema: the first one, and those that it refers to.

    Source: https://www.sqlite.org/fileformat2.html#b_tree_pages
    """
    header = 100
    if data[header] != _INNER_PAGE:
        return [1]
    n_cells = int.from_bytes(data[header + 3 : header + 5], "big")
    pages = [1, int.from_bytes(data[header + 8 : header + 12], "big")]
    for index in range(n_cells):
        at = header + 12 + 2 * index
        cell = int.from_bytes(data[at : at + 2], "big")
        pages.append(int.from_bytes(data[cell : cell + 4], "big"))
    return pages


def _read(connection: sqlite3.Connection) -> Salvage:
    salvage = Salvage()
    for row in _rows(connection, "chats", rows.CHAT_COLUMNS, salvage):
        chat = rows.session_of(row[1:])
        try:
            # What was made of a damaged row may still be none that can be stored.
            salvage.chats.append(ChatSession.model_validate(chat.model_dump()))
        except ValueError:
            salvage.n_unreadable += 1
    columns = ("chat_id", *rows.MESSAGE_COLUMNS)
    for row in _rows(connection, "messages", columns, salvage):
        message = _message(connection, row)
        if message is None:
            salvage.n_unreadable += 1
        else:
            salvage.messages.setdefault(str(row[1]), []).append(message)
            if message.media and isinstance(row[0], int):
                salvage.rows[str(row[1]), message.id] = row[0]
    _add_lost_chats(salvage)
    for chat_id, messages in salvage.messages.items():
        salvage.messages[chat_id] = _with_lost_parents(messages)
    return salvage


def _rows(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], salvage: Salvage
) -> list[tuple[object, ...]]:
    """Read a table from both ends, and what lies between them one by one."""
    select = f"SELECT n, {', '.join(columns)} FROM {table}"
    found: dict[int, tuple[object, ...]] = {}
    if not _gather(connection, f"{select} ORDER BY n", found):
        reached = max(found, default=0)
        backwards: dict[int, tuple[object, ...]] = {}
        _gather(connection, f"{select} WHERE n > {reached} ORDER BY n DESC", backwards)
        end = min(backwards, default=_last_n(connection, table) + 1)
        found.update(backwards)
        for n in range(reached + 1, min(end, reached + MAX_PROBES)):
            if not _gather(connection, f"{select} WHERE n = {n}", found):
                salvage.n_unreadable += 1
    return [found[n] for n in sorted(found)]


def _gather(connection: sqlite3.Connection, sql: str, found: dict[int, tuple[object, ...]]) -> bool:
    """Read rows until the end, or until one cannot be read; tells which."""
    try:
        for row in connection.execute(sql):
            found[int(row[0])] = tuple(row)
    except (sqlite3.DatabaseError, OverflowError, ValueError):
        return False
    return True


def _last_n(connection: sqlite3.Connection, table: str) -> int:
    """Give the greatest number that a row of a table ever had, as far as SQLite noted it."""
    with suppress(sqlite3.DatabaseError, ValueError):
        for row in connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)):
            return int(row[0])
    return 0


def _message(connection: sqlite3.Connection, row: Sequence[object]) -> Message | None:
    """Read a message; what it says is worth more than its figures."""
    n, fields = row[0], row[2:]
    try:
        message = rows.message_of(fields)
    except ValueError:
        try:
            message = rows.message_of([*fields[:-1], "{}"])
        except ValueError:
            return None
    if message.state is MessageState.STREAMING and isinstance(n, int):
        with suppress(sqlite3.DatabaseError, ValueError):
            message = rows.pieces_of(connection, n).onto(message)
        message = message.model_copy(update={"state": MessageState.INTERRUPTED})
    return message


def _media(connection: sqlite3.Connection, n: int) -> Generator[tuple[int, bytes]]:
    """Read the contents of a message's media, as far as that goes."""
    with suppress(sqlite3.DatabaseError, ValueError):
        found = connection.execute(
            "SELECT place, content FROM media WHERE message_n = ? ORDER BY place", (n,)
        )
        for place, content in found:
            if isinstance(place, int) and isinstance(content, bytes):
                yield place, content


def _add_lost_chats(salvage: Salvage) -> None:
    """Give messages whose chat cannot be read a chat of their own."""
    known = {chat.id for chat in salvage.chats}
    for chat_id, messages in list(salvage.messages.items()):
        if chat_id in known:
            continue
        try:
            chat = ChatSession(
                id=chat_id,
                title=f"Recovered chat {chat_id}",
                is_title_set=True,
                created_ms=messages[0].created_ms,
                updated_ms=messages[-1].created_ms,
            )
        except ValidationError:
            del salvage.messages[chat_id]
            salvage.n_unreadable += len(messages)
        else:
            salvage.chats.append(chat)


def _with_lost_parents(messages: list[Message]) -> list[Message]:
    """Put a message that says so in the place of each parent that cannot be read."""
    complete: list[Message] = []
    known: set[str] = set()
    for message in messages:
        parent_id = message.parent_id
        if message.id in known:
            continue
        if parent_id is not None and parent_id not in known:
            before = complete[-1].id if complete else None
            complete.append(_lost(parent_id, before, message))
            known.add(parent_id)
        complete.append(message)
        known.add(message.id)
    return complete


def _lost(message_id: str, parent_id: str | None, child: Message) -> Message:
    return Message(
        id=message_id,
        parent_id=parent_id,
        role=Role.ASSISTANT if child.role is Role.USER else Role.USER,
        state=MessageState.FAILED,
        created_ms=child.created_ms,
        failure_code="lost",
        failure="This message could not be read from a damaged file.",
    )


def _build(salvage: Salvage, path: Path, damaged: sqlite3.Connection) -> None:
    """Write what was read into a fresh file, which is on the disk afterwards.

    Args:
        salvage: What was read.
        path: The fresh file.
        damaged: From which pictures and sounds are copied, one at a time.
    """
    _remove(path)
    with closing(connect(path)) as connection:
        migrate(connection, path)
        with transaction(connection):
            for chat in salvage.chats:
                messages = salvage.messages.get(chat.id, [])
                ids = [message.id for message in messages]
                leaf = chat.active_leaf_id if chat.active_leaf_id in ids else (ids or [None])[-1]
                repaired = chat.model_copy(update={"active_leaf_id": leaf})
                connection.execute(rows.INSERT_CHAT, rows.row_of_session(repaired))
                connection.executemany(
                    rows.INSERT_MESSAGE,
                    [[chat.id, *rows.row_of_message(message)] for message in messages],
                )
            for (chat_id, message_id), n in salvage.rows.items():
                for place, content in _media(damaged, n):
                    values = (place, content, chat_id, message_id)
                    connection.execute(rows.INSERT_MEDIUM, values)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    _sync(path)
