"""`LUCI_HOME/library.db`: facts that were read from files once, so that a list need not read again.

Each row holds for one file as it was: path, size, time of the last change, inode. The file may be
deleted at any time. One that is damaged, locked or not to be written costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from luci_tui.library.records import HeaderFacts, Stamp

SCHEMA_VERSION: Final = 1
MAX_ROWS: Final = 50_000
"""More are too many: the oldest half goes."""
_BUSY_S: Final = 1.0
_HEADER_FIELDS: Final = tuple((one.name, one.type) for one in fields(HeaderFacts))

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
    kind TEXT NOT NULL,
    path BLOB NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    data TEXT NOT NULL,
    noted_at REAL NOT NULL,
    PRIMARY KEY (kind, path)
) STRICT, WITHOUT ROWID
"""

logger = logging.getLogger(__name__)


class FactKind(StrEnum):
    """What a row is about."""

    HEADER = "header"
    """HeaderFacts of a model."""
    MANIFEST = "manifest"
    """What the library needs of a model.json."""
    VERDICT = "verdict"
    """What the validator said."""
    CATALOG = "catalog"
    """Names, aliases and tiers of the catalogue."""
    MEASURED = "measured"
    """What a model took in memory when it ran."""
    SAMPLE = "sample"
    """Sum of some pieces of a file."""
    SHA256 = "sha256"
    """Sum of a whole file."""


Facts = dict[str, Any]


class HeaderCache:
    """The opened file. One thread at a time; `close` writes what is new.

    Args:
        path: The file; it is made when there is something to remember. None = remember nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: dict[FactKind, dict[bytes, tuple[Stamp, str]]] = {}
        self._new: dict[tuple[FactKind, bytes], tuple[Stamp, str]] = {}
        self._connection = _open(path) if path is not None and path.exists() else None

    def __enter__(self) -> Self:
        """Give the cache."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is new and close the file."""
        self.close()

    def get(self, kind: FactKind, path: Path, stamp: Stamp) -> Facts | None:
        """Give what is known of a file as it is now; None = nothing."""
        found = self._of(kind).get(os.fsencode(path))
        if found is None or found[0] != stamp:
            return None
        try:
            return cast("Facts", json.loads(found[1]))
        except ValueError:
            return None

    def put(self, kind: FactKind, path: Path, stamp: Stamp, facts: Mapping[str, object]) -> None:
        """Remember something of a file as it is now."""
        row = (stamp, json.dumps(facts))
        self._of(kind)[os.fsencode(path)] = row
        self._new[kind, os.fsencode(path)] = row

    def header(self, path: Path, stamp: Stamp) -> HeaderFacts | None:
        """Give what the header of a model says; None = it was not read yet."""
        found = self.get(FactKind.HEADER, path, stamp)
        if found is None:
            return None
        known: dict[str, Any] = {
            name: found[name]
            for name, kind in _HEADER_FIELDS
            if type(found.get(name)).__name__ == kind
        }
        return HeaderFacts(**known) if len(known) == len(_HEADER_FIELDS) else None

    def put_header(self, path: Path, stamp: Stamp, facts: HeaderFacts) -> None:
        """Remember what the header of a model says."""
        self.put(FactKind.HEADER, path, stamp, asdict(facts))

    def close(self) -> None:
        """Write what is new and close the file; what cannot be written is read again next time."""
        connection, self._connection = self._connection, None
        if connection is None and self._new and self._path is not None:
            connection = _open(self._path)
        if connection is None:
            return
        try:
            if self._new:
                self._write(connection)
        except sqlite3.Error as error:
            logger.info("%s takes no new facts: %s", self._path, error)
        finally:
            connection.close()

    def _of(self, kind: FactKind) -> dict[bytes, tuple[Stamp, str]]:
        rows = self._rows.get(kind)
        if rows is None:
            rows = self._rows[kind] = self._read(kind)
        return rows

    def _read(self, kind: FactKind) -> dict[bytes, tuple[Stamp, str]]:
        if self._connection is None:
            return {}
        query = "SELECT path, size, mtime_ns, inode, data FROM facts WHERE kind = ?"
        try:
            return {
                path: (Stamp(size, mtime_ns, inode), data)
                for path, size, mtime_ns, inode, data in self._connection.execute(query, (kind,))
            }
        except sqlite3.Error as error:
            self._give_up(error)
            return {}

    def _write(self, connection: sqlite3.Connection) -> None:
        now = time.time()
        rows = [
            (kind, path, stamp.size_bytes, stamp.mtime_ns, stamp.inode, data, now)
            for (kind, path), (stamp, data) in self._new.items()
        ]
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?, ?, ?)", rows
            )
            (n_rows,) = connection.execute("SELECT count(*) FROM facts").fetchone()
            if n_rows > MAX_ROWS:
                connection.execute(
                    "DELETE FROM facts WHERE (kind, path) IN"
                    " (SELECT kind, path FROM facts ORDER BY noted_at LIMIT ?)",
                    (n_rows // 2,),
                )

    def _give_up(self, error: sqlite3.Error) -> None:
        """Remember nothing from here on; a damaged file is made anew by the next who opens it."""
        logger.info("%s cannot be read: %s", self._path, error)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if self._path is not None and _is_damage(error):
            _remove(self._path)


def _open(path: Path) -> sqlite3.Connection | None:
    try:
        return _connect(path)
    except sqlite3.Error as error:
        if not _is_damage(error):
            logger.info("%s cannot be used: %s", path, error)
            return None
    except OSError as error:
        logger.info("%s cannot be made: %s", path, error)
        return None
    logger.warning("%s is damaged and made anew", path)
    try:
        _remove(path)
        return _connect(path)
    except (sqlite3.Error, OSError):
        return None


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Paths of a person's files are nobody else's business.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            connection.execute("DROP TABLE IF EXISTS facts")
            connection.execute(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        # A crash may damage the file, which costs no more than its removal.
        connection.execute("PRAGMA synchronous = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


def _remove(path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink()
