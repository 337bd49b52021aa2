from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from luci_tui.engine import memory
from luci_tui.engine.job_frames import CoreFacts, Device
from luci_tui.errors import ModelLoadError
from luci_tui.gguf.header import read_header
from luci_tui.gguf.weights import RepackedType
from luci_tui.manager.entries import ModelEntry
from luci_tui.manager.machine import CoreMachine
from luci_tui.manager.manager import ModelManager
from luci_tui.manager.residency import Room
from tests.support.fake_clock import FakeClock
from tests.support.manager_use import loaded, status, use
from tests.support.managers import Models
from tests.support.waiting import until

Make = Callable[..., ModelManager]
GIB = 1024**3
F32 = 0
REPACKING = (RepackedType(F32, is_expert=False, size_ratio=1.5),)


def device(kind: str, free_bytes: int) -> Device:
    return Device(name=kind, description="", kind=kind, total_bytes=GIB, free_bytes=free_bytes)


class Gpus:
    """The answers of a core whose GPUs hold what a test's engines were loaded with."""

    def __init__(self, *free_bytes: int) -> None:
        self.free_bytes = list(free_bytes)
        self.n_asked = 0
        self.is_silent = False

    async def ask(self) -> CoreFacts | None:
        self.n_asked += 1
        await asyncio.sleep(0)
        if self.is_silent:
            return None
        devices = (device("cpu", 9), *(device("gpu", one) for one in self.free_bytes))
        return CoreFacts(accelerator="cuda", devices=devices)


@pytest.mark.parametrize(
    ("accelerator", "devices", "free"),
    [
        ("cpu", [("cpu", 9)], ()),
        ("cuda", [("gpu", 5), ("gpu", 7), ("cpu", 9)], (5, 7)),
        ("vulkan", [("gpu", 5), ("igpu", 8), ("accel", 1), ("cpu", 9)], (5,)),
        ("metal", [("gpu", 5), ("accel", 1), ("cpu", 9)], ()),
    ],
)
def test_core_facts_given_devices_then_only_gpus_with_memory_of_their_own_count(
    accelerator: str, devices: list[tuple[str, int]], free: tuple[int, ...]
) -> None:
    facts = CoreFacts(accelerator=accelerator, devices=tuple(device(*one) for one in devices))
    assert facts.free_vram_bytes == free


async def test_core_machine_given_a_cpu_build_then_it_is_asked_once_and_needs_are_those_of_inspect(
    models: Models, tmp_path: Path
) -> None:
    asked: list[int] = []

    async def ask() -> CoreFacts:
        asked.append(1)
        return CoreFacts(devices=(device("cpu", 9),), repacking=REPACKING)

    machine = CoreMachine(tmp_path / "log", ask, free_bytes=lambda: 7)
    entry = models.add("a")
    needs = await asyncio.gather(*(machine.need_of(entry) for _ in range(3)))
    assert await machine.measure()
    assert len(asked) == 1
    assert machine.free() == Room(7)
    inspected = memory.estimate(read_header(models.path), entry.load_spec(), REPACKING)
    assert inspected.repacked_bytes > 0
    for need in needs:
        assert need.gpu is None
        assert need.total_bytes == need.ram_bytes == inspected.needed_bytes
    far = ModelEntry(name="far", path="/nowhere.gguf", rpc=("127.0.0.1:1",))
    assert (await machine.need_of(far)).total_bytes == 0


async def test_core_machine_given_a_silent_core_then_ram_counts_and_it_is_asked_again(
    models: Models, tmp_path: Path
) -> None:
    gpus = Gpus(GIB)
    gpus.is_silent = True
    machine = CoreMachine(tmp_path / "log", gpus.ask, free_bytes=lambda: 7)
    need = await machine.need_of(models.add("a"))
    assert (need.gpu, machine.free()) == (None, Room(7))
    gpus.is_silent = False
    need = await machine.need_of(models.resolve("a"))
    assert need.gpu is not None
    assert machine.free() == Room(7, (GIB,))
    gpus.is_silent = True
    assert not await machine.measure()
    assert machine.free() == Room(7, (GIB,))


async def test_core_machine_given_layers_for_the_gpu_then_the_rest_is_ram(
    models: Models, tmp_path: Path
) -> None:
    machine = CoreMachine(tmp_path / "log", Gpus(GIB, GIB).ask)
    whole = await machine.need_of(models.add("a", load={"n_ctx": 512}))
    none = await machine.need_of(models.add("b", load={"n_ctx": 512, "n_gpu_layers": 0}))
    some = await machine.need_of(models.add("c", load={"n_ctx": 512, "n_gpu_layers": 1}))
    assert none.gpu is None
    assert whole.gpu is not None
    assert some.gpu is not None
    assert whole.ram_bytes == whole.compute_bytes
    assert some.gpu.n_layers == 1
    assert some.ram_bytes + some.gpu.layers_bytes == none.ram_bytes == whole.total_bytes
    assert 0 < some.gpu.layers_bytes < whole.gpu.layers_bytes


async def test_manager_given_gpus_then_each_load_sees_what_is_free_on_them(
    make: Make, models: Models, clock: FakeClock, tmp_path: Path
) -> None:
    entry = models.add("a")
    models.add("b")
    need = await CoreMachine(tmp_path / "log", Gpus(GIB).ask).need_of(entry)
    room = need.room(Room(0, (GIB,)))
    size_bytes = sum(room.vram_bytes)
    gpus = Gpus(size_bytes)
    manager = make(machine=CoreMachine(tmp_path / "log", gpus.ask))
    await use(manager, "a")
    assert status(manager, "a").estimated_bytes == room.total_bytes
    await clock.move(1)
    # The GPU tells that the model is there: nothing of it is promised any more.
    gpus.free_bytes = [0]
    n_asked = gpus.n_asked
    await use(manager, "b")
    assert gpus.n_asked > n_asked
    assert loaded(manager) == {"b"}
    await clock.move(1)
    gpus.free_bytes = [size_bytes]
    await use(manager, "a")
    assert loaded(manager) == {"a", "b"}


async def test_manager_given_a_measurement_from_before_a_load_was_done_then_it_counts_as_promised(
    make: Make, models: Models, tmp_path: Path
) -> None:
    entry = models.add("a")
    models.add("b")
    need = await CoreMachine(tmp_path / "log", Gpus(GIB).ask).need_of(entry)
    gpus = Gpus(sum(need.room(Room(0, (GIB,))).vram_bytes))
    manager = make(machine=CoreMachine(tmp_path / "log", gpus.ask))
    async with manager.lease("a"):
        # The core still says what it said before, as if it had been asked a moment too early.
        waiter = asyncio.create_task(manager.load("b"))
        await until(lambda: gpus.n_asked >= 3)
        await asyncio.sleep(0)
        assert loaded(manager) == {"a"}
    await waiter
    assert loaded(manager) == {"b"}


async def test_manager_given_too_small_gpus_then_the_refusal_names_their_memory(
    make: Make, models: Models, tmp_path: Path
) -> None:
    models.add("a")
    manager = make(machine=CoreMachine(tmp_path / "log", Gpus(4096, 1024).ask))
    with pytest.raises(ModelLoadError, match=r"4\.00 KiB \+ 1\.00 KiB of GPU memory") as caught:
        await use(manager, "a")
    assert caught.value.code == "out_of_memory"
