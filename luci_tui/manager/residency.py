"""Decide who leaves memory so that a model can come in. Pure: facts in, a plan out.

The order is least recently used first. What is leased or pinned never leaves.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, zip_longest

from luci_tui.units import format_bytes, format_duration


@dataclass(frozen=True)
class Room:
    """Bytes in the kinds of memory that a model can lie in."""

    ram_bytes: int = 0
    vram_bytes: tuple[int, ...] = ()
    """Of each GPU, in the core's order; one that shares the machine's RAM has none of its own."""

    def __add__(self, other: Room) -> Room:
        """Give both together."""
        pairs = zip_longest(self.vram_bytes, other.vram_bytes, fillvalue=0)
        vram_bytes = tuple(mine + its for mine, its in pairs)
        return Room(self.ram_bytes + other.ram_bytes, vram_bytes)

    def __sub__(self, other: Room) -> Room:
        """Give what is left; less than nothing where more was promised than there is."""
        pairs = zip_longest(self.vram_bytes, other.vram_bytes, fillvalue=0)
        vram_bytes = tuple(mine - its for mine, its in pairs)
        return Room(self.ram_bytes - other.ram_bytes, vram_bytes)

    @property
    def is_nothing(self) -> bool:
        """True = no byte of any kind."""
        return not (self.ram_bytes or any(self.vram_bytes))

    @property
    def total_bytes(self) -> int:
        """All kinds together."""
        return self.ram_bytes + sum(self.vram_bytes)

    def holds(self, other: Room) -> bool:
        """Tell whether `other` fits."""
        pairs = zip_longest(self.vram_bytes, other.vram_bytes, fillvalue=0)
        fits = all(mine >= its for mine, its in pairs if its > 0)
        return fits and self.ram_bytes >= other.ram_bytes

    def __str__(self) -> str:
        """Name only the kinds that matter."""
        ram = f"{format_bytes(max(0, self.ram_bytes))} of memory"
        if not any(self.vram_bytes):
            return ram
        each = " + ".join(format_bytes(max(0, one)) for one in self.vram_bytes)
        vram = f"{each} of GPU memory"
        return f"{vram} and {ram}" if self.ram_bytes else vram


@dataclass(frozen=True)
class GpuPart:
    """What of a load lies on GPUs: whole layers, and on each that has some a buffer to compute."""

    n_layers: int
    layers_bytes: int
    """Weights and KV cache of these layers together; they are taken as equally large."""
    per_gpu_bytes: int = 0
    """To compute with."""

    def spread(self, free: Sequence[int]) -> tuple[int, ...]:
        """Say what each GPU gets: layers in proportion to its free memory, as the core does.

        Source: get_layer_buft_list in llama_model::load_tensors of the pinned llama.cpp.
        """
        ends = list(accumulate(max(0, one) for one in free))
        if not ends or not ends[-1]:
            return (self.layers_bytes + self.per_gpu_bytes,)
        counts = [0] * len(ends)
        for layer in range(self.n_layers):
            counts[bisect_right(ends, layer / self.n_layers * ends[-1])] += 1
        return tuple(
            self.layers_bytes * count // self.n_layers + self.per_gpu_bytes if count else 0
            for count in counts
        )


@dataclass(frozen=True)
class Need:
    """What a load will take, before it is begun."""

    name: str
    weights_bytes: int = 0
    """The copies that the CPU back end rearranges included."""
    kv_bytes: int = 0
    compute_bytes: int = 0
    """To compute with, the logits included."""
    ram_bytes: int = 0
    """What of it will be in RAM."""
    gpu: GpuPart | None = None
    """What of it will be on GPUs; None = nothing."""

    @property
    def total_bytes(self) -> int:
        """All of it, as `luci inspect` says for the same context."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes

    def room(self, free: Room) -> Room:
        """Say where it will be on a machine that has `free`."""
        return Room(self.ram_bytes, self.gpu.spread(free.vram_bytes) if self.gpu else ())

    def fits(self, free: Room) -> bool:
        """Tell whether it can be loaded into what is free."""
        return free.holds(self.room(free))

    def __str__(self) -> str:
        """Say what the bytes are for."""
        return (
            f"{self.name} needs about {format_bytes(self.total_bytes)} "
            f"({format_bytes(self.weights_bytes)} weights, {format_bytes(self.kv_bytes)} KV cache, "
            f"{format_bytes(self.compute_bytes)} to compute)"
        )


@dataclass(frozen=True)
class Occupant:
    """One loaded model as the plan sees it."""

    key: str
    """Unique among the occupants."""
    name: str
    """For the sentences."""
    room: Room
    """What becomes free when it leaves."""
    last_used_s: float
    n_leases: int = 0
    pinned: bool = False
    ttl_s: float = -1.0
    """Seconds unused until it may leave by itself; negative = never."""


@dataclass(frozen=True)
class Plan:
    """What to do so that a load fits. At most one of `wait` and `refuse` is said."""

    evict: tuple[str, ...] = ()
    """Keys of those that leave, least recently used first; with them gone, the load fits."""
    room: Room = Room()
    """What the load takes, once those have left."""
    wait: str = ""
    """Sentence: it fits once those in `wait_for` are no longer leased."""
    wait_for: tuple[str, ...] = ()
    refuse: str = ""
    """Sentence: it does not fit, whoever leaves."""

    @property
    def is_go(self) -> bool:
        """True = load as soon as those in `evict` have left."""
        return not (self.wait or self.refuse)


def plan(residents: Sequence[Occupant], needed: Need, available: Room, now_s: float) -> Plan:
    """Plan one load.

    Args:
        residents: All that is loaded, whatever is leased included.
        needed: What the load will take.
        available: What is free now and promised to nobody.
        now_s: By the clock of `last_used_s`; for the sentences.
    """
    if needed.fits(available):
        return Plan(room=needed.room(available))
    movable = sorted(
        (one for one in residents if not one.pinned and not one.room.is_nothing),
        key=lambda one: (one.n_leases > 0, one.last_used_s, one.key),
    )
    leaving = _fewest(movable, needed, available)
    if leaving is None:
        return Plan(refuse=_refusal(residents, movable, needed, available))
    leased = [one for one in leaving if one.n_leases > 0]
    if not leased:
        room = needed.room(_sum(leaving, available))
        return Plan(evict=tuple(one.key for one in leaving), room=room)
    names = ", ".join(dict.fromkeys(one.name for one in leased))
    oldest_s = now_s - min(one.last_used_s for one in leased)
    return Plan(
        wait=f"{needed} and {available} is free: waiting for {names}, in use since a lease "
        f"that began {format_duration(max(0.0, oldest_s))} ago.",
        wait_for=tuple(one.key for one in leased),
    )


def _fewest(movable: Sequence[Occupant], needed: Need, available: Room) -> list[Occupant] | None:
    """Choose from the front until it fits, then let stay whom it does not need after all."""
    leaving: list[Occupant] = []
    room = available
    for one in movable:
        if needed.fits(room):
            break
        leaving.append(one)
        room += one.room
    if not needed.fits(room):
        return None
    for one in reversed(leaving.copy()):
        others = [other for other in leaving if other is not one]
        if needed.fits(_sum(others, available)):
            leaving = others
    return leaving


def _sum(occupants: Sequence[Occupant], start: Room) -> Room:
    return reduce(lambda room, one: room + one.room, occupants, start)


def _refusal(
    residents: Sequence[Occupant], movable: Sequence[Occupant], needed: Need, available: Room
) -> str:
    freed = _sum(movable, Room())
    pinned = _sum([one for one in residents if one.pinned], Room())
    words = f"{needed} and {available} is free"
    if not freed.is_nothing:
        words += f", {_sum(movable, available)} once every other model has left"
    advice = "Choose a smaller model, n_ctx or quant type, or load it by force."
    if not pinned.is_nothing:
        advice = f"Pinned models hold {pinned}: unpin one, or choose a smaller model or n_ctx."
    return f"{words}. {advice}"


def expired(residents: Sequence[Occupant], now_s: float) -> tuple[str, ...]:
    """List the keys of those that were unused for their whole TTL, least recently used first."""
    due = [one for one in residents if (at_s := _expires_at(one)) is not None and at_s <= now_s]
    return tuple(one.key for one in sorted(due, key=lambda one: (one.last_used_s, one.key)))


def next_expiry_s(residents: Sequence[Occupant]) -> float | None:
    """Tell when the next one is due if nobody is leased until then; None = never."""
    times = [at_s for one in residents if (at_s := _expires_at(one)) is not None]
    return min(times, default=None)


def _expires_at(one: Occupant) -> float | None:
    if one.n_leases > 0 or one.pinned or one.ttl_s < 0:
        return None
    return one.last_used_s + one.ttl_s
