"""What `luci disk` finds, and what it never removes."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from luci_tui.download.plan import Plan, PlannedFile
from luci_tui.library.disk import DiskItem, DiskKind, clean, examine
from luci_tui.library.manifest import version_folder
from luci_tui.library.places import find_places
from luci_tui.library.store import Library
from tests.support.libraries import MODEL, hugging_face, install, use_home


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return use_home(monkeypatch, tmp_path)


def items(home: Path) -> dict[Path, DiskItem]:
    library = Library()
    return {one.path: one for one in examine(home, find_places(), library.models).items}


def kinds(home: Path) -> dict[str, tuple[DiskKind, bool]]:
    return {path.name: (one.kind, one.is_cleanable) for path, one in items(home).items()}


def test_home_with_nothing_but_models_has_nothing_to_clean(home: Path) -> None:
    folder = install(home / "models", "one")
    (folder / "README.md").write_text("a card")
    (home / "models" / "two.gguf").write_bytes(MODEL + bytes(32))
    report = examine(home, find_places(), Library().models)
    assert report.items == ()
    assert report.models == {"installed": len(MODEL), "plain": len(MODEL) + 32}
    assert report.free_bytes > 0


def test_old_versions_parts_orphans_and_what_was_set_aside_are_found_and_cleaned(
    home: Path,
) -> None:
    models = home / "models"
    old = install(models, "one", {"one.gguf": MODEL + bytes(32)})
    new = install(models, "one")
    (new / "stray.gguf").write_bytes(b"x" * 5000)
    (new / "one.gguf.corrupt-01234567").write_bytes(b"x" * 5000)
    gone = models / "installed" / "gone" / ("0" * 12)
    gone.mkdir(parents=True)
    (gone / "gone.gguf").write_bytes(MODEL)
    half = models / "installed" / "half" / ("1" * 12)
    half.mkdir(parents=True)
    (half / "half-00001-of-00002.gguf").write_bytes(MODEL)
    (half / "half-00002-of-00002.gguf.part").write_bytes(b"x" * 5000)
    (models / "two.gguf.part").write_bytes(b"x" * 5000)
    (models / "three.gguf.part-4194304").mkdir()
    (models / "three.gguf.part-4194304" / "three.gguf").write_bytes(b"x" * 5000)
    (home / "host.db.corrupt-20260101-000000").write_bytes(b"x" * 5000)
    assert kinds(home) == {
        old.name: (DiskKind.OLD_VERSION, True),
        "stray.gguf": (DiskKind.ORPHAN, True),
        "one.gguf.corrupt-01234567": (DiskKind.CORRUPT, True),
        "0" * 12: (DiskKind.ORPHAN, True),
        "1" * 12: (DiskKind.PARTIAL, True),
        "two.gguf.part": (DiskKind.PARTIAL, True),
        "three.gguf.part-4194304": (DiskKind.LEFTOVER, True),
        "host.db.corrupt-20260101-000000": (DiskKind.CORRUPT, True),
    }
    assert all(one.size_bytes > 0 for one in items(home).values())
    assert [problem for _, problem in clean(items(home).values())] == [""] * 8
    assert items(home) == {}
    assert (new / "one.gguf").read_bytes() == MODEL
    assert Library().find("one").problem == ""


def test_part_that_is_being_downloaded_stays(home: Path) -> None:
    version = home / "models" / "installed" / "busy" / ("0" * 12)
    version.mkdir(parents=True)
    part = version / "busy.gguf.part"
    part.write_bytes(b"x" * 5000)
    descriptor = os.open(part, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert kinds(home) == {"0" * 12: (DiskKind.PARTIAL, False)}
    finally:
        os.close(descriptor)
    found = items(home)[version]
    assert found.is_cleanable
    descriptor = os.open(part, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        ((_, problem),) = clean([found])
    finally:
        os.close(descriptor)
    assert "in use by another process" in problem
    assert part.exists()


def test_sources_of_conversions_are_found_and_cleaned_unless_one_is_in_use(home: Path) -> None:
    repo = home / "sources" / "org--tiny-a--b"
    whole, half = repo / ("a" * 40), repo / ("b" * 40)
    for folder, name in ((whole, "model.safetensors"), (half, "model.safetensors.part")):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"x" * 9000)
        (folder / "config.json").write_text("{}")
    descriptor = os.open(half, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        found = items(home)
        assert kinds(home) == {
            whole.name: (DiskKind.SOURCE, True),
            half.name: (DiskKind.SOURCE, False),
        }
        assert found[whole].size_bytes > 8192
        assert found[whole].detail == "hf:org/tiny-a--b at aaaaaaaaaaaa can be fetched again."
        assert "Unfinished: hf:org/tiny-a--b" in found[half].detail
        assert [problem for _, problem in clean([found[whole]])] == [""]
    finally:
        os.close(descriptor)
    assert (half / "config.json").exists()
    assert [problem for _, problem in clean(items(home).values())] == [""]
    assert list((home / "sources").iterdir()) == []


@pytest.mark.parametrize(
    ("state", "is_cleanable"), [("paused", False), ("failed", False), ("cancelled", True)]
)
def test_version_that_the_queue_needs_stays(home: Path, state: str, is_cleanable: bool) -> None:
    file = PlannedFile(name="a.gguf", url="https://hub.test/a.gguf")
    plan = Plan(name="a", source="a test", files=(file,))
    version = version_folder(home / "models", plan)
    version.mkdir(parents=True)
    (version / "a.gguf").write_bytes(MODEL)
    queue = {"items": [{"id": 1, "plan": plan.model_dump(mode="json"), "state": state}]}
    (home / "downloads.json").write_text(json.dumps(queue))
    assert items(home)[version].is_cleanable is is_cleanable
    (home / "downloads.json").write_text("no queue")
    found = items(home)[version]
    assert not found.is_cleanable
    with pytest.raises(ValueError, match="not luci's"):
        list(clean([found]))


def test_link_to_somebody_elses_folder_is_not_followed(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / ("0" * 12)
    elsewhere.mkdir(parents=True)
    (elsewhere / "a.gguf").write_bytes(MODEL)
    (home / "models" / "installed").mkdir()
    (home / "models" / "installed" / "a").symlink_to(elsewhere.parent)
    (home / "models" / "b.gguf.part").symlink_to(elsewhere / "a.gguf")
    assert items(home) == {}


def test_doubles_and_what_others_left_are_told_and_stay(home: Path) -> None:
    hub = home.parent / "person" / ".cache" / "huggingface" / "hub"
    install(home / "models", "one")
    copy = home / "models" / "copy.gguf"
    copy.write_bytes(MODEL)
    other = home / "models" / "other.gguf"
    other.write_bytes(MODEL[:-1] + b"\x01")
    (home / "models" / "custom_models").mkdir()
    (home / "models" / "custom_models" / "link.gguf").symlink_to(copy)
    snapshot = hugging_face(hub, "me/four", {"four.gguf": MODEL})
    left = hub / "models--me--four" / "blobs" / "0123.abcd.incomplete"
    left.write_bytes(b"x" * 9000)
    found = items(home)
    assert {path: one.kind for path, one in found.items()} == {
        copy: DiskKind.DUPLICATE,
        snapshot / "four.gguf": DiskKind.DUPLICATE,
        left: DiskKind.HUB_INCOMPLETE,
    }
    assert not any(one.is_cleanable for one in found.values())
    assert "the same sum as one" in found[snapshot / "four.gguf"].detail
    assert "same size, start, middle and end as one" in found[copy].detail
