from __future__ import annotations

import gguf
import numpy as np
import pytest

from luci_tui.engine import kernels
from luci_tui.errors import EngineError
from luci_tui.gguf.quant import TENSOR_TYPES

FLOAT_TYPES = ("F32", "F16", "BF16")
NOT_CONVERTED = {"I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K"}
"""Types without a kernel to floats; integers and F64 are read without one."""
NOT_IN_PACKAGE = {"Q1_0", "Q2_0"}
"""Types that the gguf package cannot convert."""
SLOW_TABLES = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S"}
"""ggml searches seconds for their tables when it first quantizes to them."""
CONVERTED = [number for number, kind in TENSOR_TYPES.items() if kind.name not in NOT_CONVERTED]
QUANTIZED = [number for number in CONVERTED if TENSOR_TYPES[number].name not in FLOAT_TYPES]


def rows(n_per_row: int = 512, n_rows: int = 4) -> kernels.Floats:
    return np.random.default_rng(7).standard_normal((n_rows, n_per_row), dtype=np.float32)


def test_type_names_given_this_build_then_are_those_of_our_table() -> None:
    names = {number: name.upper() for number, name in kernels.type_names().items()}
    assert names == {number: kind.name for number, kind in TENSOR_TYPES.items()}


@pytest.mark.parametrize("number", TENSOR_TYPES)
def test_row_size_given_a_type_then_is_that_of_our_table(number: int) -> None:
    kind = TENSOR_TYPES[number]
    assert kernels.row_size(number, kind.block_values * 3) == kind.block_bytes * 3
    assert kernels.can_dequantize(number) is (number in CONVERTED)


@pytest.mark.parametrize("number", CONVERTED)
def test_dequantize_given_any_blocks_then_agrees_with_the_gguf_package(number: int) -> None:
    kind = TENSOR_TYPES[number]
    n_values = 1024
    n_bytes = n_values // kind.block_values * kind.block_bytes
    # Bytes below 0x60 make no scale that is infinite or NaN.
    data = np.random.default_rng(number).integers(0, 0x60, n_bytes, dtype=np.uint8)
    found = kernels.dequantize(number, data, n_values)
    assert np.isfinite(found).all()
    if kind.name in NOT_IN_PACKAGE:
        assert len(np.unique(found)) > 1
        return
    expected = gguf.quants.dequantize(data, gguf.GGMLQuantizationType(number))
    np.testing.assert_allclose(found, expected.view(np.float32).ravel(), rtol=1e-6)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(n, marks=[pytest.mark.slow] if TENSOR_TYPES[n].name in SLOW_TABLES else [])
        for n in QUANTIZED
    ],
)
def test_quantize_given_rows_then_stays_near_them(number: int) -> None:
    values = rows()
    weights = np.ones(values.shape[1], dtype=np.float32)
    data = kernels.quantize(number, values, weights)
    found = kernels.dequantize(number, data, values.size)
    cosine = float(np.dot(found, values.ravel())) / float(
        np.linalg.norm(found) * np.linalg.norm(values)
    )
    # Ternary types keep 0.72 of a normal distribution, four bits 0.99.
    assert cosine > 0.7


@pytest.mark.parametrize("number", [0, 1, 30])
def test_quantize_given_a_float_type_then_goes_there_and_back(number: int) -> None:
    values = rows()
    data = kernels.quantize(number, values)
    found = kernels.dequantize(number, data, values.size).reshape(values.shape)
    expected = gguf.quants.dequantize(
        gguf.quants.quantize(values, gguf.GGMLQuantizationType(number)),
        gguf.GGMLQuantizationType(number),
    )
    np.testing.assert_array_equal(found, expected)


def test_dequantize_given_a_buffer_then_does_not_change_it_and_takes_bytes_too() -> None:
    data = kernels.quantize(8, rows())
    before = data.copy()
    from_array = kernels.dequantize(8, data, 2048)
    np.testing.assert_array_equal(data, before)
    np.testing.assert_array_equal(from_array, kernels.dequantize(8, data.tobytes(), 2048))


def test_dequantize_given_nan_in_a_scale_then_passes_it_on() -> None:
    data = kernels.quantize(8, rows(32, 2)).reshape(2, 34)
    data[1, :2] = (0xFF, 0x7F)
    found = kernels.dequantize(8, data.ravel(), 64)
    assert np.isfinite(found[:32]).all()
    assert np.isnan(found[32:]).all()


@pytest.mark.parametrize(
    ("number", "n_bytes", "n_values", "words"),
    [
        (4, 18, 32, "no such type"),
        (-1, 18, 32, "no such type"),
        (10_000, 18, 32, "no such type"),
        (2, 17, 32, "whole number of blocks"),
        (2, 18, 33, "whole number of blocks"),
        (2, 18, 0, "whole number of blocks"),
        (26, 128, 32, "cannot convert"),
    ],
)
def test_dequantize_given_what_does_not_fit_then_says_so(
    number: int, n_bytes: int, n_values: int, words: str
) -> None:
    with pytest.raises(EngineError, match=words) as caught:
        kernels.dequantize(number, bytes(n_bytes), n_values)
    assert caught.value.code == "kernel"


def test_quantize_given_what_would_abort_ggml_then_says_so() -> None:
    with pytest.raises(EngineError, match="importance matrix"):
        kernels.quantize(16, rows())
    with pytest.raises(EngineError, match="NaN"):
        kernels.quantize(12, np.full((1, 256), np.nan, dtype=np.float32))
    with pytest.raises(EngineError, match="whole number of blocks"):
        kernels.quantize(12, rows(32))
    with pytest.raises(EngineError, match="cannot convert"):
        kernels.quantize(15, rows())
    with pytest.raises(ValueError, match="imatrix has shape"):
        kernels.quantize(12, rows(256), np.ones(255, dtype=np.float32))
    assert not kernels.can_quantize(16)
    assert kernels.can_quantize(16, has_imatrix=True)
