"""Downloads that are broken off, by whom or what ever, and go on."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from luci_tui.download import part as part_module
from luci_tui.download.messages import MoveProgress, Phase
from luci_tui.download.pace import Limiter
from luci_tui.download.part import discard, open_part, part_paths
from luci_tui.errors import DownloadError
from tests.support.downloads import CONTENT, fetch, files_of, quick, served, wanted_of
from tests.support.hub import Fault

BIG = CONTENT * 6


async def cancelled_at(wanted: Any, n_bytes: int, limiter: Limiter) -> None:
    """Cancel a download when it has so many bytes."""
    is_there = asyncio.Event()

    def report(progress: MoveProgress) -> None:
        if progress.done_bytes >= n_bytes:
            is_there.set()

    task = asyncio.create_task(fetch(wanted, quick(limiter=limiter), report))
    await asyncio.wait_for(is_there.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_download_goes_on_where_it_was(tmp_path: Path) -> None:
    async with served(content=BIG) as (hub, file):
        wanted = wanted_of(hub, file, tmp_path)
        await cancelled_at(wanted, 2_000_000, Limiter(4_000_000))
        assert files_of(tmp_path) == ["model.gguf.part", "model.gguf.part.json"]
        kept_bytes = part_paths(wanted.destination)[0].stat().st_size
        assert kept_bytes >= 2_000_000
        phases: list[Phase] = []
        moved = await fetch(wanted, report=lambda progress: phases.append(progress.phase))
        assert moved.received_bytes == len(BIG) - kept_bytes
        assert wanted.destination.read_bytes() == BIG
        assert Phase.REHASHING in phases
        assert files_of(tmp_path) == ["model.gguf"]


async def test_part_of_another_content_is_thrown_away(tmp_path: Path) -> None:
    async with served(content=BIG) as (hub, file):
        wanted = wanted_of(hub, file, tmp_path)
        await cancelled_at(wanted, 2_000_000, Limiter(4_000_000))
        file.content = CONTENT
        moved = await fetch(wanted_of(hub, file, tmp_path))
        assert moved.received_bytes == len(CONTENT)
        assert wanted.destination.read_bytes() == CONTENT


async def test_part_without_a_sum_goes_on_only_with_the_same_etag(tmp_path: Path) -> None:
    async with served(content=BIG) as (hub, file):
        wanted = wanted_of(hub, file, tmp_path, sha256="", size_bytes=None)
        await cancelled_at(wanted, 2_000_000, Limiter(4_000_000))
        assert (await fetch(wanted)).received_bytes < len(BIG)
        wanted.destination.unlink()
        await cancelled_at(wanted, 2_000_000, Limiter(4_000_000))
        file.content = BIG[::-1]
        await fetch(wanted)
        assert wanted.destination.read_bytes() == BIG[::-1]


async def test_part_after_a_loss_of_power_is_trusted_as_far_as_it_was_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(content=BIG) as (hub, file):
        wanted = wanted_of(hub, file, tmp_path)
        part = open_part(wanted)
        part.append([BIG[:1_000_000]])
        part.sync()
        part.append([b"never on the disk"])
        monkeypatch.setattr(part_module, "boot_id", lambda: "another start of the machine")
        os.close(part._fd)  # the process is gone without a word
        moved = await fetch(wanted)
        assert moved.received_bytes == len(BIG) - 1_000_000
        assert wanted.destination.read_bytes() == BIG


async def test_broken_state_file_then_the_part_is_fetched_again(tmp_path: Path) -> None:
    async with served() as (hub, file):
        wanted = wanted_of(hub, file, tmp_path)
        part, state = part_paths(wanted.destination)
        part.write_bytes(CONTENT[:1000])
        for text in ("", "{", "[]", '{"url": 5}'):
            state.write_text(text)
            assert (await fetch(wanted)).received_bytes == len(CONTENT)
            wanted.destination.rename(part)
            wanted.destination.unlink(missing_ok=True)


async def test_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    async with served(Fault(flip_at=5), content=CONTENT) as (hub, file):
        wanted = wanted_of(hub, file, tmp_path)
        wanted.destination.write_bytes(b"the old model")
        with pytest.raises(DownloadError, match="sha256"):
            await fetch(wanted)
        assert wanted.destination.read_bytes() == b"the old model"
        await fetch(wanted)
        assert wanted.destination.read_bytes() == CONTENT


async def test_two_at_once_then_the_second_is_told(tmp_path: Path) -> None:
    async with served(content=BIG) as (hub, file):
        wanted = wanted_of(hub, file, tmp_path)
        is_there = asyncio.Event()
        options = quick(limiter=Limiter(6_000_000))
        first = asyncio.create_task(fetch(wanted, options, lambda _: is_there.set()))
        await asyncio.wait_for(is_there.wait(), 20)
        with pytest.raises(DownloadError, match="another process") as caught:
            await fetch(wanted)
        assert caught.value.code == "busy"
        await first
        assert wanted.destination.read_bytes() == BIG


async def test_full_disk_then_the_part_stays_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    write = os.write

    def full(fd: int, data: memoryview) -> int:
        nonlocal written
        if written + len(data) > 1_500_000 and len(data) > 1000:
            raise OSError(errno.ENOSPC, "No space left on device")
        written += len(data)
        return write(fd, data)

    async with served(content=BIG) as (hub, file):
        wanted = wanted_of(hub, file, tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(part_module.os, "write", full)
            with pytest.raises(DownloadError, match="disk is full") as caught:
                await fetch(wanted)
        assert caught.value.code == "disk_full"
        assert (await fetch(wanted)).received_bytes < len(BIG)
        assert wanted.destination.read_bytes() == BIG


async def test_folder_that_cannot_be_written_then_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    async with served() as (hub, file):
        wanted = wanted_of(hub, file, tmp_path / "file")
        with pytest.raises(DownloadError, match=r"cannot be opened") as caught:
            await fetch(wanted)
        assert caught.value.code == "disk"
        assert hub.asked == []


async def test_check_that_refuses_then_nothing_is_published(tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        assert path.read_bytes() == CONTENT
        msg = "It is no model. Choose another one."
        raise DownloadError(msg, code="invalid_model")

    async with served() as (hub, file):
        wanted = wanted_of(hub, file, tmp_path)
        with pytest.raises(DownloadError, match="no model"):
            await fetch(wanted, quick(check=refuse))
        assert not wanted.destination.exists()
        discard(wanted.destination)
        assert files_of(tmp_path) == []


async def test_limit_holds_for_all_downloads_together(tmp_path: Path) -> None:
    limiter = Limiter(4_000_000)
    loop = asyncio.get_running_loop()
    async with served(content=CONTENT) as (hub, file):
        for number in range(10):
            hub.files[f"/org/repo/resolve/main/{number}.gguf"] = file
        started = loop.time()
        await asyncio.gather(
            *[
                fetch(
                    wanted_of(
                        hub,
                        file,
                        tmp_path,
                        url=hub.url_of(f"{number}.gguf"),
                        destination=tmp_path / f"{number}.gguf",
                    ),
                    quick(limiter=limiter),
                )
                for number in range(10)
            ]
        )
        took_s = loop.time() - started
    # 7 MB at 4 MB/s. How much longer it takes says something of the machine, not of the limit.
    assert took_s >= 10 * len(CONTENT) / 4_000_000 * 0.95
