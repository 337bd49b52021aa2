from __future__ import annotations

import hashlib
import random
import struct
from pathlib import Path

import pytest

from luci_tui.engine.job_frames import JobProgress, ValidateSpec
from luci_tui.engine.native_validate import check_file, validate
from luci_tui.gguf.findings import Verdict
from luci_tui.gguf.quant import TENSOR_TYPES
from tests.support import raw_gguf as raw

pytestmark = pytest.mark.native

HALF_NAN, HALF_INF = struct.pack("<H", 0x7E01), struct.pack("<H", 0x7C00)
FLOAT_NAN, FLOAT_INF = struct.pack("<f", float("nan")), struct.pack("<f", float("inf"))
HALVES = (HALF_NAN, HALF_INF, struct.pack("<H", 0xFC00))
FLOATS = (FLOAT_NAN, FLOAT_INF, struct.pack("<f", float("-inf")))
SCALES = {
    "F32": (0, FLOATS),
    "F16": (0, HALVES),
    "BF16": (0, (b"\xc0\x7f", b"\x80\x7f", b"\x80\xff")),
    "F64": (0, (struct.pack("<d", float("nan")), struct.pack("<d", float("inf")))),
    "Q2_K": (80, HALVES),
    "Q3_K": (108, HALVES),
    "Q6_K": (208, HALVES),
    "Q8_K": (0, FLOATS),
    "TQ1_0": (52, HALVES),
    "TQ2_0": (64, HALVES),
    "IQ1_M": (48, (b"\x00\x10\x00\x00\x00\xe0\x00\x70", b"\x00\x00\x00\x00\x00\xc0\x00\x70")),
    "MXFP4": (0, (b"\xff",)),
    "NVFP4": (2, (b"\x7f", b"\xff")),
}
INTEGERS = ("I8", "I16", "I32", "I64")
KINDS = [number for number, kind in TENSOR_TYPES.items() if kind.name not in INTEGERS]
N_BLOCKS = 400


@pytest.mark.parametrize("number", KINDS, ids=lambda number: TENSOR_TYPES[number].name)
def test_deep_check_names_tensor_and_block_of_nan_and_infinity(number: int, tmp_path: Path) -> None:
    kind = TENSOR_TYPES[number]
    place, values = SCALES.get(kind.name, (0, HALVES))
    for seed, value in enumerate(values):
        block = random.Random(f"{kind.name} {seed}").randrange(N_BLOCKS)
        data = bytearray(1 + i % 43 for i in range(kind.block_bytes * N_BLOCKS))
        start = block * kind.block_bytes + place
        data[start : start + len(value)] = value
        tensor = raw.RawTensor(
            b"blk.0.extra.weight", (kind.block_values, N_BLOCKS), kind=number, data=bytes(data)
        )
        path = tmp_path / "model.gguf"
        path.write_bytes(raw.good_model().plus_tensor(tensor).build())
        assert check_file(str(path)).verdict is Verdict.OK
        report = check_file(str(path), deep=True)
        assert [one.code for one in report.findings] == ["D01"]
        assert f"Block {block} of tensor 'blk.0.extra.weight'" in report.findings[0].message
        content = path.read_bytes()
        at = report.findings[0].offset
        assert content[at + place : at + place + len(value)] == value


def test_deep_check_reports_tensors_that_were_never_written(tmp_path: Path) -> None:
    model = raw.good_model().with_tensor("output.weight", data=bytes(32 * raw.N_TOKENS * 4))
    path = tmp_path / "model.gguf"
    path.write_bytes(model.build())
    report = check_file(str(path), deep=True)
    assert report.verdict is Verdict.WARNING
    assert [one.code for one in report.findings] == ["D03"]
    assert "only zeros" in report.findings[0].message


def test_validate_with_a_hash_compares_it(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(raw.good_model().build())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    reported: list[JobProgress] = []
    right = ValidateSpec(paths=(str(path),), sha256=digest.upper())
    wrong = ValidateSpec(paths=(str(path),), sha256="0" * 64)
    assert validate(right, reported.append).reports[0].verdict is Verdict.OK
    report = validate(wrong, reported.append).reports[0]
    assert [one.code for one in report.findings] == ["D02"]
    assert digest in report.findings[0].message
    assert reported[-1].n_done == reported[-1].n_total == path.stat().st_size


def test_deep_check_of_a_file_larger_than_a_piece_finds_the_last_block(tmp_path: Path) -> None:
    n_values = 3 * 1024 * 1024 + 7
    data = bytearray(struct.pack("<f", 0.5) * n_values)
    data[-4:] = FLOAT_NAN
    tensor = raw.RawTensor(b"blk.0.extra.weight", (n_values,), data=bytes(data))
    path = tmp_path / "model.gguf"
    path.write_bytes(raw.good_model().plus_tensor(tensor).build())
    report = check_file(str(path), deep=True)
    assert f"Block {n_values - 1} of" in report.findings[0].message
