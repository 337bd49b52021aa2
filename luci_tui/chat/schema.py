"""The chats' SQLite file: its tables, how it is opened and brought to the present version.

Source for the settings: https://www.sqlite.org/wal.html and https://www.sqlite.org/pragma.html.
With a WAL, `synchronous=FULL` makes each commit durable against a loss of power; NORMAL only keeps
the file consistent, which is enough for text that is streamed again and again.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from luci_tui.errors import ChatError

BUSY_TIMEOUT_MS = 5000
"""How long a call waits for another connection's lock."""

_FIRST_VERSION = """
CREATE TABLE chats (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    is_title_set INTEGER NOT NULL,
    model TEXT NOT NULL,
    system TEXT NOT NULL,
    parameters TEXT NOT NULL,
    active_leaf_id TEXT,
    is_archived INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
);
CREATE INDEX chats_by_update ON chats (is_archived, updated_ms);

CREATE TABLE messages (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    parent_id TEXT,
    role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant', 'tool')),
    kind TEXT NOT NULL CHECK (kind IN ('text', 'summary')),
    state TEXT NOT NULL
        CHECK (state IN ('complete', 'streaming', 'cancelled', 'failed', 'interrupted')),
    text TEXT NOT NULL,
    reasoning TEXT NOT NULL,
    is_pinned INTEGER NOT NULL,
    rating INTEGER NOT NULL CHECK (rating IN (-1, 0, 1)),
    rating_note TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    details TEXT NOT NULL,
    UNIQUE (chat_id, id),
    FOREIGN KEY (chat_id, parent_id) REFERENCES messages (chat_id, id)
        DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX messages_by_parent ON messages (chat_id, parent_id);
CREATE INDEX messages_streaming ON messages (state) WHERE state = 'streaming';

-- What a streaming message has gained: growing text is written once, not again and again.
CREATE TABLE pieces (
    message_n INTEGER NOT NULL REFERENCES messages (n) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    text TEXT NOT NULL,
    reasoning TEXT NOT NULL,
    tool_calls TEXT NOT NULL,
    PRIMARY KEY (message_n, place)
) WITHOUT ROWID;

-- Tokens of a message's text, as a model counts them.
CREATE TABLE token_counts (
    message_n INTEGER NOT NULL REFERENCES messages (n) ON DELETE CASCADE,
    tokenizer TEXT NOT NULL,
    n_tokens INTEGER NOT NULL,
    PRIMARY KEY (message_n, tokenizer)
) WITHOUT ROWID;

CREATE VIRTUAL TABLE found_titles USING fts5 (
    title, content='chats', content_rowid='n', tokenize='unicode61 remove_diacritics 2'
);
CREATE TRIGGER chats_inserted AFTER INSERT ON chats BEGIN
    INSERT INTO found_titles (rowid, title) VALUES (new.n, new.title);
END;
CREATE TRIGGER chats_deleted AFTER DELETE ON chats BEGIN
    INSERT INTO found_titles (found_titles, rowid, title) VALUES ('delete', old.n, old.title);
END;
CREATE TRIGGER chats_renamed AFTER UPDATE OF title ON chats WHEN old.title <> new.title BEGIN
    INSERT INTO found_titles (found_titles, rowid, title) VALUES ('delete', old.n, old.title);
    INSERT INTO found_titles (rowid, title) VALUES (new.n, new.title);
END;

CREATE VIRTUAL TABLE found_texts USING fts5 (
    text, content='messages', content_rowid='n', tokenize='unicode61 remove_diacritics 2',
    prefix='2 3'
);
CREATE TRIGGER messages_inserted AFTER INSERT ON messages BEGIN
    INSERT INTO found_texts (rowid, text) VALUES (new.n, new.text);
END;
CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN
    INSERT INTO found_texts (found_texts, rowid, text) VALUES ('delete', old.n, old.text);
END;
CREATE TRIGGER messages_changed AFTER UPDATE OF text ON messages WHEN old.text <> new.text BEGIN
    INSERT INTO found_texts (found_texts, rowid, text) VALUES ('delete', old.n, old.text);
    INSERT INTO found_texts (rowid, text) VALUES (new.n, new.text);
END;
"""

_WITH_MEDIA = """
-- Content of a message's pictures and sounds, in the order in which its details name them.
CREATE TABLE media (
    message_n INTEGER NOT NULL REFERENCES messages (n) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (message_n, place)
);
"""

MIGRATIONS: tuple[str, ...] = (_FIRST_VERSION, _WITH_MEDIA)
"""SQL that leads from version i to i + 1; `PRAGMA user_version` holds the version of a file."""

_SENTENCES: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: (
        "disk_full",
        "The disk is full: {what} could not be stored in {path}. Free some space and try again.",
    ),
    sqlite3.SQLITE_READONLY: (
        "read_only",
        "{path} cannot be written to: {what} could not be stored. Change its permissions, or name"
        " another folder with LUCI_HOME.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot_open",
        "{path} cannot be opened: {what} is not possible. Check that the folder is there and"
        " writable.",
    ),
    sqlite3.SQLITE_BUSY: (
        "store_busy",
        "{path} is held by another program: {what} was not possible within 5 s. Close that program"
        " and try again.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "corrupt",
        "{path} is damaged: {what} was not possible. Restart luci: it sets the file aside and"
        " carries over what can be read.",
    ),
    sqlite3.SQLITE_NOTADB: (
        "corrupt",
        "{path} is no SQLite file: {what} was not possible. Restart luci: it sets the file aside"
        " and carries over what can be read.",
    ),
}


def store_error(error: sqlite3.Error, path: Path, what: str) -> ChatError:
    """Turn an error of SQLite into one sentence.

    Args:
        error: What SQLite raised.
        path: The chats' file.
        what: What was to be done, as the subject of a sentence.
    """
    # Extended codes hold the primary one in their low byte.
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    code, sentence = _SENTENCES.get(
        primary,
        ("store", "{path} failed ({error}): {what} was not possible. Check the disk."),
    )
    return ChatError(sentence.format(path=path, what=what, error=error), code=code)


@contextmanager
def explained(path: Path, what: str) -> Generator[None]:
    """Turn SQLite's errors in this block into ChatError."""
    try:
        yield
    except sqlite3.Error as error:
        raise store_error(error, path, what) from error


def connect(path: Path) -> sqlite3.Connection:
    """Open a file with the settings that every connection needs; transactions are explicit."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = FAST")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, *, is_durable: bool = True) -> Generator[None]:
    """Commit at the end of the block, or take everything back if it fails.

    Args:
        connection: One without an open transaction.
        is_durable: True = on the disk when the block is left; False = a loss of power may take
            it back, the end of the process may not.
    """
    connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have ended the transaction by itself.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of the file; 0 = it is empty."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS
) -> Path | None:
    """Bring a file to the present version, after a backup of what is in it.

    Args:
        connection: The opened file.
        path: Its name.
        migrations: As MIGRATIONS.

    Returns:
        The backup; None = there was nothing to migrate, or nothing to back up.

    Raises:
        ChatError: the file was written by a newer luci.
        sqlite3.Error: a step failed; the file is as it was.
    """
    version = version_of(connection)
    if version > len(migrations):
        raise ChatError(
            f"{path} has version {version} and this luci knows {len(migrations)}: a newer luci"
            " wrote it. Install that one again.",
            code="newer_store",
        )
    if version == len(migrations):
        return None
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise ChatError(
            f"{path} belongs to another program: it has tables that luci did not make. Move it, or"
            " name another folder with LUCI_HOME.",
            code="foreign_store",
        )
    backup = _back_up(connection, path, version) if version else None
    with transaction(connection):
        for number, script in enumerate(migrations[version:], start=version + 1):
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
    return backup


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    backup = path.with_name(f"{path.name}.version-{version}-{time.strftime('%Y%m%d-%H%M%S')}")
    backup.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (str(backup),))
    return backup


def _statements(script: str) -> Generator[str]:
    """Split a script; `executescript` would commit in between."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
