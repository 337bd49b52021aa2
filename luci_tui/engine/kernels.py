"""ggml's kernels on NumPy buffers: rows of any tensor type to float and back, without a copy.

Bound with cffi to the C functions of native/bindings/kernels.cpp, which the extension exports
beside its Python module. The kernels release the GIL and may run in several threads.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from luci_tui.engine.native import require_native
from luci_tui.errors import EngineError

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

_DECLARATIONS = """
int32_t luci_n_types(void);
const char *luci_type_name(int32_t type);
int64_t luci_row_size(int32_t type, int64_t n_values);
int32_t luci_can_dequantize(int32_t type);
int32_t luci_can_quantize(int32_t type);
int64_t luci_dequantize(int32_t type, const void *src, int64_t n_bytes, float *dst,
                        int64_t n_values);
int64_t luci_quantize(int32_t type, const float *src, void *dst, int64_t n_bytes, int64_t n_rows,
                      int64_t n_per_row, const float *imatrix);
"""

_REASONS: Final = {
    -1: "there is no such type. Use one of ggml's type numbers",
    -2: "ggml cannot convert this type. Use another one",
    -3: "the sizes are no whole number of blocks. Use rows that the block size divides",
    -4: "a buffer is not aligned. Use contiguous arrays",
    -5: "this type needs an importance matrix. Make one with `luci imatrix`",
    -6: "there are NaN or infinite values. Use a source without them",
}


class _Library:
    """The loaded functions; cffi itself has no types."""

    def __init__(self) -> None:
        import cffi  # pyright: ignore[reportMissingTypeStubs]

        require_native()
        spec = importlib.util.find_spec("luci_tui._native")
        assert spec is not None
        self.ffi: Any = cffi.FFI()
        self.ffi.cdef(_DECLARATIONS)
        self.functions: Any = self.ffi.dlopen(spec.origin)

    def pointer(self, kind: str, array: npt.NDArray[Any]) -> object:
        return self.ffi.from_buffer(kind, array)


@functools.cache
def _library() -> _Library:
    return _Library()


def type_names() -> dict[int, str]:
    """Give the name of every type of this build, by number, as ggml writes it ("q4_K").

    Raises:
        EngineError: the extension is missing.
    """
    lib = _library()
    names: dict[int, str] = {}
    for number in range(lib.functions.luci_n_types()):
        name = lib.functions.luci_type_name(number)
        if name != lib.ffi.NULL:
            names[number] = cast("bytes", lib.ffi.string(name)).decode()
    return names


def can_dequantize(type_number: int) -> bool:
    """Tell whether `dequantize` takes a type."""
    return bool(_library().functions.luci_can_dequantize(type_number))


def can_quantize(type_number: int, *, has_imatrix: bool = False) -> bool:
    """Tell whether `quantize` takes a type."""
    answer = _library().functions.luci_can_quantize(type_number)
    return answer == 1 or (answer == 2 and has_imatrix)


def row_size(type_number: int, n_values: int) -> int:
    """Give the bytes of a row.

    Raises:
        EngineError: there is no such type, or the row is no whole number of its blocks.
    """
    return _checked(_library().functions.luci_row_size(type_number, n_values), type_number)


def dequantize(type_number: int, data: bytes | Bytes, n_values: int) -> Floats:
    """Turn blocks of a type into floats.

    Args:
        type_number: The type as in a GGUF file.
        data: Exactly the bytes of `n_values`.
        n_values: How many values they are.

    Returns:
        Shape (n_values,); NaN and infinity in the block scales come through.

    Raises:
        EngineError: the type or the sizes do not fit.
    """
    lib = _library()
    source = np.frombuffer(data, dtype=np.uint8) if isinstance(data, bytes) else data
    result: Floats = np.empty(n_values, dtype=np.float32)
    code = lib.functions.luci_dequantize(
        type_number,
        lib.pointer("char[]", source),
        source.size,
        lib.pointer("float[]", result),
        n_values,
    )
    _checked(code, type_number)
    return result


def quantize(type_number: int, rows: Floats, imatrix: Floats | None = None) -> Bytes:
    """Turn rows of floats into blocks of a type.

    Args:
        type_number: The type as in a GGUF file.
        rows: Shape (n_rows, n_per_row), contiguous.
        imatrix: Importance of each column, shape (n_per_row,); None = all are alike.

    Returns:
        Shape (bytes,).

    Raises:
        EngineError: the type, the sizes or the values do not fit.
    """
    lib = _library()
    n_rows, n_per_row = int(rows.shape[0]), int(rows.shape[1])
    if imatrix is not None and imatrix.shape != (n_per_row,):
        msg = f"imatrix has shape {imatrix.shape}, rows have {n_per_row} values"
        raise ValueError(msg)
    n_bytes = n_rows * row_size(type_number, n_per_row)
    result: Bytes = np.empty((n_bytes,), dtype=np.uint8)
    code = lib.functions.luci_quantize(
        type_number,
        lib.pointer("float[]", rows),
        lib.pointer("char[]", result),
        n_bytes,
        n_rows,
        n_per_row,
        lib.ffi.NULL if imatrix is None else lib.pointer("float[]", imatrix),
    )
    _checked(code, type_number)
    return result


def _checked(code: int, type_number: int) -> int:
    if code < 0:
        reason = _REASONS.get(code, "the kernel failed. Report this")
        raise EngineError(f"Tensor type {type_number} cannot be used: {reason}.", code="kernel")
    return code
