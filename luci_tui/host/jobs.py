"""Long work that belongs to the host, not to the front end that asked for it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from pydantic import JsonValue

from luci_tui.errors import CatalogError, HostError, LuciError
from luci_tui.host.api.messages import (
    ErrorBody,
    JobChanged,
    JobRecord,
    JobState,
    Progress,
    error_body,
)
from luci_tui.host.database import JobTable
from luci_tui.host.events import Entry, EventLog

RESUMING_KINDS = frozenset({"quantize"})
"""Kinds whose specification has `keep_finished`; others begin anew when they are resumed."""
KEPT_LOGS = 64
"""Logs of ended jobs that stay in memory, so that a front end may still read them."""

logger = logging.getLogger(__name__)

Result = dict[str, JsonValue]
"""What a job leaves behind, as JSON."""


@dataclass(frozen=True)
class Work:
    """One piece of work that is about to begin."""

    title: str
    """What it does, in words."""
    events: AsyncGenerator[Progress | Result]
    """Progress, then one result; closing it ends the work. A LuciError is a failed job."""


JobKind = Callable[[Mapping[str, JsonValue]], Work]
"""Makes the work from its specification; raises ConfigError for one that cannot be used."""


@dataclass
class _Running:
    record: JobRecord
    log: EventLog
    task: asyncio.Task[None]
    is_cancelled: bool = False
    is_ending: bool = False
    """Its work is over and its record is being written, which nothing may break off."""

    def cancel(self) -> None:
        """End the work, if it still goes on."""
        if not self.is_ending:
            self.task.cancel()


class Jobs:
    """Runs jobs, tells about them, keeps their records.

    Args:
        table: Where the records lie; opened and closed here.
        kinds: What can be asked for.
        max_running: Most jobs at the same time.
        on_change: Told of every job that begins or ends.
    """

    def __init__(
        self,
        table: JobTable,
        kinds: Mapping[str, JobKind],
        max_running: int,
        on_change: Callable[[JobChanged], None],
    ) -> None:
        self._table = table
        self._kinds = dict(kinds)
        self._max_running = max_running
        self._on_change = on_change
        self._running: dict[str, _Running] = {}
        self._ended: OrderedDict[str, EventLog] = OrderedDict()
        self._is_leaving = False

    async def open(self) -> tuple[str, ...]:
        """Read what is on disk; see `JobTable.open`."""
        return await self._table.open()

    @property
    def running(self) -> tuple[JobRecord, ...]:
        """Those that run, the youngest first."""
        return tuple(one.record for one in reversed(self._running.values()))

    async def start(self, kind: str, spec: Mapping[str, JsonValue]) -> JobRecord:
        """Begin a job and return its record at once.

        Raises:
            CatalogError: there is no such kind of job.
            ConfigError: the specification cannot be used.
            HostError: too many run, the host is leaving, or the record cannot be written.
        """
        if kind not in self._kinds:
            known = ", ".join(sorted(self._kinds))
            raise CatalogError(f"There is no job {kind}. Known are {known}.", code="unknown_job")
        work = self._kinds[kind](spec)
        return await self.run(kind, work, json_text(spec))

    async def resume(self, job_id: str) -> JobRecord:
        """Begin an ended job again as a new one, which keeps what the old one has finished.

        Raises:
            CatalogError: there is none with this id.
            HostError: it runs, is done, or is of a kind that has no specification; see `start`.
        """
        record = await self.get(job_id)
        if record.kind not in self._kinds or record.state in (JobState.RUNNING, JobState.DONE):
            is_known = record.kind in self._kinds
            why = f"is {record.state.value}" if is_known else f"did {record.kind}"
            msg = f"Job {record.id} {why}, so there is nothing to resume."
            raise HostError(msg, code="not_resumable")
        spec: dict[str, JsonValue] = json.loads(await self._table.spec(int(job_id)))
        if record.kind in RESUMING_KINDS:
            spec["keep_finished"] = True
        return await self.start(record.kind, spec)

    async def run(self, kind: str, work: Work, spec: str = "{}") -> JobRecord:
        """Begin work that is made already; see `start`."""
        if self._is_leaving or len(self._running) >= self._max_running:
            await work.events.aclose()
            raise self._refusal()
        record = await self._table.add(kind, work.title, spec)
        log = EventLog()
        task = asyncio.create_task(self._work(record.id, work), name=f"job {record.id}")
        self._running[record.id] = _Running(record, log, task)
        self._tell(record, log)
        logger.info("job %s begins: %s", record.id, record.title)
        await asyncio.sleep(0)  # a task that is cancelled before its first step never runs at all
        return record

    def _refusal(self) -> HostError:
        if self._is_leaving:
            return HostError("The host is leaving and begins no job. Try again.", code="leaving")
        return HostError(
            f"{len(self._running)} jobs run already, which is the most. Wait for one to end "
            "(`luci jobs list`), or raise max_jobs in config.toml.",
            code="busy",
        )

    async def list(self, limit: int = 100) -> tuple[JobRecord, ...]:
        """Give the youngest jobs, the youngest first."""
        records = await self._table.list(limit)
        return tuple(self._present(record) for record in records)

    async def get(self, job_id: str) -> JobRecord:
        """Give one job.

        Raises:
            CatalogError: there is none with this id.
        """
        record = await self._table.get(int(job_id)) if _is_id(job_id) else None
        if record is None:
            msg = f"There is no job {job_id[:20]}. `luci jobs list` shows them."
            raise CatalogError(msg, code="not_found")
        return self._present(record)

    async def events(self, job_id: str, after: int) -> AsyncGenerator[Entry]:
        """Give the events of a job from number `after` on; the last one says how it ended.

        Raises:
            CatalogError: there is none with this id.
        """
        log = self._log(job_id)
        if log is None:
            # Of another life: how it ended is all that is left.
            record = await self.get(job_id)
            log = EventLog(first_seq=after + 1)
            log.append(JobChanged(job=record))
            log.close()
        async with aclosing(log.subscribe(after)) as entries:
            async for entry in entries:
                yield entry

    async def cancel(self, job_id: str) -> JobRecord:
        """End a job, and return when it has ended; one that has ended already stays as it is.

        Raises:
            CatalogError: there is none with this id.
        """
        running = self._running.get(job_id)
        if running is not None:
            running.is_cancelled = True
            running.cancel()
            await asyncio.wait([running.task])
        return await self.get(job_id)

    async def drain(self, drain_s: float) -> None:
        """Begin nothing more, give what runs some time, and end the rest as interrupted."""
        self._is_leaving = True
        tasks = [one.task for one in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=drain_s)
            for late in self._running.values():
                late.cancel()
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """End what runs and close the table."""
        await self.drain(0)
        await self._table.close()

    def _log(self, job_id: str) -> EventLog | None:
        running = self._running.get(job_id)
        return running.log if running else self._ended.get(job_id)

    def _present(self, record: JobRecord) -> JobRecord:
        """Give the record as memory has it, where the job runs: progress is not written."""
        running = self._running.get(record.id)
        return running.record if running else record

    async def _work(self, job_id: str, work: Work) -> None:
        result: Result | None = None
        state, error = JobState.DONE, None
        try:
            async with aclosing(work.events) as events:
                async for event in events:
                    if isinstance(event, Progress):
                        self._note(job_id, event)
                    else:
                        result = event
        except LuciError as failure:
            state, error = JobState.FAILED, error_body(failure)
        except asyncio.CancelledError:
            is_cancelled = self._running[job_id].is_cancelled
            state = JobState.CANCELLED if is_cancelled else JobState.INTERRUPTED
        except Exception as failure:
            # One job that meets a mistake of ours must not end the host and the others.
            logger.exception("job %s met a mistake in luci", job_id)
            message = f"The job met a mistake in luci: {failure!r}. Report it with the host's log."
            state, error = JobState.FAILED, ErrorBody(code="internal", message=message)
        await self._end(job_id, state, result, error)

    def _note(self, job_id: str, progress: Progress) -> None:
        running = self._running[job_id]
        running.record = running.record.model_copy(update={"progress": progress})
        running.log.append(progress, replaces=True)

    async def _end(
        self, job_id: str, state: JobState, result: Result | None, error: ErrorBody | None
    ) -> None:
        running = self._running[job_id]
        running.is_ending = True
        record = running.record.model_copy(
            update={
                "state": state,
                "ended_at": time.time(),
                "result": result if state is JobState.DONE else None,
                "error": error,
            }
        )
        running.record = record
        await self._table.save(record)
        del self._running[job_id]
        self._ended[job_id] = running.log
        while len(self._ended) > KEPT_LOGS:
            self._ended.popitem(last=False)
        logger.info("job %s is %s", job_id, state)
        self._tell(record, running.log)
        running.log.close()

    def _tell(self, record: JobRecord, log: EventLog) -> None:
        changed = JobChanged(job=record)
        log.append(changed)
        self._on_change(changed)


def json_text(spec: Mapping[str, JsonValue]) -> str:
    """Write a specification as JSON."""
    return json.dumps(spec, ensure_ascii=False)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15
