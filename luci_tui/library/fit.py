"""Say what a model needs on this machine: by KV type, the largest context, which quant to take.

Every figure has a source, which `Fit.sources` names: the header of a file where there is one, the
catalogue and the number of parameters where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final

from luci_tui.gguf.estimate import (
    ContextShape,
    MemoryEstimate,
    context_size,
    estimate,
    is_encoder,
    is_encoder_decoder,
)
from luci_tui.gguf.header import GgufHeader
from luci_tui.gguf.memory_table import kv_types_of
from luci_tui.gguf.weights import Repacking
from luci_tui.units import format_bytes

CONTEXT_STEP: Final = 256
"""llama.cpp pads the context to a multiple of it."""
MAX_CONTEXT: Final = 131_072
"""Of a model that does not say what it was trained with."""


@dataclass(frozen=True)
class Room:
    """Memory that is free now."""

    ram_bytes: int
    vram_bytes: tuple[int, ...] = ()
    """Of each GPU with memory of its own."""

    def places(self) -> dict[str, int]:
        """Give the free bytes of each place that could hold a whole model."""
        places = {"RAM": self.ram_bytes}
        if self.vram_bytes:
            places["VRAM"] = sum(self.vram_bytes)
        return places


@dataclass(frozen=True)
class Purpose:
    """What a model is taken for, and what that asks of its quant and its context."""

    name: str
    n_ctx: int
    least_type: str
    """Below it a smaller model is the better choice."""
    reason: str


PURPOSES: Final = (
    Purpose("chat", 8192, "Q4_K_M", "a long conversation"),
    Purpose("code", 16_384, "Q5_K_M", "several files in the prompt, and names that must be exact"),
    Purpose("reasoning", 32_768, "Q4_K_M", "thinking that takes thousands of tokens"),
)
"""luci's own rules of thumb: no measurement stands behind the contexts and the least types."""


@dataclass(frozen=True)
class QuantSize:
    """What one quant type makes of the model."""

    type: str
    weights_bytes: int
    bits_per_weight: float
    source: str


@dataclass(frozen=True)
class KvRow:
    """The memory of one context with one type of KV cache."""

    kv_type: str
    kv_bytes: int
    compute_bytes: int
    needed_bytes: int
    largest_n_ctx: dict[str, int]
    """By place; 0 = not even the smallest context fits there."""


@dataclass(frozen=True)
class Advice:
    """Which quant to take for one purpose."""

    purpose: str
    n_ctx: int
    type: str
    """Empty = none."""
    kv_type: str
    needed_bytes: int
    place: str
    sentence: str


@dataclass(frozen=True)
class Measured:
    """What the model took when it ran."""

    rss_bytes: int
    n_ctx: int
    when: str
    source: str


@dataclass(frozen=True)
class Fit:
    """Everything that `luci fit` says."""

    name: str
    path: str
    """Empty = it is not on this machine."""
    n_params: int
    bits_per_weight: float
    weights_bytes: int
    n_ctx: int
    n_ctx_train: int
    rows: tuple[KvRow, ...]
    room: Room
    quants: tuple[QuantSize, ...]
    advice: tuple[Advice, ...]
    measured: Measured | None
    sources: Mapping[str, str]

    @property
    def fits(self) -> bool:
        """Tell whether the context that was asked for fits somewhere with the default KV type."""
        most = max(self.room.places().values())
        return bool(self.rows) and self.rows[0].needed_bytes <= most

    def to_json(self) -> dict[str, object]:
        """Give everything as plain data."""
        return {**asdict(self), "fits": self.fits}


@dataclass(frozen=True)
class Subject:
    """The model that is asked about."""

    name: str
    header: GgufHeader
    """Of its file; of a model that is not here one with a guessed shape, see guess.py."""
    n_params: int
    n_ctx_train: int
    weights_bytes: int | None
    """None = as the header says."""
    path: str
    sources: Mapping[str, str]


def fit(
    subject: Subject,
    room: Room,
    quants: tuple[QuantSize, ...],
    *,
    n_ctx: int = 0,
    repacking: Repacking = (),
    measured: Measured | None = None,
) -> Fit:
    """Work everything out; takes some tenths of a second.

    Args:
        subject: The model.
        room: What is free.
        quants: What each quant type makes of it, the largest first.
        n_ctx: Tokens of context to look at; 0 = the default of a load.
        repacking: What the build rearranges.
        measured: What it took when it ran.
    """
    needs = _needs(subject, repacking)
    n_ctx = n_ctx or context_size(subject.header, 0)
    kv_types = kv_types_of(subject.header)
    rows = tuple(_row(needs, kv_type, n_ctx, subject, room) for kv_type in kv_types)
    memory = needs(n_ctx, "f16")
    weights_bytes = memory.weights_bytes + memory.repacked_bytes
    return Fit(
        name=subject.name,
        path=subject.path,
        n_params=subject.n_params,
        bits_per_weight=_bits(subject),
        weights_bytes=weights_bytes,
        n_ctx=n_ctx,
        n_ctx_train=subject.n_ctx_train,
        rows=rows,
        room=room,
        quants=quants,
        advice=tuple(_advise(one, subject, room, quants, needs) for one in PURPOSES),
        measured=measured,
        sources=subject.sources,
    )


Needs = Callable[[int, str], MemoryEstimate]
"""(tokens of context, KV type) -> what the load takes."""


def _needs(subject: Subject, repacking: Repacking) -> Needs:
    known: dict[tuple[int, str], MemoryEstimate] = {}
    encodes = is_encoder(subject.header)

    def needs(n_ctx: int, kv_type: str) -> MemoryEstimate:
        if (n_ctx, kv_type) not in known:
            shape = ContextShape(
                n_ctx=n_ctx,
                n_batch=n_ctx if encodes else ContextShape.n_batch,
                kv_type_k=kv_type,
                kv_type_v=kv_type,
                is_embedding=encodes,
                repacking=repacking,
            )
            memory = estimate(subject.header, shape)
            if subject.weights_bytes is not None:
                memory = replace(memory, weights_bytes=subject.weights_bytes, repacked_bytes=0)
            known[n_ctx, kv_type] = memory
        return known[n_ctx, kv_type]

    return needs


def _bits(subject: Subject) -> float:
    size_bytes = subject.weights_bytes
    if size_bytes is None:
        size_bytes = subject.header.weights_bytes
    return 8 * size_bytes / subject.n_params if subject.n_params else 0.0


def _row(needs: Needs, kv_type: str, n_ctx: int, subject: Subject, room: Room) -> KvRow:
    memory = needs(n_ctx, kv_type)
    most = subject.n_ctx_train or MAX_CONTEXT
    return KvRow(
        kv_type=kv_type,
        kv_bytes=memory.kv_bytes,
        compute_bytes=memory.compute_bytes + memory.output_bytes,
        needed_bytes=memory.needed_bytes,
        largest_n_ctx={
            place: largest_context(lambda size: needs(size, kv_type).needed_bytes, free, most)
            for place, free in room.places().items()
        },
    )


def largest_context(needed_bytes: Callable[[int], int], free_bytes: int, most: int) -> int:
    """Find the largest context that fits, in steps of 256 tokens; 0 = none does.

    Args:
        needed_bytes: Says what a context needs; more for a larger one.
        free_bytes: What there is.
        most: The largest context that makes sense.
    """
    if needed_bytes(most) <= free_bytes:
        return most
    low, high = 0, -(-most // CONTEXT_STEP)  # in steps: fits, does not fit
    while high - low > 1:
        middle = (low + high) // 2
        fits = needed_bytes(middle * CONTEXT_STEP) <= free_bytes
        low, high = (middle, high) if fits else (low, middle)
    return low * CONTEXT_STEP


def _advise(
    purpose: Purpose, subject: Subject, room: Room, quants: tuple[QuantSize, ...], needs: Needs
) -> Advice:
    n_ctx = min(purpose.n_ctx, subject.n_ctx_train or purpose.n_ctx)
    if is_encoder(subject.header):
        sentence = "It makes vectors and answers nothing."
        return Advice(purpose.name, n_ctx, "", "", 0, "", sentence)
    reason = purpose.reason
    if is_encoder_decoder(subject.header):
        reason = "a prompt of that length and an answer of that length"
    kv_types = kv_types_of(subject.header)[:2]
    types = [one.type for one in quants]
    n_good = types.index(purpose.least_type) + 1 if purpose.least_type in types else len(types)
    # A GPU is asked first: a model that fits into it is the quicker one.
    places = sorted(room.places().items(), reverse=True)
    for place, free in places:
        for kv_type in kv_types:
            for quant in quants[:n_good]:
                needed = _with_quant(needs(n_ctx, kv_type), quant)
                if needed <= free:
                    sentence = (
                        f"{quant.type} with {n_ctx} tokens of {kv_type} KV cache needs "
                        f"{format_bytes(needed)} of {format_bytes(free)} free {place}; "
                        f"so much context is for {reason}."
                    )
                    return Advice(purpose.name, n_ctx, quant.type, kv_type, needed, place, sentence)
    place, free = max(places, key=lambda one: one[1])
    memory = needs(n_ctx, kv_types[-1])
    needed = _with_quant(memory, quants[n_good - 1]) if n_good else memory.needed_bytes
    sentence = (
        f"Nothing from {purpose.least_type} up fits with {n_ctx} tokens: that needs "
        f"{format_bytes(needed)}, and {format_bytes(free)} {place} is free. Take a smaller model, "
        "or a shorter context."
    )
    return Advice(purpose.name, n_ctx, "", kv_types[-1], needed, place, sentence)


def _with_quant(memory: MemoryEstimate, quant: QuantSize) -> int:
    """Exchange the weights for those of another type."""
    return memory.needed_bytes - memory.weights_bytes - memory.repacked_bytes + quant.weights_bytes
