"""Jobs on the weights of a file: statistics of a tensor, and two models compared.

Each tensor passes through in pieces of a million values, so a tensor of 10 GB needs a few MiB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from luci_tui.engine import kernels
from luci_tui.engine.job_frames import (
    CompareResult,
    CompareSpec,
    JobProgress,
    TensorError,
    TensorStatsResult,
    TensorStatsSpec,
)
from luci_tui.errors import GgufError
from luci_tui.gguf.header import GgufHeader, TensorInfo, read_header
from luci_tui.gguf.tensors import find_tensor, iterate_chunks

N_FIRST = 8
"""Values at the start of a tensor that its statistics show."""

Report = Callable[[JobProgress], None]
Values = npt.NDArray[np.float32] | npt.NDArray[np.float64]

_PLAIN_TYPES = {24: "<i1", 25: "<i2", 26: "<i4", 27: "<i8", 28: "<f8"}
"""Types that need no kernel: integers, and float of 64 bits."""


def iterate_values(header: GgufHeader, tensor: TensorInfo) -> Iterator[Values]:
    """Give a tensor's values in pieces, in the order of the file.

    Raises:
        GgufError: the file has become shorter.
        EngineError: ggml cannot turn this type into numbers.
    """
    for n_values, data in iterate_chunks(header, tensor):
        plain = _PLAIN_TYPES.get(tensor.type_number)
        if plain is None:
            yield kernels.dequantize(tensor.type_number, data, n_values)
        else:
            yield np.frombuffer(data, dtype=plain).astype(np.float64)


def tensor_stats(spec: TensorStatsSpec, report: Report) -> TensorStatsResult:
    """Read one tensor to its end and count.

    Raises:
        GgufError: there is no such file or tensor.
        EngineError: ggml cannot turn its type into numbers.
    """
    header = read_header(Path(spec.path))
    tensor = find_tensor(header, spec.name)
    sums = _Sums()
    for values in iterate_values(header, tensor):
        sums.add(values)
        report(
            JobProgress(
                what=tensor.name, n_done=sums.n_values, n_total=tensor.n_values, unit="values"
            )
        )
    return sums.result_of(tensor)


@dataclass
class _Sums:
    """What has been counted so far; sums are over finite values, in double precision."""

    n_values: int = 0
    n_nan: int = 0
    n_inf: int = 0
    n_zeros: int = 0
    n_finite: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    first: list[float] = field(default_factory=list[float])

    def add(self, values: Values) -> None:
        if not self.n_values:
            self.first = [float(value) for value in values[:N_FIRST]]
        self.n_values += values.size
        self.n_zeros += values.size - int(np.count_nonzero(values))
        finite = values
        with np.errstate(invalid="ignore", over="ignore"):
            total = float(values.sum(dtype=np.float64))
        if not math.isfinite(total):
            # Only then is there anything that is not finite; looking for it costs a pass.
            finite = values[np.isfinite(values)]
            n_nan = int(np.count_nonzero(np.isnan(values)))
            self.n_nan += n_nan
            self.n_inf += values.size - finite.size - n_nan
            total = float(finite.sum(dtype=np.float64))
        self.n_finite += finite.size
        if finite.size:
            wide = finite.astype(np.float64, copy=False)
            self.total += total
            self.squares += float(np.dot(wide, wide))
            self.low = min(self.low, float(finite.min()))
            self.high = max(self.high, float(finite.max()))

    def result_of(self, tensor: TensorInfo) -> TensorStatsResult:
        n = self.n_finite
        mean = self.total / n if n else None
        mean_square = self.squares / n if n else None
        std = None
        if mean is not None and mean_square is not None:
            std = math.sqrt(max(0.0, mean_square - mean * mean))
        return TensorStatsResult(
            name=tensor.name,
            shape=tensor.shape,
            type_name=tensor.type_name,
            size_bytes=tensor.size_bytes,
            n_values=self.n_values,
            n_nan=self.n_nan,
            n_inf=self.n_inf,
            share_zeros=self.n_zeros / self.n_values if self.n_values else 0.0,
            minimum=self.low if n else None,
            maximum=self.high if n else None,
            mean=mean,
            std=std,
            rms=None if mean_square is None else math.sqrt(mean_square),
            first=tuple(value if math.isfinite(value) else None for value in self.first),
        )


def compare_models(spec: CompareSpec, report: Report) -> CompareResult:
    """Compare each tensor of a quantized model with that of its source.

    Raises:
        GgufError: a file cannot be read, or the two have no tensor in common.
        EngineError: ggml cannot turn a type into numbers.
    """
    source = read_header(Path(spec.source))
    quantized = read_header(Path(spec.quantized))
    originals = {tensor.name: tensor for tensor in source.tensors}
    pairs = [(originals[t.name], t) for t in quantized.tensors if t.name in originals]
    pairs = [(one, other) for one, other in pairs if one.shape == other.shape]
    if not pairs:
        raise GgufError(
            f"{quantized.path.name} and {source.path.name} have no tensor of the same name and "
            "shape. Compare a model with the one it was quantized from.",
            code="not_comparable",
        )
    n_total = sum(other.n_values for _, other in pairs)
    whole, errors, n_done = _Difference(), list[TensorError](), 0
    for one, other in pairs:
        difference = _Difference()
        chunks = zip(iterate_values(source, one), iterate_values(quantized, other), strict=True)
        for expected, found in chunks:
            difference.add(expected, found)
            n_done += expected.size
            report(JobProgress(what=other.name, n_done=n_done, n_total=n_total, unit="values"))
        whole.merge(difference)
        errors.append(difference.as_error(other.name, one.type_name, other))
    compared = {other.name for _, other in pairs}
    skipped = sorted((originals.keys() | {t.name for t in quantized.tensors}) - compared)
    return CompareResult(
        source=spec.source,
        quantized=spec.quantized,
        tensors=tuple(errors),
        whole=whole.as_error("all", "", None),
        skipped=tuple(skipped),
    )


@dataclass
class _Difference:
    """Sums over pairs of values, in double precision; NaN makes every result NaN."""

    n_values: int = 0
    squares_difference: float = 0.0
    squares_source: float = 0.0
    squares_found: float = 0.0
    products: float = 0.0
    largest: float = 0.0

    def add(self, expected: Values, found: Values) -> None:
        one, other = expected.astype(np.float64), found.astype(np.float64)
        difference = one - other
        self.n_values += one.size
        self.squares_difference += float(np.dot(difference, difference))
        self.squares_source += float(np.dot(one, one))
        self.squares_found += float(np.dot(other, other))
        self.products += float(np.dot(one, other))
        self.largest = max(self.largest, float(np.abs(difference).max()))

    def merge(self, more: _Difference) -> None:
        self.n_values += more.n_values
        self.squares_difference += more.squares_difference
        self.squares_source += more.squares_source
        self.squares_found += more.squares_found
        self.products += more.products
        self.largest = max(self.largest, more.largest)

    def as_error(self, name: str, source_type: str, tensor: TensorInfo | None) -> TensorError:
        n = max(1, self.n_values)
        rmse = math.sqrt(self.squares_difference / n)
        rms = math.sqrt(self.squares_source / n)
        norms = math.sqrt(self.squares_source) * math.sqrt(self.squares_found)
        is_equal = self.squares_difference == 0
        cosine = 1.0 if is_equal else self.products / norms if norms else 0.0
        relative = 0.0 if is_equal else rmse / rms if rms else math.inf
        return TensorError(
            name=name,
            source_type=source_type,
            type_name="" if tensor is None else tensor.type_name,
            n_values=self.n_values,
            size_bytes=0 if tensor is None else tensor.size_bytes,
            rmse=_number(rmse),
            relative_rmse=_number(relative),
            cosine=_number(cosine),
            largest_error=_number(self.largest),
        )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
