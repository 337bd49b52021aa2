"""Copies of models: whole, resumed, checked."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from luci_tui.errors import ConfigError
from luci_tui.library import backup
from luci_tui.library.backup import BackupPlan, BackupReport, plan_backup, run_backup, verify_backup
from luci_tui.library.places import find_places
from luci_tui.library.store import Library
from tests.support.libraries import MODEL, install, ollama, use_home


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    home = use_home(monkeypatch, tmp_path)
    install(home / "models", "one", {"one.gguf": MODEL, "mmproj-one.gguf": MODEL + bytes(32)})
    (home / "models" / "two.gguf").write_bytes(MODEL + bytes(64))
    (home / "models" / "custom_models" / "sub").mkdir(parents=True)
    (home / "models" / "custom_models" / "sub" / "three.gguf").write_bytes(MODEL + bytes(96))
    (home / "models" / "custom_models" / "sub" / "three.md").write_text("# a card")
    (home / "library.toml").write_text("[model.three]\nenabled = true\n")
    ollama(tmp_path / "person" / ".ollama" / "models", "theirs:latest", MODEL + bytes(128))
    return home


def plan(home: Path, destination: Path) -> BackupPlan:
    return plan_backup(home, find_places(), Library().models, destination)


def run(home: Path, destination: Path) -> BackupReport:
    return run_backup(plan(home, destination), lambda *_: None)


def test_copy_is_a_home_that_works_and_has_sums_that_others_can_check(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "disk" / "copy"
    planned = plan(home, copy)
    assert (planned.n_models, planned.to_copy_bytes) == (3, planned.total_bytes)
    assert not copy.exists()
    report = run_backup(planned, lambda *_: None)
    assert (report.n_copied, report.problems) == (7, [])
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=copy, check=True)
    assert verify_backup(copy, lambda *_: None).n_present == 7
    monkeypatch.setenv("LUCI_HOME", str(copy))
    copied = Library(with_foreign=False)
    assert {one.name: one.is_enabled for one in copied.models} == {
        "one": True,
        "two": True,
        "three": True,
    }
    assert copied.find("one").found.mmproj is not None
    assert copied.find("three").card is not None


def test_second_copy_has_nothing_to_do_but_what_changed(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    run(home, copy)
    assert plan(home, copy).to_copy_bytes == 0
    (home / "models" / "two.gguf").write_bytes(MODEL)
    (copy / "models" / "custom_models" / "sub" / "three.gguf").unlink()
    report = run(home, copy)
    assert (report.n_copied, report.n_present) == (2, 5)
    assert (copy / "models" / "two.gguf").read_bytes() == MODEL


@pytest.mark.parametrize("left", [b"", MODEL[:700], b"of another file" * 9, MODEL + bytes(200)])
def test_copy_that_was_broken_off_goes_on_in_the_middle(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: bytes
) -> None:
    monkeypatch.setattr(backup, "CHUNK_BYTES", 256)
    copy = tmp_path / "copy"
    part = copy / "models" / "two.gguf.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    assert run(home, copy).problems == []
    assert (copy / "models" / "two.gguf").read_bytes() == MODEL + bytes(64)
    assert not part.exists()


def test_damaged_model_is_told_and_not_copied(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    (path,) = (home / "models" / "installed" / "one").rglob("one.gguf")
    data = bytearray(MODEL)
    data[-1] ^= 1
    path.write_bytes(data)
    report = run(home, copy)
    assert "is damaged" in report.problems[0]
    assert list(copy.rglob("one.gguf*")) == []
    assert (copy / "models" / "two.gguf").exists()


def test_damage_of_the_copy_is_found(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    run(home, copy)
    two = copy / "models" / "two.gguf"
    two.write_bytes(b"\0" + two.read_bytes()[1:])
    (copy / "library.toml").unlink()
    problems = verify_backup(copy, lambda *_: None).problems
    assert len(problems) == 2
    assert any("two.gguf is damaged" in one for one in problems)
    with pytest.raises(ConfigError, match="no backup"):
        verify_backup(tmp_path, lambda *_: None)


def test_destination_that_cannot_be_used_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (home, home / "models", home / "models" / "copy", tmp_path / "file"):
        with pytest.raises(ConfigError):
            plan(home, place)
    with pytest.raises(ConfigError, match="cannot be written"):
        run_backup(plan(home, tmp_path / "file" / "sub"), lambda *_: None)


def test_disk_that_is_too_small_is_refused_before_anything_is_copied(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "SPARE_BYTES", 2**60)
    with pytest.raises(ConfigError, match="Make room"):
        run(home, tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


def test_sums_that_lead_out_of_the_copy_are_not_followed(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  ../../etc/passwd\n{digest}  /etc/passwd\nx\n")
    with pytest.raises(ConfigError, match="no backup"):
        verify_backup(tmp_path, lambda *_: None)
