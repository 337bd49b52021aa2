from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from luci_tui.engine.native_validate import check_file
from luci_tui.gguf.findings import Verdict
from tests.support import raw_gguf as raw
from tests.support.split_model import shard_path, shards, write_shards

pytestmark = pytest.mark.native


def assert_rejected(path: Path | str, code: str) -> None:
    report = check_file(str(path))
    assert report.verdict is Verdict.REJECTED
    assert [one.code for one in report.findings] == [code]


def test_check_file_without_a_file_says_so(tmp_path: Path) -> None:
    assert_rejected(tmp_path / "none.gguf", "F01")
    assert_rejected("", "F01")


def test_check_file_below_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert_rejected(tmp_path / "file" / "model.gguf", "F01")


def test_check_file_with_a_zero_byte_in_the_name_says_so() -> None:
    assert_rejected("model\0.gguf", "F01")


def test_check_file_of_a_folder_says_so(tmp_path: Path) -> None:
    assert_rejected(tmp_path, "F02")


def test_check_file_of_a_fifo_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert_rejected(tmp_path / "fifo", "F03")


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero", "/dev/random"])
def test_check_file_of_a_device_says_so(device: str) -> None:
    assert_rejected(device, "F03")


def test_check_file_of_a_socket_says_so(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        report = check_file(str(tmp_path / "s"))
    assert report.verdict is Verdict.REJECTED
    assert report.findings[0].code in ("F03", "F07")


def test_check_file_of_a_link_loop_says_so(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert_rejected(tmp_path / "a", "F04")


def test_check_file_through_a_link_reads_the_file(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(raw.good_model().build())
    (tmp_path / "link").symlink_to(tmp_path / "model.gguf")
    assert check_file(str(tmp_path / "link")).verdict is Verdict.OK


def test_check_file_with_a_name_that_is_no_text_reads_the_file(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff.gguf"))
    path.write_bytes(raw.good_model().build())
    assert check_file(str(path)).verdict is Verdict.OK


def test_check_file_with_a_missing_shard_names_it(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 3)
    paths[1].unlink()
    report = check_file(str(paths[0]))
    assert [one.code for one in report.findings] == ["M10"]
    assert "Shard 2 of 3" in report.findings[0].message


def test_check_file_with_a_damaged_shard_tells_why(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 3)
    paths[2].write_bytes(paths[2].read_bytes()[:-2000])
    report = check_file(str(paths[0]))
    assert [one.code for one in report.findings] == ["M10"]
    assert "S21" in report.findings[0].message


def test_check_file_with_a_shard_of_another_model_says_so(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 3)
    other = shards(3)[1]
    strange = other.with_entry("general.architecture", raw.STRING, raw.text("qwen2"))
    paths[1].write_bytes(strange.build())
    report = check_file(str(paths[0]))
    assert [one.code for one in report.findings] == ["M10"]
    assert "qwen2" in report.findings[0].message


def test_check_file_with_a_shard_twice_says_so(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 3)
    paths[2].write_bytes(paths[1].read_bytes())
    codes = {one.code for one in check_file(str(paths[0])).findings}
    assert codes == {"M10"}


def test_check_file_with_a_wrong_total_of_tensors_says_so(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 2)
    first = shards(2)[0]
    total = ("split.tensors.count", raw.I32, raw.scalar(raw.I32, 99))
    paths[0].write_bytes(first.with_entry(*total).build())
    report = check_file(str(paths[0]))
    assert [one.code for one in report.findings] == ["M10"]
    assert "99" in report.findings[0].message


def test_check_file_of_a_renamed_shard_says_so(tmp_path: Path) -> None:
    paths = write_shards(tmp_path, 2)
    renamed = paths[0].rename(tmp_path / "model.gguf")
    assert [one.code for one in check_file(str(renamed)).findings] == ["M10"]
    swapped = shard_path(tmp_path, 0, 2)
    paths[1].rename(swapped)
    assert [one.code for one in check_file(str(swapped)).findings] == ["M10"]
