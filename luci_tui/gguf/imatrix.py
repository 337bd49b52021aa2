"""Read importance matrices, which say how strongly a text drives each column of each weight.

Both formats that llama.cpp reads are read: GGUF files with `NAME.in_sum2` and `NAME.counts`, and
the older .dat files. The file is not trusted: every length is checked against what is left of it.

Source: common/imatrix-loader.cpp and load_imatrix in tools/quantize/quantize.cpp of the pinned
llama.cpp; the values are those that llama-quantize computes, in the same float32 steps.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from luci_tui.errors import GgufError

MAX_FILE_BYTES = 16 * 1024**3
MAX_ENTRIES = 65_536
MAX_NAME_BYTES = 4096
MAX_DATASETS = 1024
MAX_DATASET_BYTES = 65_536

_SUMS_SUFFIX = ".in_sum2"
_COUNTS_SUFFIX = ".counts"
_F32 = 0
_U32, _STRING, _ARRAY = 4, 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of each fixed GGUF value type."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Imatrix:
    """What one file holds."""

    path: Path
    entries: dict[str, Floats]
    """Mean squares by weight name: one value per column, experts one after the other."""
    datasets: tuple[str, ...]
    """Names of the texts it was made from; empty = the file does not say."""
    n_chunks: int
    """0 = the file does not say."""


def read_imatrix(path: Path) -> Imatrix:
    """Read an importance matrix.

    Raises:
        GgufError: it is none, or it is damaged.
    """
    if not path.is_file():
        msg = f"There is no imatrix file {path}. Make one with `luci imatrix MODEL TEXT {path}`."
        raise GgufError(msg, code="missing_file")
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_FILE_BYTES:
            raise _broken(path, f"it has {size_bytes} bytes, far more than any imatrix")
        with path.open("rb") as file:
            # Empty files cannot be mapped; their reader refuses them.
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size_bytes else b""
    except OSError as error:
        msg = f"The imatrix {path} cannot be read ({error.strerror}). Check its permissions."
        raise GgufError(msg, code="unreadable") from error
    reader = _Reader(path, memoryview(view))
    made = _read_gguf(reader) if reader.starts_with(b"GGUF") else _read_legacy(reader)
    for name, values in made.entries.items():
        if not np.isfinite(values).all():
            raise _broken(path, f"its values for {name} are not finite")
    return made


def _broken(path: Path, what: str) -> GgufError:
    return GgufError(
        f"{path} is no imatrix that can be used: {what}. Make it again with `luci imatrix`.",
        code="bad_imatrix",
    )


class _Reader:
    """A cursor over the file that never leaves it."""

    def __init__(self, path: Path, view: memoryview) -> None:
        self.path = path
        self.view = view
        self.offset = 0

    def starts_with(self, magic: bytes) -> bool:
        return bytes(self.view[: len(magic)]) == magic

    @property
    def is_at_end(self) -> bool:
        return self.offset >= len(self.view)

    def skip(self, n_bytes: int) -> int:
        start = self.offset
        if not 0 <= n_bytes <= len(self.view) - start:
            raise _broken(self.path, f"it ends inside a value near byte {start}")
        self.offset = start + n_bytes
        return start

    def integer(self, code: str) -> int:
        kind = struct.Struct("<" + code)
        return int(kind.unpack_from(self.view, self.skip(kind.size))[0])

    def text(self, n_bytes: int, limit_bytes: int) -> str:
        if not 0 <= n_bytes <= limit_bytes:
            raise _broken(self.path, f"it has a text of {n_bytes} bytes near byte {self.offset}")
        start = self.skip(n_bytes)
        return bytes(self.view[start : start + n_bytes]).decode("utf-8", errors="replace")

    def floats(self, start: int, count: int) -> Floats:
        if count < 1 or start < 0 or start + 4 * count > len(self.view):
            raise _broken(self.path, f"{count} values at byte {start} are not in it")
        # A copy: the start need not be aligned, and the file may change while it is in use.
        return np.frombuffer(bytes(self.view[start : start + 4 * count]), "<f4")


@dataclass
class _Values:
    """The GGUF values that matter here."""

    datasets: list[str] = field(default_factory=list[str])
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    keys: set[str] = field(default_factory=set[str])


def _read_gguf(reader: _Reader) -> Imatrix:
    reader.skip(4)
    version = reader.integer("I")
    if version not in (2, 3):
        raise _broken(reader.path, f"it is GGUF version {version}")
    n_tensors, n_values = reader.integer("Q"), reader.integer("Q")
    if n_tensors > 2 * MAX_ENTRIES or n_values > MAX_ENTRIES:
        raise _broken(reader.path, f"it claims {n_tensors} tensors and {n_values} values")
    values = _Values()
    for _ in range(n_values):
        _read_value(reader, values)
    wanted = {"imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"}
    if not wanted <= values.keys:
        raise _broken(reader.path, f"{min(wanted - values.keys)} is missing in it")
    tensors = _read_tensors(reader, n_tensors, values.numbers.get("general.alignment", 32))
    return Imatrix(
        path=reader.path,
        entries=_mean_squares(reader.path, tensors),
        datasets=tuple(values.datasets),
        n_chunks=values.numbers.get("imatrix.chunk_count", 0),
    )


def _read_value(reader: _Reader, values: _Values) -> None:
    key = reader.text(reader.integer("Q"), MAX_NAME_BYTES)
    values.keys.add(key)
    kind = reader.integer("I")
    if kind == _U32:
        values.numbers[key] = reader.integer("I")
    elif kind == _STRING:
        reader.skip(reader.integer("Q"))
    elif kind == _ARRAY:
        _read_array(reader, values, key)
    elif kind in _SIZES:
        reader.skip(_SIZES[kind])
    else:
        raise _broken(reader.path, f"it has a value of unknown type {kind}")


def _read_array(reader: _Reader, values: _Values, key: str) -> None:
    kind, count = reader.integer("I"), reader.integer("Q")
    if kind == _STRING:
        if count > MAX_DATASETS:
            raise _broken(reader.path, f"it has an array of {count} texts")
        texts = [reader.text(reader.integer("Q"), MAX_DATASET_BYTES) for _ in range(count)]
        if key == "imatrix.datasets":
            values.datasets += texts
    elif kind in _SIZES:
        reader.skip(count * _SIZES[kind])
    else:
        raise _broken(reader.path, f"it has an array of unknown type {kind}")


def _read_tensors(reader: _Reader, n_tensors: int, alignment: int) -> dict[str, Floats]:
    if alignment < 8 or alignment & (alignment - 1) or alignment > 65_536:
        raise _broken(reader.path, f"its alignment is {alignment}")
    places: dict[str, tuple[int, int]] = {}
    for _ in range(n_tensors):
        name = reader.text(reader.integer("Q"), MAX_NAME_BYTES)
        n_dims = reader.integer("I")
        if not 1 <= n_dims <= 4:
            raise _broken(reader.path, f"{name} has {n_dims} dimensions")
        count = math.prod(reader.integer("Q") for _ in range(n_dims))
        kind, offset = reader.integer("I"), reader.integer("Q")
        if kind != _F32 or name in places:
            raise _broken(reader.path, f"{name} is no F32 tensor or is there twice")
        places[name] = (offset, count)
    data_start = -(-reader.offset // alignment) * alignment
    return {
        name: reader.floats(data_start + offset, count) for name, (offset, count) in places.items()
    }


def _mean_squares(path: Path, tensors: dict[str, Floats]) -> dict[str, Floats]:
    """Divide the sums by their counts; an expert that saw nothing counts all columns alike."""
    suffixes = (_SUMS_SUFFIX, _COUNTS_SUFFIX)
    names = sorted({name.removesuffix(s) for name in tensors for s in suffixes if name.endswith(s)})
    if not names:
        raise _broken(path, "it has no data")
    entries: dict[str, Floats] = {}
    for name in names:
        sums, counts = tensors.get(name + _SUMS_SUFFIX), tensors.get(name + _COUNTS_SUFFIX)
        if sums is None or counts is None or sums.size % counts.size:
            raise _broken(path, f"its sums and counts for {name} do not belong together")
        if not np.isfinite(counts).all():
            raise _broken(path, f"its counts for {name} are not finite")
        # llama.cpp rounds half away from zero.
        whole = np.trunc(counts + np.copysign(np.float32(0.5), counts)).astype(np.float32)
        rows = sums.reshape(counts.size, -1)
        has_data = (whole > 0)[:, np.newaxis]
        divisor = np.where(has_data, whole[:, np.newaxis], np.float32(1))
        entries[name] = np.where(has_data, rows / divisor, np.float32(1)).reshape(-1)
    return entries


def _read_legacy(reader: _Reader) -> Imatrix:
    """Read a .dat file: int32 count, then (name, calls, values) for each weight."""
    if len(reader.view) < 4:
        raise _broken(reader.path, f"it has {len(reader.view)} bytes")
    n_entries = reader.integer("i")
    if not 1 <= n_entries <= MAX_ENTRIES:
        raise _broken(reader.path, "it starts like no imatrix file")
    entries: dict[str, Floats] = {}
    for _ in range(n_entries):
        name = reader.text(reader.integer("i"), MAX_NAME_BYTES)
        n_calls, n_values = reader.integer("i"), reader.integer("i")
        sums = reader.floats(reader.skip(4 * n_values), n_values)
        entries[name] = sums / np.float32(n_calls) if n_calls > 0 else sums
    n_chunks, datasets = 0, tuple[str, ...]()
    if not reader.is_at_end:
        n_chunks = reader.integer("i")
        if not reader.is_at_end:
            n_bytes = reader.integer("i")
            datasets = (reader.text(n_bytes, MAX_DATASET_BYTES),) if n_bytes > 0 else ()
    return Imatrix(reader.path, entries, datasets, max(n_chunks, 0))
