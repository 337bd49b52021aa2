from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from luci_tui.errors import CatalogError, ConfigError, EngineError, HostError
from luci_tui.host.api.messages import JobChanged, JobState, Progress, job_event_adapter
from luci_tui.host.database import JobTable
from luci_tui.host.jobs import Jobs, Result, Work


class Bench:
    """Jobs over a real table, with kinds that do what a test says."""

    def __init__(self, path: Path) -> None:
        self.go_on = asyncio.Event()
        self.changes: list[JobChanged] = []
        kinds = {"count": self.count, "fail": self.fail, "break": self.break_}
        self.jobs = Jobs(JobTable(path), kinds, 2, self.changes.append)

    def count(self, spec: object) -> Work:
        return Work("count to two", self._count(spec))

    async def _count(self, spec: object) -> AsyncGenerator[Progress | Result]:
        yield Progress(n_done=1, n_total=2)
        await self.go_on.wait()
        yield Progress(n_done=2, n_total=2)
        yield {"counted": 2, "spec": spec}  # pyright: ignore[reportReturnType]

    def fail(self, _: object) -> Work:
        return Work("fail", self._raise(EngineError("The disk is full.", code="disk_full")))

    def break_(self, _: object) -> Work:
        return Work("break", self._raise(ZeroDivisionError("division by zero")))

    async def _raise(self, error: Exception) -> AsyncGenerator[Progress | Result]:
        yield Progress()
        raise error

    async def follow(self, job_id: str, after: int = 0) -> list[object]:
        async with asyncio.timeout(10):
            return [
                job_event_adapter.validate_json(entry.data)
                async for entry in self.jobs.events(job_id, after)
            ]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "host.db")
    await made.jobs.open()
    yield made
    await made.jobs.close()


async def test_job_tells_its_start_its_progress_and_its_end(bench: Bench) -> None:
    job = await bench.jobs.start("count", {"name": "é"})
    assert job.state is JobState.RUNNING
    bench.go_on.set()
    first, *_, last = await bench.follow(job.id)
    assert isinstance(first, JobChanged)
    assert isinstance(last, JobChanged)
    assert last.job.state is JobState.DONE
    assert last.job.result == {"counted": 2, "spec": {"name": "é"}}
    assert await bench.jobs.get(job.id) == last.job
    assert [change.job.state for change in bench.changes] == [JobState.RUNNING, JobState.DONE]


async def test_job_that_runs_shows_its_progress(bench: Bench) -> None:
    job = await bench.jobs.start("count", {})
    await bench.jobs.events(job.id, after=1).asend(None)
    (listed,) = await bench.jobs.list()
    assert listed.progress == Progress(n_done=1, n_total=2)
    assert bench.jobs.running == (listed,)


async def test_job_that_fails_keeps_the_error(bench: Bench) -> None:
    job = await bench.jobs.start("fail", {})
    await bench.follow(job.id)
    ended = await bench.jobs.get(job.id)
    assert ended.state is JobState.FAILED
    assert ended.error is not None
    assert (ended.error.code, ended.error.type) == ("disk_full", "EngineError")


async def test_job_that_meets_a_mistake_of_ours_ends_alone(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    other = await bench.jobs.start("count", {})
    job = await bench.jobs.start("break", {})
    await bench.follow(job.id)
    ended = await bench.jobs.get(job.id)
    assert ended.error is not None
    assert ended.error.code == "internal"
    assert "ZeroDivisionError" in caplog.text
    assert (await bench.jobs.get(other.id)).state is JobState.RUNNING


async def test_job_that_is_cancelled_is_so_when_cancel_returns(bench: Bench) -> None:
    job = await bench.jobs.start("count", {})
    assert (await bench.jobs.cancel(job.id)).state is JobState.CANCELLED
    assert (await bench.jobs.cancel(job.id)).state is JobState.CANCELLED
    assert bench.jobs.running == ()


async def test_job_that_was_cancelled_begins_again_with_its_specification(bench: Bench) -> None:
    job = await bench.jobs.start("count", {"name": "é"})
    with pytest.raises(HostError, match="is running, so there is nothing to resume"):
        await bench.jobs.resume(job.id)
    await bench.jobs.cancel(job.id)
    bench.go_on.set()
    again = await bench.jobs.resume(job.id)
    assert again.id != job.id
    await bench.follow(again.id)
    ended = await bench.jobs.get(again.id)
    assert ended.result == {"counted": 2, "spec": {"name": "é"}}
    with pytest.raises(HostError, match="is done") as caught:
        await bench.jobs.resume(again.id)
    assert caught.value.code == "not_resumable"


async def test_job_of_a_kind_without_specification_is_not_resumed(bench: Bench) -> None:
    work = Work("load", bench.fail({}).events)
    job = await bench.jobs.run("load", work)
    await bench.follow(job.id)
    with pytest.raises(HostError, match="did load, so there is nothing to resume"):
        await bench.jobs.resume(job.id)


async def test_jobs_beyond_the_most_are_refused(bench: Bench) -> None:
    for _ in range(2):
        await bench.jobs.start("count", {})
    with pytest.raises(HostError, match="2 jobs run already") as caught:
        await bench.jobs.start("count", {})
    assert caught.value.code == "busy"


async def test_job_of_an_unknown_kind_is_refused(bench: Bench) -> None:
    with pytest.raises(CatalogError, match=r"no job dance\. Known are break, count, fail"):
        await bench.jobs.start("dance", {})


@pytest.mark.parametrize("job_id", ["99", "", "x", "-1", "9" * 30, "1; DROP TABLE jobs"])
async def test_job_that_is_not_there_is_not_found(bench: Bench, job_id: str) -> None:
    with pytest.raises(CatalogError, match="There is no job"):
        await bench.jobs.get(job_id)


async def test_jobs_that_ran_when_the_host_left_are_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "host.db"
    first = Bench(path)
    await first.jobs.open()
    left = await first.jobs.start("count", {})
    await first.jobs.close()
    # As after kill -9: the row still says that it runs.
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE jobs SET state = 'running', ended_at = NULL")
    connection.close()
    second = Bench(path)
    await second.jobs.open()
    record = await second.jobs.get(left.id)
    assert record.state is JobState.INTERRUPTED
    assert record.ended_at is not None
    (told,) = await second.follow(left.id, after=40)
    assert told == JobChanged(job=record)
    await second.jobs.close()


async def test_drain_gives_time_and_then_interrupts(bench: Bench) -> None:
    job = await bench.jobs.start("count", {})
    await bench.jobs.drain(0.05)
    assert (await bench.jobs.get(job.id)).state is JobState.INTERRUPTED
    with pytest.raises(HostError, match="leaving"):
        await bench.jobs.start("count", {})


def kept_files(folder: Path) -> int:
    return len(list(folder.glob("host.db.corrupt-*")))


async def test_table_that_is_damaged_is_set_aside_and_explained(tmp_path: Path) -> None:
    path = tmp_path / "host.db"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    bench = Bench(path)
    (notice,) = await bench.jobs.open()
    assert "was damaged" in notice
    assert kept_files(tmp_path) == 1
    bench.go_on.set()
    job = await bench.jobs.start("count", {})
    assert job.id == "1"
    await bench.jobs.close()


async def test_table_of_a_newer_luci_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "host.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="newer luci"):
        await Bench(path).jobs.open()
    assert kept_files(tmp_path) == 0


async def test_table_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"missing/host.db cannot be read or written"):
        await Bench(tmp_path / "missing" / "host.db").jobs.open()
