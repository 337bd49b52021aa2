"""`LUCI_HOME/host.db`: what outlives the host, at present its jobs.

The connection belongs to one thread of its own, so no call blocks the event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from luci_tui.errors import ConfigError, HostError
from luci_tui.host.api.messages import ErrorBody, JobRecord, JobState, Progress

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 5.0
KEPT_JOBS = 1000
"""Ended jobs beyond this number are forgotten, the oldest first."""

T = TypeVar("T")

logger = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    state TEXT NOT NULL,
    spec TEXT NOT NULL,
    created_at REAL NOT NULL,
    ended_at REAL,
    progress TEXT,
    result TEXT,
    error TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
"""
_COLUMNS = "id, kind, title, state, created_at, ended_at, progress, result, error"


class JobTable:
    """The jobs on disk. Call `open` first and `close` last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="host-db")
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> tuple[str, ...]:
        """Open the file, marking what ran in another life as interrupted.

        Returns:
            Sentences for a person: a damaged file was set aside.

        Raises:
            ConfigError: the file is of a newer luci, or cannot be made.
        """
        return await self._run(self._open)

    async def add(self, kind: str, title: str, spec: str) -> JobRecord:
        """Note a job that begins now.

        Raises:
            HostError: it cannot be written, for example on a full disk.
        """
        return await self._run(lambda: self._add(kind, title, spec))

    async def save(self, record: JobRecord) -> None:
        """Note how a job stands; a disk that takes nothing is logged, the job goes on."""
        try:
            await self._run(lambda: self._save(record))
        except HostError as error:
            logger.error("job %s: %s", record.id, error.message)

    async def list(self, limit: int = 100) -> tuple[JobRecord, ...]:
        """Give the youngest jobs, the youngest first."""
        query = f"SELECT {_COLUMNS} FROM jobs ORDER BY id DESC LIMIT ?"
        return await self._run(lambda: self._select(query, limit))

    async def get(self, job_id: int) -> JobRecord | None:
        """Give one job; None = there is none with this id."""
        query = f"SELECT {_COLUMNS} FROM jobs WHERE id = ?"
        found = await self._run(lambda: self._select(query, job_id))
        return found[0] if found else None

    async def spec(self, job_id: int) -> str:
        """Give the specification of a job as JSON; "{}" = it had none, or there is no such job."""
        query = "SELECT spec FROM jobs WHERE id = ?"

        def select() -> str:
            with closing(self._living().execute(query, (job_id,))) as cursor:
                row = cursor.fetchone()
            return str(row[0]) if row else "{}"

        return await self._run(select)

    async def close(self) -> None:
        """Close the file; safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, connection.close)
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, call)
        except sqlite3.Error as error:
            msg = f"{self._path} cannot be read or written ({error}). Check the disk's free space."
            raise HostError(msg, code="database") from error

    def _open(self) -> tuple[str, ...]:
        notices: tuple[str, ...] = ()
        try:
            self._connection = self._connect()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            notices = (self._set_aside(error),)
            self._connection = self._connect()
        self._recover()
        return notices

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise ConfigError(
                    f"{self._path} was written by a newer luci (schema {version}, this one knows "
                    f"{SCHEMA_VERSION}). Use that one, or move the file away.",
                    code="database",
                )
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._path.chmod(0o600)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self, error: sqlite3.Error) -> str:
        """Move a damaged file out of the way and say so."""
        kept = self._path.with_name(f"{self._path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}")
        self._path.replace(kept)
        for suffix in ("-wal", "-shm"):
            side = self._path.with_name(self._path.name + suffix)
            if side.exists():
                side.replace(kept.with_name(kept.name + suffix))
        notice = (
            f"The list of jobs was damaged ({error}) and begins anew; the old file is {kept}. "
            "Chats and models are not in it."
        )
        logger.error("%s", notice)
        return notice

    def _recover(self) -> None:
        """No job of another process can still run: its host held the lock."""
        connection = self._living()
        connection.execute(
            "UPDATE jobs SET state = ?, ended_at = ? WHERE state = ?",
            (JobState.INTERRUPTED, time.time(), JobState.RUNNING),
        )
        connection.execute(
            "DELETE FROM jobs WHERE id <= (SELECT max(id) FROM jobs) - ?", (KEPT_JOBS,)
        )

    def _add(self, kind: str, title: str, spec: str) -> JobRecord:
        now = time.time()
        query = "INSERT INTO jobs (kind, title, state, spec, created_at) VALUES (?, ?, ?, ?, ?)"
        values = (kind, title, JobState.RUNNING, spec, now)
        with closing(self._living().execute(query, values)) as cursor:
            job_id = cursor.lastrowid
        return JobRecord(
            id=str(job_id), kind=kind, title=title, state=JobState.RUNNING, created_at=now
        )

    def _save(self, record: JobRecord) -> None:
        query = (
            "UPDATE jobs SET state = ?, ended_at = ?, progress = ?, result = ?, error = ? "
            "WHERE id = ?"
        )
        self._living().execute(
            query,
            (
                record.state,
                record.ended_at,
                record.progress.model_dump_json() if record.progress else None,
                json.dumps(record.result) if record.result is not None else None,
                record.error.model_dump_json() if record.error else None,
                int(record.id),
            ),
        )

    def _select(self, query: str, value: int) -> tuple[JobRecord, ...]:
        with closing(self._living().execute(query, (value,))) as cursor:
            return tuple(_record(row) for row in cursor)

    def _living(self) -> sqlite3.Connection:
        if self._connection is None:
            msg = "the job table is not open"
            raise RuntimeError(msg)
        return self._connection


def _is_damage(error: sqlite3.Error) -> bool:
    """Tell a damaged file from one that cannot be written; what has no code is of quick_check."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _record(row: tuple[object, ...]) -> JobRecord:
    job_id, kind, title, state, created_at, ended_at, progress, result, error = row
    return JobRecord.model_validate(
        {
            "id": str(job_id),
            "kind": kind,
            "title": title,
            "state": state,
            "created_at": created_at,
            "ended_at": ended_at,
            "progress": Progress.model_validate_json(str(progress)) if progress else None,
            "result": json.loads(str(result)) if result else None,
            "error": ErrorBody.model_validate_json(str(error)) if error else None,
        }
    )
