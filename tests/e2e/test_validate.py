import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import raw_gguf as raw
from tests.support.terminal import TerminalProgram

pytestmark = pytest.mark.native

Luci = Callable[..., subprocess.CompletedProcess[bytes]]


def write(path: Path, model: raw.RawGguf) -> str:
    path.write_bytes(model.build())
    return str(path)


def test_validate_good_file_exits_with_0(luci: Luci, tmp_path: Path) -> None:
    good = write(tmp_path / "good.gguf", raw.good_model())
    run = luci("validate", good)
    assert (run.returncode, run.stdout.decode()) == (0, f"{good}: ok\n")


def test_validate_with_json_prints_an_object_per_file(luci: Luci, tmp_path: Path) -> None:
    good = write(tmp_path / "good.gguf", raw.good_model())
    odd = write(tmp_path / "odd.gguf", raw.good_model().with_entry("X y", raw.U8, b"\1"))
    bad = write(tmp_path / "bad.gguf", raw.good_model().without("llama.block_count"))
    run = luci("validate", good, odd, bad, "--json")
    assert run.returncode == 1
    reports = json.loads(run.stdout)
    assert [one["path"] for one in reports] == [good, odd, bad]
    assert [one["verdict"] for one in reports] == ["ok", "warning", "rejected"]
    (finding,) = reports[2]["findings"]
    assert set(finding) == {"code", "severity", "offset", "message"}
    assert (finding["code"], finding["severity"]) == ("M02", "error")


def test_validate_prints_code_place_and_sentence_without_control_characters(
    luci: Luci, tmp_path: Path
) -> None:
    name = raw.text("\x1b]52;c;ZXZpbA==\x07")
    bad = write(tmp_path / "bad.gguf", raw.good_model().with_entry("a\x1b[2J", raw.STRING, name))
    run = luci("validate", bad)
    assert run.returncode == 1
    assert "error S06 at byte" in run.stdout.decode()
    assert b"\x1b" not in run.stdout + run.stderr


def test_validate_missing_file_is_a_finding(luci: Luci, tmp_path: Path) -> None:
    run = luci("validate", str(tmp_path / "none.gguf"), "--json")
    assert run.returncode == 1
    assert json.loads(run.stdout)[0]["findings"][0]["code"] == "F01"


@pytest.mark.parametrize("arguments", [("a.gguf", "b.gguf"), ("a.gguf",)])
def test_validate_with_an_impossible_hash_is_one_sentence(
    luci: Luci, arguments: tuple[str, ...]
) -> None:
    run = luci("validate", *arguments, "--sha256", "abc")
    assert (run.returncode, run.stdout) == (2, b"")
    assert run.stderr.startswith(b"luci: --sha256 abc cannot be used")


def test_run_refuses_what_validate_rejects(luci: Luci, tmp_path: Path) -> None:
    model = raw.good_model().with_entry("llama.block_count", raw.U32, raw.scalar(raw.U32, 513))
    run = luci("run", write(tmp_path / "bad.gguf", model), "hello")
    assert (run.returncode, run.stdout) == (2, b"")
    assert b"513" in run.stderr
    assert b"M02" in run.stderr


def test_deep_check_shows_progress_on_a_terminal_and_ends_on_ctrl_c(
    luci_env: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "large.gguf"
    n_bytes = 1 << 36
    tensor = raw.RawTensor(b"blk.0.extra.weight", (32, n_bytes // 32), kind=24, data=b"")
    path.write_bytes(raw.good_model().plus_tensor(tensor).build())
    os.truncate(path, path.stat().st_size + n_bytes)
    arguments = ("-m", "luci_tui", "validate", "--deep", str(path))
    with TerminalProgram(*arguments, env=luci_env) as program:
        program.wait_for("of 64.0 GiB")
        program.send("\x03")
        assert program.wait().exit_code == 130
