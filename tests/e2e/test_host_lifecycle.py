from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import JsonValue

from luci_tui import paths
from luci_tui.errors import ConfigError, HostError
from luci_tui.host.api.messages import JobState
from luci_tui.host.client import HostClient
from luci_tui.host.lifecycle import ensure_host, find_host, stop_host, wait_gone
from luci_tui.host.process import EXIT_BUSY
from luci_tui.host.run_files import run_files
from tests.support.hosts import ECHO, end_host, launcher, pid_of, running_host

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the host needs unix sockets")

N_KILLS = 200


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


async def test_host_that_is_started_answers_and_is_found_again(home: Path) -> None:
    async with running_host(home) as client:
        hello = await client.hello()
        assert hello.is_idle
        assert hello.pid == pid_of(home) != os.getpid()
        again = await ensure_host(home, ECHO)
        assert (await again.hello()).pid == hello.pid
        await again.close()
        status = await client.status()
        assert status.home == str(home)
        assert status.idle_exit_in_s is not None
        assert (await client.metrics()).rss_bytes < 120 * 1024 * 1024


async def test_hosts_that_race_end_up_as_one(home: Path) -> None:
    clients = await asyncio.gather(*(ensure_host(home, ECHO) for _ in range(4)))
    try:
        hellos = await asyncio.gather(*(client.hello() for client in clients))
        assert len({hello.pid for hello in hellos}) == 1
    finally:
        await asyncio.gather(*(client.close() for client in clients))
        await end_host(home)


async def test_second_host_process_leaves_with_75(home: Path) -> None:
    async with running_host(home) as client:
        process = await asyncio.create_subprocess_exec(
            *ECHO.command, *ECHO.arguments, env=paths.environment_for(home)
        )
        assert await asyncio.wait_for(process.wait(), 30) == EXIT_BUSY
        assert (await client.hello()).pid == pid_of(home)


async def test_stop_ends_the_host_and_takes_its_files_away(home: Path) -> None:
    async with running_host(home):
        pid = pid_of(home)
        assert await stop_host(home) == pid
        assert await wait_gone(pid, 0)
        files = run_files(home)
        assert not files.socket.exists()
        assert not files.info.exists()
        assert await stop_host(home) is None
        assert await find_host(home) is None


async def test_host_that_was_killed_leaves_nothing_in_the_way(home: Path) -> None:
    async with running_host(home):
        first = pid_of(home)
        os.kill(first, signal.SIGKILL)
        assert await wait_gone(first, 20)
        assert run_files(home).socket.exists()
        assert await find_host(home) is None
        second = await ensure_host(home, ECHO)
        assert (await second.hello()).pid != first
        await second.close()


async def test_idle_host_leaves_by_itself(home: Path) -> None:
    async with running_host(home, launcher("--idle-exit-s", "0.3")) as client:
        pid = (await client.hello()).pid
        assert await wait_gone(pid, 30)
        assert not run_files(home).socket.exists()


async def test_host_with_an_attached_front_end_does_not_leave(home: Path) -> None:
    async with running_host(home, launcher("--idle-exit-s", "0.3")) as client:
        pid = (await client.hello()).pid
        attached = client.events()
        attaching = asyncio.ensure_future(anext(attached))
        async with asyncio.timeout(20):
            while not (await client.status()).n_clients:
                pass
        assert not await wait_gone(pid, 1.5)
        assert (await client.hello()).busy == ("1 open request",)
        attaching.cancel()
        await asyncio.wait([attaching])
        assert await wait_gone(pid, 30)


async def test_newer_front_end_replaces_an_idle_host(home: Path) -> None:
    async with running_host(home) as client:
        first = (await client.hello()).pid
        newer = await ensure_host(home, replace(ECHO, version="99.0"))
        assert (await newer.hello()).pid != first
        assert newer.notices == ["The idle host of luci 0.1.0 was replaced."]
        await newer.close()


async def test_newer_front_end_uses_a_busy_host_and_says_so(home: Path) -> None:
    async with running_host(home) as client, AsyncExitStack() as cleanup:
        attaching = asyncio.ensure_future(anext(client.events()))
        cleanup.callback(attaching.cancel)
        async with asyncio.timeout(20):
            while (await client.hello()).is_idle:
                pass
        newer = await ensure_host(home, replace(ECHO, version="99.0"))
        cleanup.push_async_callback(newer.close)
        assert (await newer.hello()).pid == (await client.hello()).pid
        (notice,) = newer.notices
        assert "is busy (1 open request)" in notice


async def test_older_front_end_uses_a_newer_host_and_says_so(home: Path) -> None:
    async with running_host(home) as client:
        older = await ensure_host(home, replace(ECHO, version="0.0.9"))
        assert (await older.hello()).pid == (await client.hello()).pid
        assert older.notices == ["The host is that of luci 0.1.0; this is luci 0.0.9."]
        await older.close()


async def test_signal_drains_and_leaves(home: Path) -> None:
    async with running_host(home):
        pid = pid_of(home)
        os.kill(pid, signal.SIGTERM)
        assert await wait_gone(pid, 30)
        assert not run_files(home).socket.exists()
        log = (home / "logs" / "host.log").read_text(encoding="utf-8")
        assert "asked to leave by SIGTERM" in log
        assert "the host has left" in log
        assert "Traceback" not in log


async def test_host_of_a_long_home_path_is_found(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    async with running_host(home) as client:
        assert (await client.hello()).pid == pid_of(home)
        assert len(os.fsencode(client.socket)) <= 100
        found = await find_host(home)
        assert found is not None
        await found.client.close()
        await client.stop()
        assert await wait_gone(found.hello.pid, 30)
        client.socket.parent.rmdir()


@pytest.mark.parametrize("name", ["home", "long" * 30])
async def test_host_whose_home_was_deleted_leaves_the_next_one_alone(
    tmp_path: Path, name: str
) -> None:
    home = tmp_path / name
    async with running_host(home):
        first = pid_of(home)
        shutil.rmtree(home)
        try:
            async with running_host(home) as client:
                second = (await client.hello()).pid
                os.kill(first, signal.SIGTERM)
                assert await wait_gone(first, 30)
                found = await find_host(home)
                assert found is not None
                assert found.hello.pid == second == pid_of(home) != first
                await found.client.close()
                await client.stop(0)
                assert await wait_gone(second, 30)
                assert not client.socket.exists()
        finally:
            with suppress(ProcessLookupError):
                os.kill(first, signal.SIGKILL)


async def test_host_whose_home_was_deleted_takes_its_socket_away(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    async with running_host(home) as client:
        pid = pid_of(home)
        shutil.rmtree(home)
        assert client.socket.exists()
        os.kill(pid, signal.SIGTERM)
        assert await wait_gone(pid, 30)
        assert not client.socket.exists()
        client.socket.parent.rmdir()


async def test_home_that_cannot_be_written_is_one_sentence() -> None:
    home = Path("/proc/luci")
    with pytest.raises(ConfigError, match="cannot be made") as caught:
        await ensure_host(home, ECHO)
    assert "\n" not in caught.value.message


@pytest.fixture
def home_with_broken_settings(home: Path) -> Path:
    home.mkdir()
    text = "[host]\nidle_exit_s = 'soon'\nmax_jobs = 3\n"
    (home / "config.toml").write_text(text, encoding="utf-8")
    return home


async def test_broken_settings_then_the_host_goes_by_the_rest_and_says_so(
    home_with_broken_settings: Path,
) -> None:
    async with running_host(home_with_broken_settings) as client:
        (notice,) = (await client.status()).notices
        in_use = await client.settings()
    assert "config.toml, line 2: host.idle_exit_s cannot be 'soon'" in notice
    assert in_use is not None
    assert (in_use.values["host"]["max_jobs"], in_use.values["host"]["drain_s"]) == (3, 10)
    assert in_use.options == {"host.idle_exit_s": "--idle-exit-s"}
    assert in_use.values["host"]["idle_exit_s"] == 60


async def test_host_that_dies_while_it_starts_is_told_with_its_last_words(home: Path) -> None:
    dying = replace(ECHO, command=(sys.executable, "-c", "import sys; sys.exit('no luck')"))
    with pytest.raises(HostError, match="ended while it started: no luck"):
        await ensure_host(home, dying)


async def test_host_that_hangs_is_ended_by_force_alone(home: Path) -> None:
    async with running_host(home) as client:
        pid = (await client.hello()).pid
        files = run_files(home)
        files.socket.unlink()  # it lives and cannot be reached any more
        with pytest.raises(HostError, match="has the host's lock and does not answer"):
            await stop_host(home)
        assert await stop_host(home, force=True) == pid
        assert await wait_gone(pid, 20)


@pytest.mark.slow
async def test_hosts_killed_at_random_moments_never_stand_in_the_way(home: Path) -> None:
    chance = random.Random(7)
    try:
        for _ in range(N_KILLS):
            client = await ensure_host(home, ECHO)
            working = asyncio.create_task(begin_bad_jobs(client))
            await asyncio.sleep(chance.uniform(0, 0.2))
            os.kill(pid_of(home), signal.SIGKILL)
            await working
            await client.close()
        last = await ensure_host(home, ECHO)
        jobs = await last.jobs()
        assert jobs
        assert {job.state for job in jobs} <= {JobState.FAILED, JobState.INTERRUPTED}
        assert (await last.status()).notices == ()
        await last.close()
    finally:
        await end_host(home)


async def begin_bad_jobs(client: HostClient) -> None:
    """Have the host write as long as it lives: jobs that fail at once."""
    spec: dict[str, JsonValue] = {"model": "/no/model", "text": "/no/text", "output": "/no/out"}
    with suppress(HostError):
        while True:
            try:
                await client.start_job("imatrix", spec)
            except HostError as error:
                if error.code != "busy":
                    raise
