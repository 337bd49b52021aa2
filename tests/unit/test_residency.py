from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luci_tui.manager.residency import (
    GpuPart,
    Need,
    Occupant,
    Plan,
    Room,
    expired,
    next_expiry_s,
    plan,
)

GIB = 1024**3
NOW_S = 1000.0

rooms = st.builds(Room, st.integers(0, 12), st.tuples(st.integers(0, 4)))


@st.composite
def occupant_lists(draw: st.DrawFn) -> list[Occupant]:
    n = draw(st.integers(0, 6))
    return [
        Occupant(
            key=f"k{index}",
            name=f"m{index}",
            room=draw(rooms),
            last_used_s=draw(st.integers(0, 5)),
            n_leases=draw(st.integers(0, 2)),
            pinned=draw(st.booleans()),
            ttl_s=draw(st.integers(-1, 5)),
        )
        for index in range(n)
    ]


def need(room: Room) -> Need:
    """Make a need for RAM and one GPU."""
    vram_bytes = sum(room.vram_bytes)
    gpu = GpuPart(1, vram_bytes) if vram_bytes else None
    return Need("wanted", weights_bytes=room.total_bytes, ram_bytes=room.ram_bytes, gpu=gpu)


def freed(residents: list[Occupant], keys: tuple[str, ...]) -> Room:
    return sum((one.room for one in residents if one.key in keys), Room())


@given(occupant_lists(), rooms, rooms)
def test_plan_given_anything_then_never_evicts_leased_or_pinned(
    residents: list[Occupant], wanted: Room, available: Room
) -> None:
    chosen = plan(residents, need(wanted), available, NOW_S)
    safe = {one.key for one in residents if one.n_leases or one.pinned}
    assert not safe & set(chosen.evict)
    assert sum(map(bool, (chosen.evict, chosen.wait, chosen.refuse))) <= 1


@given(occupant_lists(), rooms, rooms)
def test_plan_given_anything_then_it_goes_waits_or_refuses_for_the_right_reason(
    residents: list[Occupant], wanted: Room, available: Room
) -> None:
    chosen = plan(residents, need(wanted), available, NOW_S)
    unleased = tuple(one.key for one in residents if not one.pinned and not one.n_leases)
    unpinned = tuple(one.key for one in residents if not one.pinned)
    could_go = (available + freed(residents, unleased)).holds(wanted)
    could_wait = (available + freed(residents, unpinned)).holds(wanted)
    assert chosen.is_go == could_go
    assert bool(chosen.wait) == (could_wait and not could_go)
    assert bool(chosen.refuse) == (not could_wait)
    if chosen.is_go:
        assert (available + freed(residents, chosen.evict)).holds(wanted)


@given(occupant_lists(), rooms, rooms)
def test_plan_given_evictions_then_none_can_be_spared_and_older_ones_come_first(
    residents: list[Occupant], wanted: Room, available: Room
) -> None:
    chosen = plan(residents, need(wanted), available, NOW_S)
    by_key = {one.key: one for one in residents}
    order = [(by_key[key].last_used_s, key) for key in chosen.evict]
    assert order == sorted(order)
    for spared in chosen.evict:
        rest = tuple(key for key in chosen.evict if key != spared)
        assert not (available + freed(residents, rest)).holds(wanted)
    # Whoever leaves would have been needed had one tried only those that are older.
    for key in chosen.evict:
        older = tuple(
            one.key
            for one in residents
            if not one.pinned
            and not one.n_leases
            and (one.last_used_s, one.key) < (by_key[key].last_used_s, key)
        )
        assert not (available + freed(residents, older)).holds(wanted)


@given(occupant_lists(), st.integers(0, 12))
def test_expired_given_anything_then_exactly_the_unused_ones_are_listed(
    residents: list[Occupant], now_s: int
) -> None:
    due = expired(residents, now_s)
    for one in residents:
        can_expire = not one.n_leases and not one.pinned and one.ttl_s >= 0
        assert (one.key in due) == (can_expire and now_s - one.last_used_s >= one.ttl_s)
    first_s = next_expiry_s(residents)
    assert bool(due) == (first_s is not None and first_s <= now_s)


def test_plan_given_room_then_nobody_leaves() -> None:
    old = Occupant("a", "a", Room(GIB), last_used_s=0)
    assert plan([old], need(Room(GIB)), Room(GIB), NOW_S) == Plan(room=Room(GIB))


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_plan_given_three_idle_ones_then_the_oldest_leaves(order: tuple[str, ...]) -> None:
    last_used_s = {"a": 3.0, "b": 1.0, "c": 2.0}
    residents = [Occupant(key, key, Room(GIB), last_used_s[key]) for key in order]
    assert plan(residents, need(Room(GIB)), Room(), NOW_S).evict == ("b",)


def test_plan_given_a_small_old_one_and_a_large_one_then_only_the_large_one_leaves() -> None:
    residents = [Occupant("old", "old", Room(GIB), 1), Occupant("big", "big", Room(8 * GIB), 2)]
    assert plan(residents, need(Room(8 * GIB)), Room(), NOW_S).evict == ("big",)


def test_plan_given_too_little_memory_then_the_refusal_has_the_numbers() -> None:
    wanted = Need("big", 7 * GIB, 2 * GIB, GIB, ram_bytes=10 * GIB)
    residents = [
        Occupant("a", "a", Room(GIB), 1),
        Occupant("b", "b", Room(2 * GIB), 1, pinned=True),
    ]
    refusal = plan(residents, wanted, Room(3 * GIB), NOW_S).refuse
    assert "big needs about 10.0 GiB (7.00 GiB weights, 2.00 GiB KV cache, 1.00 GiB" in refusal
    assert "3.00 GiB of memory is free, 4.00 GiB of memory once every other" in refusal
    assert "Pinned models hold 2.00 GiB" in refusal


def test_plan_given_a_full_gpu_then_only_models_there_leave() -> None:
    residents = [
        Occupant("cpu", "cpu", Room(8 * GIB), 1),
        Occupant("gpu", "gpu", Room(0, (8 * GIB,)), 2),
    ]
    wanted = need(Room(0, (6 * GIB,)))
    assert plan(residents, wanted, Room(4 * GIB, (GIB,)), NOW_S).evict == ("gpu",)


def on_gpus(n_layers: int, layer_bytes: int, per_gpu_bytes: int = 0) -> Need:
    gpu = GpuPart(n_layers, n_layers * layer_bytes, per_gpu_bytes)
    return Need("wanted", weights_bytes=n_layers * layer_bytes, gpu=gpu)


@pytest.mark.parametrize(
    ("free", "layers"),
    [
        ((8, 8), (4, 4)),
        ((12, 4), (6, 2)),
        ((0, 8), (0, 8)),
        # A share of less than one layer is none, unless a layer begins in it.
        ((64, 1), (8, 0)),
        ((1, 64), (1, 7)),
        ((5, 5, 6), (3, 2, 3)),
    ],
)
def test_gpu_part_given_several_gpus_then_layers_go_by_their_free_memory(
    free: tuple[int, ...], layers: tuple[int, ...]
) -> None:
    spread = GpuPart(8, 8 * GIB, per_gpu_bytes=1).spread([one * GIB for one in free])
    assert spread == tuple(n * GIB + 1 if n else 0 for n in layers)


def test_plan_given_two_gpus_then_each_must_hold_its_share_and_its_buffer() -> None:
    wanted = on_gpus(8, GIB, per_gpu_bytes=GIB)
    chosen = plan([], wanted, Room(0, (5 * GIB, 5 * GIB)), NOW_S)
    assert chosen == Plan(room=Room(0, (5 * GIB, 5 * GIB)))
    # Nine are free for eight layers, but both GPUs need a buffer to compute in as well.
    refused = plan([], wanted, Room(0, (5 * GIB, 4 * GIB)), NOW_S).refuse
    assert "5.00 GiB + 4.00 GiB of GPU memory is free" in refused


def test_plan_given_two_gpus_then_those_leave_that_make_room_on_the_right_one() -> None:
    residents = [
        Occupant("ram", "ram", Room(9 * GIB), 1),
        Occupant("first", "first", Room(0, (4 * GIB,)), 2),
        Occupant("second", "second", Room(0, (0, 4 * GIB)), 3),
        Occupant("both", "both", Room(0, (GIB, GIB)), 4),
    ]
    free = Room(0, (0, GIB))
    assert plan(residents, on_gpus(4, GIB), free, NOW_S).evict == ("first",)
    assert plan(residents, on_gpus(9, GIB), free, NOW_S).evict == ("first", "second")
    assert plan(residents, on_gpus(11, GIB), free, NOW_S).evict == ("first", "second", "both")
    assert "once every other model has left" in plan(residents, on_gpus(12, GIB), free, 0).refuse


def test_room_given_a_cpu_only_machine_then_no_gpu_is_spoken_of() -> None:
    assert str(Room(GIB)) == str(Room(GIB, (0,))) == "1.00 GiB of memory"
    assert Room(0, (0, 0)).is_nothing
    assert (Room(5) - Room(2, (3,))).vram_bytes == (-3,)


def test_plan_given_a_leased_one_in_the_way_then_waits_for_it_by_name() -> None:
    residents = [
        Occupant("a", "idle", Room(GIB), 1),
        Occupant("b", "busy", Room(4 * GIB), 940, n_leases=1),
    ]
    chosen = plan(residents, need(Room(4 * GIB)), Room(), NOW_S)
    assert chosen.wait_for == ("b",)
    assert "waiting for busy" in chosen.wait
    assert "1 min 00 s ago" in chosen.wait
