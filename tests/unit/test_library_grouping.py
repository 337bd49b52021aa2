"""Which files make one model, and which projector belongs to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.library.grouping import family, group_files, projector_for
from luci_tui.library.walk import FileEntry, Walk, walk_models


def entries(*names: str) -> list[FileEntry]:
    return [FileEntry(Path("/m", name), 10, 1, 1) for name in sorted(names)]


def projectors_of(*names: str, is_own_folder: bool) -> dict[str, str | None]:
    groups, projectors = group_files(entries(*names))
    found: dict[str, str | None] = {}
    for group in groups:
        mmproj = projector_for(group, groups, projectors, is_own_folder=is_own_folder)
        found[group.stem] = None if mmproj is None else mmproj.path.name
    return found


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("gemma-3-4b-it-Q4_K_M", "gemma-3-4b-it"),
        ("mmproj-gemma-3-4b-it-f16", "gemma-3-4b-it"),
        ("llava-v1.5-7b.Q4_K_M", "llava-v1.5-7b"),
        ("gemma-3-4b-it.mmproj-Q8_0", "gemma-3-4b-it"),
        ("mmproj-model-f16", ""),
        ("mmproj-BF16", ""),
        ("Qwen3-8B-UD-Q4_K_XL", "qwen3-8b"),
        ("phi-3.1-IQ3_XXS", "phi-3.1"),
        ("plain", "plain"),
    ],
)
def test_family_of_a_file_leaves_the_type_of_its_weights_away(stem: str, expected: str) -> None:
    assert family(stem) == expected


def test_shards_are_one_model_and_a_missing_one_is_told() -> None:
    groups, _ = group_files(
        entries("a-00001-of-00003.gguf", "a-00003-of-00003.gguf", "b.gguf", "c-00009-of-00002.gguf")
    )
    assert [(one.stem, len(one.files), one.has_first) for one in groups] == [
        ("a", 2, True),
        ("b", 1, True),
    ]
    assert "1 of its 3 shards are missing" in groups[0].problem
    assert groups[1].problem == ""


def test_names_that_nobody_can_type_are_left_out() -> None:
    assert group_files(entries("a\nb.gguf", " c.gguf", "x" * 160 + ".gguf"))[0] == []


def test_projector_named_after_a_model_belongs_to_it_alone() -> None:
    names = ("eyes-4b-Q4_K_M.gguf", "other-7b-Q8_0.gguf", "mmproj-eyes-4b-f16.gguf")
    for is_own_folder in (True, False):
        found = projectors_of(*names, is_own_folder=is_own_folder)
        assert found == {"eyes-4b-Q4_K_M": "mmproj-eyes-4b-f16.gguf", "other-7b-Q8_0": None}


def test_projector_without_a_name_belongs_to_the_only_model_of_a_folder_of_its_own() -> None:
    names = ("eyes-Q4_K_M.gguf", "eyes-Q8_0.gguf", "mmproj-f32.gguf", "mmproj-f16.gguf")
    found = projectors_of(*names, is_own_folder=True)
    assert found == {"eyes-Q4_K_M": "mmproj-f16.gguf", "eyes-Q8_0": "mmproj-f16.gguf"}
    assert set(projectors_of(*names, is_own_folder=False).values()) == {None}
    assert set(projectors_of(*names, "deaf.gguf", is_own_folder=True).values()) == {None}


def test_walk_meets_each_folder_once_and_ends_at_its_bounds(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(12):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "too-deep.gguf").touch()
    (tmp_path / "d" / "loop").symlink_to(tmp_path)
    (tmp_path / "d" / "a.gguf").touch()
    (tmp_path / "d" / ".hidden.gguf").touch()
    (tmp_path / "d" / "gone.gguf").symlink_to(tmp_path / "nothing")
    (tmp_path / "d" / "folder.gguf").mkdir()
    found = [file.path.name for _, files in walk_models(tmp_path, Walk()) for file in files]
    assert found == ["a.gguf"]


def test_walk_of_too_many_names_says_where_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("luci_tui.library.walk.MAX_ENTRIES", 5)
    for number in range(9):
        (tmp_path / f"{number}.gguf").touch()
    walk = Walk()
    ((_, files),) = walk_models(tmp_path, walk)
    assert len(files) == 5
    assert walk.cut == tmp_path
