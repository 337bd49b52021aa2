from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.jobs import part_bytes
from tests.support.wide_models import calibration_text, write_wide_model

Luci = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return write_wide_model(folder / "wide-F16.gguf", n_layers=3, n_ff=768)


def test_quantize_to_several_types_names_them_after_the_source(
    luci: Luci, source: Path, tmp_path: Path
) -> None:
    run = luci("quantize", str(source), str(tmp_path), "-t", "q4_k", "-t", "Q8_0", "--json")
    assert (run.returncode, run.stderr) == (0, b"")
    result = json.loads(run.stdout)
    paths = [tmp_path / "wide-Q4_K_M.gguf", tmp_path / "wide-Q8_0.gguf"]
    assert [file["path"] for file in result["files"]] == [str(path) for path in paths]
    assert [file["size_bytes"] for file in result["files"]] == [p.stat().st_size for p in paths]
    again = luci("quantize", str(source), str(tmp_path), "-t", "Q4_K_M")
    assert again.returncode == 2
    assert b"is there already" in again.stderr
    assert len(again.stderr.splitlines()) == 1


def test_quantize_with_a_report_compares_each_tensor(
    luci: Luci, source: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small.gguf"
    run = luci("quantize", str(source), str(small), "-t", "Q8_0", "--report", "--json")
    assert (run.returncode, run.stderr) == (0, b"")
    (report,) = json.loads(run.stdout)["reports"]
    names = [row["name"] for row in report["tensors"]]
    assert "token_embd.weight" in names
    assert 0.999 < report["whole"]["cosine"] < 1
    told = luci("quantize", str(source), str(small), "-t", "Q8_0", "--report", "--force")
    assert told.returncode == 0
    assert b"cosine" in told.stdout
    assert b"token_embd.weight" in told.stdout


def test_quantize_dry_run_says_the_size_and_writes_nothing(
    luci: Luci, source: Path, tmp_path: Path
) -> None:
    name = str(tmp_path / "small-{type}.gguf")
    run = luci("quantize", str(source), name, "-t", "Q4_0", "-t", "IQ2_XXS", "--dry-run")
    assert run.returncode == 0
    assert b"small-Q4_0.gguf: Q4_0, " in run.stdout
    assert b"needs an imatrix" in run.stderr
    assert list(tmp_path.glob("*.gguf")) == []


def test_quantize_with_several_types_and_one_name_is_refused(luci: Luci, source: Path) -> None:
    run = luci("quantize", str(source), "one.gguf", "-t", "Q4_0", "-t", "Q8_0")
    assert run.returncode == 2
    assert b"one name for 2 types" in run.stderr


def test_types_are_listed(luci: Luci) -> None:
    run = luci("quantize", "--list-types")
    assert b"Q4_K_M" in run.stdout
    listed = json.loads(luci("quantize", "--list-types", "--json").stdout)
    assert {"name", "bits_per_weight", "alias_of", "description"} == set(listed[0])


def test_imatrix_is_made_and_used(luci: Luci, source: Path, tmp_path: Path) -> None:
    text = calibration_text(tmp_path / "text.txt")
    matrix = tmp_path / "wide.imatrix.gguf"
    options = ("--n-ctx", "64", "--chunks", "2", "--threads", "1", "--json")
    run = luci("imatrix", str(source), str(text), str(matrix), *options)
    assert run.returncode == 0
    assert json.loads(run.stdout)["n_entries"] == 21
    made = luci(
        *("quantize", str(source), str(tmp_path / "out.gguf"), "-t", "IQ2_XXS"),
        *("--imatrix", str(matrix)),
    )
    assert made.returncode == 0
    assert (tmp_path / "out.gguf").is_file()


def test_interrupt_ends_the_job_and_leaves_nothing(
    luci_env: dict[str, str], source: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    types = ("-t", "Q2_K", "-t", "Q3_K_L", "-t", "Q4_K_M")
    program = subprocess.Popen(
        [
            # A shell may have started the tests with interrupts ignored, which children inherit.
            *("env", "--default-signal=INT", sys.executable, "-m", "luci_tui"),
            *("quantize", str(source), str(folder), "--threads", "1", *types),
        ],
        env=luci_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while program.poll() is None and not part_bytes(folder):
        pass
    program.send_signal(signal.SIGINT)
    out, _ = program.communicate(timeout=30)
    assert (program.returncode, out) == (130, b"")
    assert not list(folder.glob("*.part-*"))
