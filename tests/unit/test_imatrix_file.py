import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from luci_tui.errors import GgufError
from luci_tui.gguf.imatrix import read_imatrix


def write_gguf(path: Path, tensors: dict[str, np.ndarray], *, has_keys: bool = True) -> Path:
    writer = gguf.GGUFWriter(path, "imatrix")
    writer.add_type("imatrix")
    if has_keys:
        writer.add_array("imatrix.datasets", ["text.txt"])
        writer.add_uint32("imatrix.chunk_count", 5)
        writer.add_uint32("imatrix.chunk_size", 512)
    for name, values in tensors.items():
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def legacy(entries: list[tuple[bytes, int, list[float]]], tail: bytes = b"") -> bytes:
    data = struct.pack("<i", len(entries))
    for name, n_calls, values in entries:
        data += struct.pack("<i", len(name)) + name + struct.pack("<ii", n_calls, len(values))
        data += struct.pack(f"<{len(values)}f", *values)
    return data + tail


@pytest.fixture
def good(tmp_path: Path) -> Path:
    sums = np.array([[2.0, 4.0, 6.0], [9.0, 9.0, 9.0]])
    tensors = {"blk.0.x.weight.in_sum2": sums, "blk.0.x.weight.counts": np.array([[2.0], [0.0]])}
    return write_gguf(tmp_path / "good.gguf", tensors)


def test_imatrix_is_sums_over_counts_and_one_without_data(good: Path) -> None:
    found = read_imatrix(good)
    assert found.entries["blk.0.x.weight"].tolist() == [1.0, 2.0, 3.0, 1.0, 1.0, 1.0]
    assert found.entries["blk.0.x.weight"].dtype == np.float32
    assert (found.datasets, found.n_chunks) == (("text.txt",), 5)


def test_imatrix_cut_anywhere_is_refused(good: Path, tmp_path: Path) -> None:
    data = good.read_bytes()
    path = tmp_path / "cut.gguf"
    for length in range(len(data) - 32):
        path.write_bytes(data[:length])
        with pytest.raises(GgufError):
            read_imatrix(path)


def test_imatrix_with_a_changed_byte_is_read_or_refused(good: Path, tmp_path: Path) -> None:
    data = bytearray(good.read_bytes())
    path = tmp_path / "changed.gguf"
    n_refused = 0
    for offset in range(len(data)):
        changed = bytearray(data)
        changed[offset] = 0xFF
        path.write_bytes(changed)
        try:
            read_imatrix(path)
        except GgufError:
            n_refused += 1
    assert n_refused > len(data) // 4


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"a.in_sum2": np.ones(4)},
        {"a.in_sum2": np.ones(4), "a.counts": np.ones(3)},
        {"a.in_sum2": np.full(4, np.nan), "a.counts": np.ones(1)},
        {"a.in_sum2": np.ones(4), "a.counts": np.full(1, np.inf)},
    ],
)
def test_imatrix_with_unusable_data_is_refused(
    tmp_path: Path, tensors: dict[str, np.ndarray]
) -> None:
    with pytest.raises(GgufError, match="no imatrix that can be used"):
        read_imatrix(write_gguf(tmp_path / "bad.gguf", tensors))


def test_imatrix_without_its_keys_is_refused(tmp_path: Path) -> None:
    tensors = {"a.in_sum2": np.ones(4), "a.counts": np.ones(1)}
    with pytest.raises(GgufError, match=r"imatrix\.chunk_count is missing"):
        read_imatrix(write_gguf(tmp_path / "bad.gguf", tensors, has_keys=False))


def test_legacy_imatrix_is_divided_by_its_calls(tmp_path: Path) -> None:
    tail = struct.pack("<ii", 7, 4) + b"text"
    (tmp_path / "old.dat").write_bytes(legacy([(b"a", 2, [2.0, 6.0]), (b"b", 0, [5.0])], tail))
    found = read_imatrix(tmp_path / "old.dat")
    assert found.entries["a"].tolist() == [1.0, 3.0]
    assert found.entries["b"].tolist() == [5.0]
    assert (found.datasets, found.n_chunks) == (("text",), 7)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"abc",
        struct.pack("<i", 0),
        struct.pack("<i", 2**31 - 1),
        struct.pack("<ii", 1, -5),
        struct.pack("<ii", 1, 2**30),
        legacy([(b"a", 1, [1.0])])[:-1],
        struct.pack("<ii", 1, 1) + b"a" + struct.pack("<ii", 1, -1),
        struct.pack("<ii", 1, 1) + b"a" + struct.pack("<ii", 1, 2**31 - 1),
    ],
)
def test_broken_legacy_imatrix_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "old.dat").write_bytes(data)
    with pytest.raises(GgufError):
        read_imatrix(tmp_path / "old.dat")


def test_missing_imatrix_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="luci imatrix"):
        read_imatrix(tmp_path / "none")
