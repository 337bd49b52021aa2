"""Responses that a client asked to be kept, in one SQLite file that cannot grow without bound.

They hold prompts and answers, so the file is readable by its owner only, what is deleted is
overwritten, and age, number and size are limited. Calls block: the endpoints make them in a
thread. A file that cannot be read is set aside, never overwritten.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from luci_tui.errors import LuciError
from luci_tui.host.openai.strict import JsonObject

logger = logging.getLogger(__name__)

CACHE_KIB = 256
"""Pages of the file that a transaction keeps in memory."""
MAX_CHAIN = 1000
"""Responses that one conversation may be made of."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY,
    previous_id TEXT,
    created_at INTEGER NOT NULL,
    used_at REAL NOT NULL,
    size_bytes INTEGER NOT NULL,
    items TEXT NOT NULL,
    response TEXT NOT NULL,
    owner TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX IF NOT EXISTS responses_by_use ON responses (used_at);
CREATE INDEX IF NOT EXISTS responses_by_owner ON responses (owner, used_at, size_bytes);
PRAGMA user_version = 2;
"""
_VERSION = 2
_FROM_VERSION_1 = "ALTER TABLE responses ADD COLUMN owner TEXT NOT NULL DEFAULT ''"
FORGET_FAIRLY = """
DELETE FROM responses WHERE rowid IN (
    SELECT id FROM (
        SELECT id,
            row_number() OVER (ORDER BY own_place, used_at DESC, id DESC) AS place,
            sum(size_bytes) OVER (ORDER BY own_bytes, used_at DESC, id DESC) AS total
        FROM (
            SELECT rowid AS id, used_at, size_bytes,
                row_number() OVER newest AS own_place,
                sum(size_bytes) OVER newest AS own_bytes
            FROM responses
            WINDOW newest AS (PARTITION BY owner ORDER BY used_at DESC, rowid DESC)
        )
    ) WHERE place > ? OR total > ?
)
"""
"""What an owner used last counts first, and everybody's first before anybody's second: what lies
beyond a limit in that order goes. The index by owner has all that is read, so no text is."""
BUSY_S = 5.0
"""How long another process may hold the file."""


@dataclass(frozen=True)
class StoreLimits:
    """What is kept at most, over all owners.

    Beyond it the owner who has most gives way, with the response that it used longest ago: nobody
    who has less than an equal share loses anything to others.
    """

    n_responses: int = 10_000
    size_bytes: int = 256 * 1024 * 1024
    """Of items and responses; the file is a little larger."""
    age_s: float = 30 * 24 * 3600
    """Since the last use."""


@dataclass(frozen=True)
class StoredResponse:
    """One turn: what was sent, and what came of it."""

    id: str
    previous_id: str | None
    created_at: int
    items: list[JsonObject]
    """The input of this turn alone."""
    response: JsonObject
    owner: str = ""
    """Whose key asked for it, as `KeyRing.client_of` names it; "" = it was asked for without a key,
    and everybody may read it."""

    @property
    def output(self) -> list[JsonObject]:
        """The items that the model wrote."""
        return cast("list[JsonObject]", self.response["output"])


class BrokenChainError(LookupError):
    """A response of a conversation is no longer there.

    Args:
        missing_id: Which one.
    """

    def __init__(self, missing_id: str) -> None:
        super().__init__(missing_id)
        self.missing_id = missing_id


class ResponseStore:
    """Keeps responses in the file at `path`, which is made on the first use.

    Every method that looks for a response is told who asks, as `StoredResponse.owner` is; what
    belongs to another key is not there.

    Raises, from every method:
        LuciError: the file cannot be used; code "response_store".
    """

    def __init__(
        self,
        path: Path,
        limits: StoreLimits = StoreLimits(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._is_checked = False
        """The file was whole when it was first opened."""

    def put(self, stored: StoredResponse) -> None:
        """Keep a response, and forget what is too old or too much."""
        items = json.dumps(stored.items, ensure_ascii=False)
        response = json.dumps(stored.response, ensure_ascii=False)
        size_bytes = len(items.encode()) + len(response.encode())
        values = (stored.id, stored.previous_id, stored.created_at, self._clock(), size_bytes)
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, items, response, stored.owner),
            )
            self._forget(connection)

    def get(self, response_id: str, owner: str = "") -> StoredResponse | None:
        """Return a response, or None if there is no such one (any more)."""
        with self._transaction() as connection:
            self._forget(connection)
            return _read(connection, response_id, owner)

    def chain(self, response_id: str, owner: str = "") -> list[StoredResponse]:
        """Return the conversation that ends with a response, oldest turn first.

        Raises:
            BrokenChainError: one of them is not there, or they are more than MAX_CHAIN.
        """
        turns: list[StoredResponse] = []
        wanted: str | None = response_id
        with self._transaction() as connection:
            self._forget(connection)
            while wanted is not None:
                turn = _read(connection, wanted, owner) if len(turns) < MAX_CHAIN else None
                if turn is None:
                    raise BrokenChainError(wanted)
                turns.append(turn)
                wanted = turn.previous_id
            # A conversation that goes on stays whole.
            connection.executemany(
                "UPDATE responses SET used_at = ? WHERE id = ?",
                [(self._clock(), turn.id) for turn in turns],
            )
        turns.reverse()
        return turns

    def delete(self, response_id: str, owner: str = "") -> bool:
        """Forget a response; False = there was none."""
        with self._transaction() as connection:
            gone = connection.execute(
                "DELETE FROM responses WHERE id = ? AND owner IN ('', ?)", (response_id, owner)
            )
            return gone.rowcount > 0

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        """Open the file for one transaction.

        Closing it each time costs a moment, and leaves neither an open file nor a log with
        deleted text behind.
        """
        with self._lock:
            try:
                connection = self._open()
                try:
                    with connection:
                        yield connection
                finally:
                    connection.close()
            except (sqlite3.Error, OSError) as error:
                msg = (
                    f"The stored responses in {self._path} cannot be used ({error}). "
                    'Free some space, or send "store": false.'
                )
                raise LuciError(msg, code="response_store") from error

    def _open(self) -> sqlite3.Connection:
        if self._is_checked and self._path.exists():
            return _connect(self._path)
        connection = _open_checked(self._path)
        self._is_checked = True
        return connection

    def _forget(self, connection: sqlite3.Connection) -> None:
        oldest = self._clock() - self._limits.age_s
        connection.execute("DELETE FROM responses WHERE used_at < ?", (oldest,))
        n_kept, kept_bytes = cast(
            "tuple[int, int]",
            connection.execute("SELECT count(*), total(size_bytes) FROM responses").fetchone(),
        )
        limits = (self._limits.n_responses, self._limits.size_bytes)
        if n_kept > limits[0] or kept_bytes > limits[1]:
            connection.execute(FORGET_FAIRLY, limits)


def _open_checked(path: Path) -> sqlite3.Connection:
    """Make the file if need be; one that is broken is set aside."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    try:
        return _connect(path, is_first=True)
    except sqlite3.OperationalError:
        raise  # locked, full, read-only or of another version, but not broken
    except sqlite3.DatabaseError as error:
        aside = path.with_name(f"{path.name}.corrupt-{time.time_ns()}")
        path.rename(aside)
        for rest in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + rest).rename(aside.with_name(aside.name + rest))
        logger.warning("%s was no usable store (%s); it is kept as %s", path, error, aside)
        path.touch(mode=0o600)
        return _connect(path, is_first=True)


def _connect(path: Path, *, is_first: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S)
    try:
        connection.execute("PRAGMA secure_delete = ON")
        # SQLite's own 2 MB come and go with each transaction, and leave their holes in the heap.
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if is_first:
            _prepare(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = cast("tuple[int]", connection.execute("PRAGMA user_version").fetchone())
    if version not in (0, 1, _VERSION):
        msg = f"it has version {version} and this luci knows version {_VERSION}"
        raise sqlite3.OperationalError(msg)
    (state,) = cast("tuple[str]", connection.execute("PRAGMA quick_check(1)").fetchone())
    if state != "ok":
        raise sqlite3.DatabaseError(state)
    if version == 1:
        connection.execute(_FROM_VERSION_1)
    connection.executescript(_SCHEMA)


def _read(connection: sqlite3.Connection, response_id: str, owner: str) -> StoredResponse | None:
    row = connection.execute(
        "SELECT previous_id, created_at, items, response, owner FROM responses"
        " WHERE id = ? AND owner IN ('', ?)",
        (response_id, owner),
    ).fetchone()
    if row is None:
        return None
    previous_id, created_at, items, response, whose = cast(
        "tuple[str | None, int, str, str, str]", row
    )
    return StoredResponse(
        response_id, previous_id, created_at, json.loads(items), json.loads(response), whose
    )
