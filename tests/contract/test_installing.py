"""From files that have arrived to a model in use: validated, belonging together, whole or not."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from luci_tui.download.plan import Plan
from luci_tui.download.queue import QueueOptions
from luci_tui.download.records import ItemState, QueueItem
from luci_tui.errors import CatalogError, EngineError
from luci_tui.gguf.findings import FileReport
from luci_tui.library import manifest as manifest_module
from luci_tui.library.garbage import find_garbage, remove_garbage, uninstall
from luci_tui.library.installing import Installer, installed_already, validator
from luci_tui.library.manifest import Manifest, model_folder, read_manifest
from tests.support import raw_gguf as raw
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.downloads import CONTENT, files_of
from tests.support.hub import Fault
from tests.support.installs import Bench, bench_at, validate_here
from tests.support.projectors import TinyProjector, write_projector
from tests.support.split_model import shards

pytestmark = pytest.mark.native

GOOD = raw.good_model().build()
OTHER = raw.good_model().with_entry("general.name", raw.STRING, raw.text("other")).build()
SLOW = QueueOptions(reserve_bytes=0, limit_bytes_per_s=100_000)


def manifest_of(home: Path, name: str = "model") -> Manifest | None:
    return read_manifest(model_folder(home / "models", name))


async def settled(bench: Bench, plan: Plan) -> QueueItem:
    item, _ = await bench.queue.add(plan)
    return await bench.until(item.id)


async def test_good_file_is_installed_with_a_manifest_and_nothing_else(tmp_path: Path) -> None:
    async with bench_at(tmp_path) as bench:
        plan = bench.offer(GOOD)
        assert (await settled(bench, plan)).state is ItemState.DONE
        manifest = manifest_of(tmp_path)
        assert manifest is not None
        assert (manifest.version, manifest.files[0].was_promised) == (plan.version, True)
        folder = model_folder(tmp_path / "models", "model")
        assert files_of(folder) == sorted(["model.json", plan.version])
        assert files_of(folder / plan.version) == ["model.gguf"]
        assert installed_already(tmp_path / "models", plan) == manifest
        assert find_garbage(tmp_path / "models", ()) == ()


async def test_validator_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "good.gguf").write_bytes(GOOD)
    (tmp_path / "bad.gguf").write_bytes(GOOD[:-5000])
    check = validator(tmp_path / "jobs.log")
    good, bad = await check((tmp_path / "good.gguf", tmp_path / "bad.gguf"))
    assert good.first_error is None
    assert bad.first_error is not None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (GOOD[:-5000], "S21"),
        (b"<!DOCTYPE html><html>", "Rule"),
        (b"", "Rule"),
        (raw.good_projector().build(), "is a projector and no model"),
        (raw.good_lora().build(), "is a LoRA adapter and no model"),
        (raw.good_imatrix().build(), "is an importance matrix and no model"),
    ],
    ids=["truncated", "html", "empty", "projector", "adapter", "imatrix"],
)
async def test_file_that_is_no_model_is_never_in_use(
    content: bytes, says: str, tmp_path: Path
) -> None:
    async with bench_at(tmp_path) as bench:
        assert (await settled(bench, bench.offer(GOOD))).state is ItemState.DONE
        before = manifest_of(tmp_path)
        failed = await settled(bench, bench.offer(content))
        assert (failed.state, failed.error_code) == (ItemState.FAILED, "rejected")
        assert says in failed.error
        assert manifest_of(tmp_path) == before


async def test_rejected_file_without_a_promised_sum_is_fetched_again(tmp_path: Path) -> None:
    async with bench_at(tmp_path) as bench:
        plan = bench.offer(GOOD[:-5000])
        (file,) = plan.files
        unknown = {"sha256": "", "size_bytes": None}
        plan = plan.model_copy(update={"files": (file.model_copy(update=unknown),)})
        failed = await settled(bench, plan)
        assert failed.error_code == "rejected"
        bench.hub.files["/org/repo/resolve/main/model.gguf"].content = GOOD
        await bench.queue.resume(failed.id)
        assert (await bench.until(failed.id)).state is ItemState.DONE


def split_plan(bench: Bench, *, change: Callable[[list[bytes]], list[bytes]], name: str) -> Plan:
    contents = change([part.build() for part in shards(3)])
    names = [f"model-{n + 1:05}-of-00003.gguf" for n in range(3)]
    return bench.plan(
        *[
            (file_name, bench.hub.add(content, name=file_name))
            for file_name, content in zip(names, contents, strict=False)
        ],
        name=name,
    )


def foreign(contents: list[bytes]) -> list[bytes]:
    renamed = shards(3)[1].with_tensor("blk.0.ffn_norm.weight", name=b"blk.0.ffn_mist.weight")
    parts = [part.build() for part in (shards(2)[1], renamed)]
    assert len({*parts, *contents}) == 5
    return [contents[0], parts[0], contents[2]]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda found: found, ""),
        (lambda found: found[:2], "rejected"),
        (foreign, "rejected"),
        (lambda found: [found[0], found[2], found[1]], "rejected"),
        (lambda found: [found[0], found[1], found[1]], "rejected"),
        (lambda _: [GOOD, GOOD[:-32], GOOD], "rejected"),
    ],
    ids=["whole", "one missing", "one foreign", "swapped", "one twice", "no set at all"],
)
async def test_split_set_is_installed_only_if_it_is_one(
    change: Any, code: str, tmp_path: Path
) -> None:
    async with bench_at(tmp_path) as bench:
        ended = await settled(bench, split_plan(bench, change=change, name="model"))
        assert ended.error_code == code, ended.error
        assert (manifest_of(tmp_path) is not None) == (not code)


@pytest.mark.parametrize(
    ("n_embd", "kind", "is_right"),
    [(64, TinyProjector.LLAVA, True), (96, TinyProjector.LLAVA, False), (96, None, False)],
    ids=["its own", "of another model", "no projector"],
)
async def test_projector_has_to_belong_to_its_model(
    n_embd: int, kind: TinyProjector | None, is_right: bool, tmp_path: Path
) -> None:
    async with bench_at(tmp_path / "home") as bench:
        model = write_arch_model(TinyArch.LLAMA, tmp_path / "model.gguf")
        projector = model
        if kind is not None:
            projector = write_projector(kind, tmp_path / "mmproj.gguf", n_embd_text=n_embd)
        plan = bench.plan(
            ("model.gguf", bench.hub.add(model.read_bytes())),
            ("mmproj.gguf", bench.hub.add(projector.read_bytes(), name="mmproj.gguf")),
        )
        ended = await settled(bench, plan)
        assert (ended.state is ItemState.DONE) == is_right, ended.error
        assert is_right or ended.error_code == "rejected"


async def test_projector_that_names_another_width_but_puts_out_the_right_one_belongs(
    tmp_path: Path,
) -> None:
    projector = raw.good_projector().with_entry(
        "clip.vision.projection_dim", raw.U32, raw.scalar(raw.U32, 768)
    )
    own = projector.plus_tensor(raw.RawTensor(b"mm.2.weight", (64, raw.N_EMBD)))
    async with bench_at(tmp_path) as bench:
        for content, state in ((own, ItemState.DONE), (projector, ItemState.FAILED)):
            plan = bench.plan(
                ("model.gguf", bench.hub.add(GOOD)),
                ("mmproj.gguf", bench.hub.add(content.build(), name="mmproj.gguf")),
                name=f"model-{state.value}",
            )
            assert (await settled(bench, plan)).state is state


async def test_update_replaces_the_old_version_and_takes_it_away(tmp_path: Path) -> None:
    async with bench_at(tmp_path) as bench:
        first = bench.offer(GOOD)
        await settled(bench, first)
        second = bench.offer(OTHER)
        assert first.version != second.version
        assert (await settled(bench, second)).state is ItemState.DONE
        folder = model_folder(tmp_path / "models", "model")
        assert files_of(folder) == sorted(["model.json", second.version])


async def test_old_version_that_is_in_use_stays_until_it_is_swept(tmp_path: Path) -> None:
    models = tmp_path / "models"
    told: list[tuple[str, bool]] = []
    installer = Installer(
        models, validate_here, lambda _: True, lambda name, enabled: told.append((name, enabled))
    )
    async with bench_at(tmp_path, installing=installer) as bench:
        first, second = bench.offer(GOOD), bench.offer(OTHER)
        bench.offer(GOOD)
        await settled(bench, first)
        bench.offer(OTHER)
        await settled(bench, second)
        assert told == [("model", True)]
        (garbage,) = find_garbage(models, ())
        assert garbage.path.name == first.version
        assert remove_garbage([garbage]) == len(GOOD)
        assert find_garbage(models, ()) == ()
        assert installed_already(models, second) is not None


async def test_cancelled_update_leaves_the_old_version(tmp_path: Path) -> None:
    async with bench_at(tmp_path) as bench:
        await settled(bench, bench.offer(GOOD))
        before = manifest_of(tmp_path)
        held = Fault(stall_after=len(OTHER) // 2)
        item, _ = await bench.queue.add(bench.offer(OTHER, "model", held))
        await bench.until_received(item.id, 1)
        await bench.queue.cancel(item.id)
        folder = model_folder(tmp_path / "models", "model")
        await bench.until(item.id, lambda _: len(files_of(folder)) == 2)
        assert manifest_of(tmp_path) == before


async def test_cancelled_repair_takes_nothing_of_the_version_in_use(tmp_path: Path) -> None:
    async with bench_at(tmp_path) as bench:
        plan = bench.offer(GOOD)
        await settled(bench, plan)
        bench.installing.discard(plan)
        assert installed_already(tmp_path / "models", plan) is not None


async def test_cancel_while_files_are_checked_ends_the_check(tmp_path: Path) -> None:
    is_checking = asyncio.Event()

    async def never(paths: tuple[Path, ...]) -> tuple[FileReport, ...]:
        del paths
        is_checking.set()
        await asyncio.Event().wait()
        raise AssertionError

    models = tmp_path / "models"
    installer = Installer(models, never, lambda _: False, lambda *_: None)
    async with bench_at(tmp_path, installing=installer) as bench:
        item, _ = await bench.queue.add(bench.offer(GOOD))
        await asyncio.wait_for(is_checking.wait(), 20)
        assert (await bench.queue.cancel(item.id)).state is ItemState.CANCELLED
        await bench.until(item.id, lambda _: not (models / "installed" / "model").exists())


async def test_cancel_that_comes_after_the_manifest_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench_at(tmp_path) as bench:
        loop = asyncio.get_running_loop()
        is_writing = asyncio.Event()
        go_on = asyncio.Event()
        write = manifest_module.write_manifest

        async def wait() -> None:
            is_writing.set()
            await go_on.wait()

        def slow(*arguments: Any) -> Manifest:
            asyncio.run_coroutine_threadsafe(wait(), loop).result(20)
            return write(*arguments)

        monkeypatch.setattr("luci_tui.library.installing.write_manifest", slow)
        item, _ = await bench.queue.add(bench.offer(GOOD))
        await asyncio.wait_for(is_writing.wait(), 20)
        cancelling = asyncio.create_task(bench.queue.cancel(item.id))
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(Exception, match="is done already"):
            await cancelling
        assert manifest_of(tmp_path) is not None


async def test_validator_that_cannot_run_fails_the_install_and_the_next_try_works(
    tmp_path: Path,
) -> None:
    fails = True

    async def check(paths: tuple[Path, ...]) -> tuple[FileReport, ...]:
        if fails:
            msg = "The process for the validate job cannot be started. Free memory."
            raise EngineError(msg, code="spawn")
        return await validate_here(paths)

    installer = Installer(tmp_path / "models", check, lambda _: False, lambda *_: None)
    async with bench_at(tmp_path, installing=installer) as bench:
        failed = await settled(bench, bench.offer(GOOD))
        assert (failed.error_code, manifest_of(tmp_path)) == ("spawn", None)
        fails = False
        await bench.queue.resume(failed.id)
        assert (await bench.until(failed.id)).state is ItemState.DONE
        assert len(bench.hub.asked) == 1


async def test_disk_that_is_full_for_the_manifest_leaves_the_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Manifest:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with bench_at(tmp_path) as bench:
        await settled(bench, bench.offer(GOOD))
        before = manifest_of(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr("luci_tui.library.installing.write_manifest", full)
            failed = await settled(bench, bench.offer(OTHER))
        assert (failed.error_code, manifest_of(tmp_path)) == ("disk_full", before)
        await bench.queue.resume(failed.id)
        assert (await bench.until(failed.id)).state is ItemState.DONE


async def test_file_that_is_gone_before_the_install_is_fetched_again(tmp_path: Path) -> None:
    async def check(paths: tuple[Path, ...]) -> tuple[FileReport, ...]:
        found = await validate_here(paths)
        if len(bench.hub.asked) == 1:
            paths[0].write_bytes(b"GGUF")
        return found

    installer = Installer(tmp_path / "models", check, lambda _: False, lambda *_: None)
    async with bench_at(tmp_path, installing=installer) as bench:
        failed = await settled(bench, bench.offer(GOOD))
        assert failed.error_code in ("changed", "rejected")
        await bench.queue.resume(failed.id)
        assert (await bench.until(failed.id)).state is ItemState.DONE
        assert len(bench.hub.asked) == 2


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/etc", "", "-x", "a\0", "a" * 101])
async def test_hostile_model_name_is_no_plan_and_removes_nothing(name: str, tmp_path: Path) -> None:
    async with bench_at(tmp_path) as bench:
        file = bench.hub.add(GOOD)
        with pytest.raises(ValidationError):
            bench.plan(("model.gguf", file), name=name)
    with pytest.raises((CatalogError, ValueError)):
        uninstall(tmp_path / "models", name)


@pytest.mark.parametrize(
    "name", ["../x.gguf", "/x.gguf", "x.gguf\n", ".gguf", "x.exe", "a\x1b[2J.gguf", "..gguf"]
)
async def test_hostile_file_name_is_no_plan(name: str, tmp_path: Path) -> None:
    async with bench_at(tmp_path) as bench:
        with pytest.raises(ValidationError):
            bench.plan((name, bench.hub.add(GOOD)))


async def test_uninstall_takes_the_manifest_first_and_only_what_is_luci_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    async with bench_at(tmp_path) as bench:
        await settled(bench, bench.offer(GOOD))
    folder = model_folder(models, "model")
    (folder / "notes.txt").write_text("mine")

    def killed(path: Path) -> None:
        raise KeyboardInterrupt(str(path))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            uninstall(models, "model")
    assert read_manifest(folder) is None
    (garbage,) = find_garbage(models, ())
    assert garbage.size_bytes == len(GOOD)
    assert uninstall(models, "model") == len(GOOD)
    assert files_of(folder) == ["notes.txt"]
    with pytest.raises(CatalogError, match="No model"):
        uninstall(models, "model")


async def test_sweep_keeps_what_the_queue_needs_and_what_it_does_not_know(tmp_path: Path) -> None:
    models = tmp_path / "models"
    async with bench_at(tmp_path, options=SLOW) as bench:
        await bench.queue.set_limit(0)
        plan = bench.offer(GOOD)
        await settled(bench, plan)
        folder = model_folder(models, "model")
        for name in ("model.gguf.part", "model.gguf.part.json", "model.gguf.corrupt-1234abcd"):
            (folder / plan.version / name).write_bytes(b"x")
        (folder / "0123456789ab").mkdir()
        (folder / "0123456789ab" / "x.gguf").write_bytes(b"four")
        (folder / "my-folder").mkdir()
        (models / "installed" / "half").mkdir()
        (models / "installed" / "half" / "aaaaaaaaaaaa").mkdir()
        (models / "installed" / "broken").mkdir()
        (models / "installed" / "broken" / "model.json").write_text("{")
        (models / "installed" / "broken" / "bbbbbbbbbbbb").mkdir()
        kept = find_garbage(models, {("half", "aaaaaaaaaaaa"), ("model", "0123456789ab")})
        assert len(kept) == 3
        found = find_garbage(models, ())
        assert len(found) == 5
        assert remove_garbage(found) == 7
        assert files_of(models / "installed") == ["broken", "model"]
        assert files_of(folder) == sorted(["model.json", "my-folder", plan.version])
        assert files_of(folder / plan.version) == ["model.gguf"]


async def test_installed_model_is_not_there_when_a_file_of_it_is_not(tmp_path: Path) -> None:
    models = tmp_path / "models"
    async with bench_at(tmp_path) as bench:
        plan = bench.offer(GOOD)
        await settled(bench, plan)
        path = model_folder(models, "model") / plan.version / "model.gguf"
        os.truncate(path, 100)
        assert installed_already(models, plan) is None
        assert (await settled(bench, plan)).state is ItemState.DONE
        assert path.read_bytes() == GOOD
        other = replace(raw.good_model(), tail=CONTENT[:7]).build()
        assert installed_already(models, bench.offer(other)) is None
