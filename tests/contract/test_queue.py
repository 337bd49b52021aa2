"""The queue of installs against a real hub: turns, pauses, limits, space."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from luci_tui.download import space
from luci_tui.download.queue import KEPT_ENDED, QueueOptions
from luci_tui.download.records import ItemState, Step
from luci_tui.errors import CatalogError, DownloadError
from tests.support.downloads import CONTENT, files_of
from tests.support.hub import Fault, running_hub
from tests.support.installs import Bench, FilesAlone, bench_at, queue_at

SLOW = QueueOptions(reserve_bytes=0, limit_bytes_per_s=2_000_000)
BIG = CONTENT * 4


def names(bench: Bench, state: ItemState) -> list[str]:
    return [item.plan.name for item in bench.queue.items if item.state is state]


async def test_install_runs_and_is_done_and_tells_each_change(tmp_path: Path) -> None:
    files = FilesAlone(tmp_path / "models")
    async with bench_at(tmp_path, installing=files) as bench:
        item, is_attached = await bench.queue.add(bench.offer(CONTENT))
        assert not is_attached
        done = await bench.until(item.id)
        assert done.state is ItemState.DONE
        assert (tmp_path / "models" / "model" / "model.gguf").read_bytes() == CONTENT
        assert [one.state for one in bench.changes if not one.fetched] == ["queued", "running"]
        ((name, (fetched,)),) = files.installed
        assert (name, fetched.size_bytes) == ("model", len(CONTENT))


async def test_all_files_of_a_model_are_one_item(tmp_path: Path) -> None:
    files = FilesAlone(tmp_path / "models")
    async with bench_at(tmp_path, installing=files) as bench:
        shards = [(f"{n}.gguf", bench.hub.add(CONTENT[n:], name=f"{n}.gguf")) for n in range(5)]
        item, _ = await bench.queue.add(bench.plan(*shards))
        done = await bench.until(item.id)
        assert len(done.fetched) == 5
        assert {status.step for status in bench.queue.status(done)} == {Step.FETCHED}


async def test_second_install_of_the_same_attaches_to_the_first(tmp_path: Path) -> None:
    async with bench_at(tmp_path, options=SLOW, installing=FilesAlone(tmp_path)) as bench:
        plan = bench.offer(CONTENT)
        first, second = await asyncio.gather(bench.queue.add(plan), bench.queue.add(plan))
        assert (first[0].id, second[0].id, second[1]) == (1, 1, True)
        await bench.until(1)
        assert len(bench.hub.asked) == 1


async def test_other_files_under_the_same_name_are_refused_while_the_first_runs(
    tmp_path: Path,
) -> None:
    async with bench_at(tmp_path, options=SLOW, installing=FilesAlone(tmp_path)) as bench:
        await bench.queue.add(bench.offer(CONTENT))
        with pytest.raises(DownloadError, match="luci downloads cancel 1") as caught:
            await bench.queue.add(bench.offer(CONTENT[1:]))
        assert caught.value.code == "busy"


async def test_pause_and_cancel_take_effect_at_once(tmp_path: Path) -> None:
    async with bench_at(tmp_path, options=SLOW, installing=FilesAlone(tmp_path / "m")) as bench:
        loop = asyncio.get_running_loop()
        item, _ = await bench.queue.add(bench.offer(BIG))
        await bench.until_received(item.id, 200_000)
        began_s = loop.time()
        assert (await bench.queue.pause(item.id)).state is ItemState.PAUSED
        await bench.until(item.id, lambda _: not bench.queue.is_busy)
        pause_s = loop.time() - began_s
        part = tmp_path / "m" / "model" / "model.gguf.part"
        kept_bytes = part.stat().st_size
        await bench.queue.resume(item.id)
        await bench.until_received(item.id, kept_bytes + 200_000)
        assert part.stat().st_size > kept_bytes
        began_s = loop.time()
        await bench.queue.cancel(item.id)
        await bench.until(item.id, lambda _: not (tmp_path / "m" / "model").exists())
        cancel_s = loop.time() - began_s
        # Of a busy machine more is allowed; a step that is waited for in vain takes far longer.
        assert pause_s < 0.5
        assert cancel_s < 0.5
        with pytest.raises(DownloadError, match="is cancelled already"):
            await bench.queue.resume(item.id)


async def test_paused_item_lets_the_next_one_have_its_turn(tmp_path: Path) -> None:
    options = QueueOptions(max_parallel=1, reserve_bytes=0, limit_bytes_per_s=2_000_000)
    async with bench_at(tmp_path, options=options, installing=FilesAlone(tmp_path)) as bench:
        first, _ = await bench.queue.add(bench.offer(BIG, "first"))
        second, _ = await bench.queue.add(bench.offer(CONTENT, "second"))
        assert bench.queue.get(second.id).state is ItemState.QUEUED
        await bench.until_received(first.id, 100_000)
        await bench.queue.pause(first.id)
        assert (await bench.until(second.id)).state is ItemState.DONE
        await bench.queue.set_limit(0)
        await bench.queue.resume(first.id)
        assert (await bench.until(first.id)).state is ItemState.DONE


async def test_item_that_is_moved_to_the_front_takes_the_place_of_the_last(tmp_path: Path) -> None:
    options = QueueOptions(max_parallel=1, reserve_bytes=0, limit_bytes_per_s=2_000_000)
    async with bench_at(tmp_path, options=options, installing=FilesAlone(tmp_path)) as bench:
        for name in ("a", "b", "c"):
            await bench.queue.add(bench.offer(BIG, name))
        await bench.until_received(1, 100_000)
        await bench.queue.move(3, "front")
        assert [item.plan.name for item in bench.queue.items] == ["c", "a", "b"]
        await bench.until_received(3, 100_000)
        assert names(bench, ItemState.RUNNING) == ["c"]
        for place, order in {"down": "acb", "last": "abc", "up": "acb"}.items():
            await bench.queue.move(3, place)  # type: ignore[arg-type]
            assert [item.plan.name for item in bench.queue.items] == list(order)
        await bench.queue.set_limit(0)
        for number in (1, 2, 3):
            assert (await bench.until(number)).state is ItemState.DONE
    # What was stopped for another went on where it was.
    assert bench.n_from_the_beginning() == 3


async def test_never_more_files_at_once_than_allowed(tmp_path: Path) -> None:
    options = QueueOptions(max_parallel=2, reserve_bytes=0, limit_bytes_per_s=6_000_000)
    async with bench_at(tmp_path, options=options, installing=FilesAlone(tmp_path)) as bench:
        for number in range(6):
            await bench.queue.add(bench.offer(CONTENT, f"m{number}"))
        most = 0

        def watch(_: object) -> bool:
            nonlocal most
            steps = [one.step for item in bench.queue.items for one in bench.queue.status(item)]
            most = max(most, steps.count(Step.DOWNLOADING))
            return all(item.state is ItemState.DONE for item in bench.queue.items)

        await bench.until(1, watch)
        assert 1 <= most <= 2


async def test_failed_item_says_why_and_goes_on_when_it_is_resumed(tmp_path: Path) -> None:
    async with bench_at(tmp_path, installing=FilesAlone(tmp_path)) as bench:
        plan = bench.offer(CONTENT, "model", Fault(drop_after=400_000))
        bench.hub.files["/org/repo/resolve/main/model.gguf"].forever = Fault(status=503)
        item, _ = await bench.queue.add(plan)
        failed = await bench.until(item.id)
        assert (failed.state, failed.error_code) == (ItemState.FAILED, "network")
        assert "the next try goes on from it" in failed.error
        bench.hub.files["/org/repo/resolve/main/model.gguf"].forever = None
        again, is_attached = await bench.queue.add(plan)
        assert (again.id, is_attached) == (item.id, True)
        assert (await bench.until(item.id)).state is ItemState.DONE
        assert bench.hub.sent_bytes <= len(CONTENT) + 100_000


async def test_one_shard_that_fails_stops_the_others_of_its_model(tmp_path: Path) -> None:
    async with bench_at(tmp_path, options=SLOW, installing=FilesAlone(tmp_path)) as bench:
        big = bench.hub.add(BIG, name="a.gguf")
        gone = bench.hub.add(CONTENT, Fault(status=404), name="b.gguf")
        item, _ = await bench.queue.add(bench.plan(("a.gguf", big), ("b.gguf", gone)))
        failed = await bench.until(item.id)
        assert failed.error_code == "not_found"
        await bench.until(item.id, lambda _: not bench.queue.is_busy)


async def test_queue_goes_on_after_its_process_is_gone(tmp_path: Path) -> None:
    async with running_hub() as hub:
        files = FilesAlone(tmp_path / "models")
        async with queue_at(hub, tmp_path, options=SLOW, installing=files) as bench:
            first, _ = await bench.queue.add(bench.offer(BIG, "first"))
            paused, _ = await bench.queue.add(bench.offer(CONTENT, "paused"))
            await bench.queue.pause(paused.id)
            await bench.queue.set_limit(3_000_000)
            await bench.until_received(first.id, 300_000)
        async with queue_at(hub, tmp_path, installing=files) as bench:
            assert bench.queue.limit_bytes_per_s == 3_000_000
            known = bench.queue.status(bench.queue.get(first.id))
            assert known[0].done_bytes >= 300_000
            assert (await bench.until(first.id)).state is ItemState.DONE
            assert bench.queue.get(paused.id).state is ItemState.PAUSED
        assert (bench.n_from_the_beginning(), len(hub.asked)) == (1, 2)


async def test_file_that_was_published_before_a_kill_is_taken_over_once_it_is_read(
    tmp_path: Path,
) -> None:
    async with bench_at(tmp_path, installing=FilesAlone(tmp_path / "models")) as bench:
        folder = tmp_path / "models" / "model"
        folder.mkdir(parents=True)
        (folder / "model.gguf").write_bytes(CONTENT)
        item, _ = await bench.queue.add(bench.offer(CONTENT))
        assert (await bench.until(item.id)).state is ItemState.DONE
        assert bench.hub.asked == []
        (folder / "model.gguf").write_bytes(CONTENT[:-1] + b"!")
        item, _ = await bench.queue.add(bench.offer(CONTENT))
        assert (await bench.until(item.id)).state is ItemState.DONE
        assert (folder / "model.gguf").read_bytes() == CONTENT
        assert len(bench.hub.asked) == 1


async def test_damaged_queue_file_is_set_aside_and_said(tmp_path: Path) -> None:
    async with running_hub() as hub:
        for text in ("", "{", '{"format": 2}', '{"items": [{"id": 1}]}'):
            (tmp_path / "downloads.json").write_text(text)
            bench_queue = queue_at(hub, tmp_path, installing=FilesAlone(tmp_path))
            with pytest.raises(AssertionError, match="set aside"):
                await bench_queue.__aenter__()
            assert any(".corrupt-" in name for name in files_of(tmp_path))


async def test_queue_file_that_cannot_be_read_stops_no_host(tmp_path: Path) -> None:
    # A folder in its place cannot be read by anybody, root included.
    (tmp_path / "downloads.json").mkdir()
    async with running_hub() as hub:
        with pytest.raises(AssertionError, match="set aside as "):
            await queue_at(hub, tmp_path, installing=FilesAlone(tmp_path)).__aenter__()
    assert files_of(tmp_path)[0].startswith("downloads.json.corrupt-")


async def test_token_is_asked_for_each_file_and_stands_in_no_file(tmp_path: Path) -> None:
    token = "hf_thisIsNoRealToken"
    async with bench_at(tmp_path, installing=FilesAlone(tmp_path), token=token) as bench:
        plan = bench.offer(CONTENT, "model", Fault(location="other"), Fault(drop_after=1000))
        bench.hub.files["/org/repo/resolve/main/model.gguf"].needs_token = token
        item, _ = await bench.queue.add(plan)
        assert (await bench.until(item.id)).state is ItemState.DONE
        assert bench.asked == [bench.hub.url_of()]
        sent = {one.origin: one.headers.get("authorization") for one in bench.hub.asked}
        assert sent["other"] is None
        assert sent["first"] == f"Bearer {token}"
    for name in files_of(tmp_path):
        path = tmp_path / name
        assert path.is_dir() or token.encode() not in path.read_bytes()
    assert (tmp_path / "downloads.json").stat().st_mode & 0o077 == 0


async def test_install_that_does_not_fit_is_refused_with_all_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = QueueOptions(reserve_bytes=1_000_000, limit_bytes_per_s=1_000_000)
    async with bench_at(tmp_path, options=options, installing=FilesAlone(tmp_path)) as bench:
        monkeypatch.setattr(space, "free_space", lambda _: 4_000_000)
        await bench.queue.add(bench.offer(BIG, "first"))
        with pytest.raises(DownloadError) as caught:
            await bench.queue.add(bench.offer(CONTENT, "second"))
        assert caught.value.code == "disk_space"
        for words in ("second needs 684 KiB", "for other downloads", "a reserve of", "3.81 MiB"):
            assert words in caught.value.message
        assert len(bench.queue.items) == 1
        await bench.queue.cancel(1)
        second, _ = await bench.queue.add(bench.offer(CONTENT, "second"))
        assert (await bench.until(second.id)).state is ItemState.DONE


async def test_install_that_no_longer_fits_when_its_turn_comes_fails_and_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = QueueOptions(max_parallel=1, reserve_bytes=1_000_000, limit_bytes_per_s=2_000_000)
    async with bench_at(tmp_path, options=options, installing=FilesAlone(tmp_path)) as bench:
        first, _ = await bench.queue.add(bench.offer(CONTENT, "first"))
        second, _ = await bench.queue.add(bench.offer(CONTENT, "second"))
        with monkeypatch.context() as patch:
            patch.setattr(space, "free_space", lambda _: 1_200_000)
            assert (await bench.until(first.id)).state is ItemState.DONE
            failed = await bench.until(second.id)
            assert (failed.state, failed.error_code) == (ItemState.FAILED, "disk_space")
            with pytest.raises(DownloadError, match="Make room"):
                await bench.queue.resume(second.id)
        await bench.queue.resume(second.id)
        assert (await bench.until(second.id)).state is ItemState.DONE


async def test_home_that_cannot_be_written_then_one_sentence(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    async with bench_at(home, installing=FilesAlone(home / "models")) as bench:
        # A file in place of a folder refuses root as well.
        home.rmdir()
        home.write_text("no folder")
        with pytest.raises(DownloadError, match="cannot be written") as caught:
            await bench.queue.add(bench.offer(CONTENT))
        assert caught.value.code == "disk"
        assert bench.queue.items == ()
        home.unlink()
        home.mkdir()


async def test_ten_at_once_share_the_limit(tmp_path: Path) -> None:
    options = QueueOptions(max_parallel=10, reserve_bytes=0, limit_bytes_per_s=3_500_000)
    async with bench_at(
        tmp_path, options=options, installing=FilesAlone(tmp_path), stall_s=20.0
    ) as bench:
        loop = asyncio.get_running_loop()
        plans = [bench.offer(CONTENT, f"m{number}") for number in range(10)]
        began_s = loop.time()
        for plan in plans:
            await bench.queue.add(plan)
        for number in range(1, 11):
            await bench.until(number)
        took_s = loop.time() - began_s
        rate = 10 * len(CONTENT) / took_s
        # More than the limit is never right; less may be the machine's.
        assert rate <= 3_500_000 * 1.05
        assert rate >= 3_500_000 * 0.5


async def test_limit_that_is_lifted_lets_go_at_once(tmp_path: Path) -> None:
    options = QueueOptions(reserve_bytes=0, limit_bytes_per_s=20_000)
    async with bench_at(tmp_path, options=options, installing=FilesAlone(tmp_path)) as bench:
        item, _ = await bench.queue.add(bench.offer(CONTENT))
        await bench.until(item.id, lambda _: bool(bench.hub.asked))
        assert await bench.queue.set_limit(0) == 0
        async with asyncio.timeout(10):
            assert (await bench.until(item.id)).state is ItemState.DONE
        assert await bench.queue.set_limit(None) == 20_000


async def test_ended_items_are_forgotten_one_day_and_numbers_never_come_again(
    tmp_path: Path,
) -> None:
    async with bench_at(tmp_path, installing=FilesAlone(tmp_path), options=SLOW) as bench:
        plan = bench.offer(BIG)
        for _ in range(KEPT_ENDED + 5):
            item, _ = await bench.queue.add(plan)
            await bench.queue.cancel(item.id)
        await bench.until(item.id, lambda _: not bench.queue.is_busy)
        assert len(bench.queue.items) <= KEPT_ENDED + 5
        stored = json.loads((tmp_path / "downloads.json").read_text())
        assert stored["next_id"] == KEPT_ENDED + 6
        with pytest.raises(CatalogError, match="There is no download 1\\."):
            bench.queue.get(1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_models_folder_without_permission_fails_and_can_be_resumed(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir(mode=0o500)
    async with bench_at(tmp_path, installing=FilesAlone(models)) as bench:
        item, _ = await bench.queue.add(bench.offer(CONTENT))
        assert (await bench.until(item.id)).error_code == "disk"
        models.chmod(0o700)
        await bench.queue.resume(item.id)
        assert (await bench.until(item.id)).state is ItemState.DONE
