"""Stores of other programs: found, never changed, and not trusted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luci_tui.library.foreign import find_foreign
from luci_tui.library.places import Store, StoreKind, find_places
from luci_tui.library.records import FoundModel
from luci_tui.library.walk import Walk
from tests.support.libraries import MODEL, hugging_face, ollama, use_home


def found_in(kind: StoreKind, folder: Path) -> list[FoundModel]:
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    models = list(find_foreign(Store(kind, folder), Walk()))
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before
    return models


def test_hugging_face_cache_gives_the_commit_of_main(tmp_path: Path) -> None:
    hugging_face(tmp_path, "me/a-GGUF", {"a-Q8_0.gguf": MODEL}, commit="b" * 40)
    hugging_face(
        tmp_path,
        "me/a-GGUF",
        {"a-Q4_K_M.gguf": MODEL, "mmproj-model-f16.gguf": MODEL + b"x", "README.md": b"#"},
        commit="a" * 40,
    )
    (model,) = found_in(StoreKind.HUGGING_FACE, tmp_path)
    assert (model.name, model.repo, model.repo_file) == (
        *("a-Q4_K_M", "me/a-GGUF"),
        "a-Q4_K_M.gguf",
    )
    assert model.mmproj is not None
    assert len(model.sha256) == 64
    (tmp_path / "models--me--a-GGUF" / "refs" / "main").write_text("../../../etc")
    assert len(found_in(StoreKind.HUGGING_FACE, tmp_path)) == 1


def test_hugging_face_cache_with_other_things_in_it_gives_models_alone(tmp_path: Path) -> None:
    (tmp_path / "datasets--me--a" / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (tmp_path / "models--me").mkdir()
    (tmp_path / "models--me--empty").mkdir()
    (tmp_path / "version.txt").touch()
    dangling = tmp_path / "models--me--b" / "snapshots" / ("a" * 40) / "b.gguf"
    dangling.parent.mkdir(parents=True)
    dangling.symlink_to(tmp_path / "nothing")
    assert found_in(StoreKind.HUGGING_FACE, tmp_path) == []


def test_ollama_gives_names_from_manifests_and_files_from_blobs(tmp_path: Path) -> None:
    blob = ollama(tmp_path, "a:latest", MODEL)
    ollama(tmp_path, "a:7b", MODEL + bytes(32))
    ollama(tmp_path, "b:1", MODEL + bytes(64), registry="registry.ollama.ai/me")
    ollama(tmp_path, "c:Q4", MODEL + bytes(96), registry="hf.co/owner")
    models = found_in(StoreKind.OLLAMA, tmp_path)
    assert sorted(one.name for one in models) == [
        *("a:7b", "a:latest", "hf.co-owner-c:Q4", "me-b:1")
    ]
    latest = next(one for one in models if one.name == "a:latest")
    assert (latest.path, latest.aliases) == (blob, ("a",))
    assert latest.sha256 == blob.name.removeprefix("sha256-")


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{}",
        '{"layers": 3}',
        '{"layers": [{}]}',
        '{"layers": [[1]]}',
        '{"layers": [{"mediaType": "application/vnd.ollama.image.model", "size": 1,'
        ' "digest": "sha256:../../../../etc/passwd"}]}',
        '{"layers": [{"mediaType": "application/vnd.ollama.image.model", "size": "x",'
        f' "digest": "sha256:{"0" * 64}"}}]}}',
        "[" * 100_000,
    ],
)
def test_ollama_manifest_that_is_none_is_left_out(tmp_path: Path, manifest: str) -> None:
    path = tmp_path / "manifests" / "registry.ollama.ai" / "library" / "a" / "latest"
    path.parent.mkdir(parents=True)
    path.write_text(manifest)
    (path.parent.parent / "stray").touch()
    assert found_in(StoreKind.OLLAMA, tmp_path) == []


def test_ollama_blob_that_is_cut_or_gone_is_told(tmp_path: Path) -> None:
    blob = ollama(tmp_path, "a:latest", MODEL)
    blob.write_bytes(MODEL[:-5])
    (model,) = found_in(StoreKind.OLLAMA, tmp_path)
    assert "Pull it again" in model.problem
    blob.unlink()
    assert found_in(StoreKind.OLLAMA, tmp_path) == []


def test_ollama_model_with_an_adapter_says_that_it_is_another_one(tmp_path: Path) -> None:
    ollama(tmp_path, "a:latest", MODEL)
    path = tmp_path / "manifests" / "registry.ollama.ai" / "library" / "a" / "latest"
    manifest = json.loads(path.read_text())
    adapter = {"mediaType": "application/vnd.ollama.image.adapter", "size": 1}
    manifest["layers"].append({**adapter, "digest": f"sha256:{'0' * 64}"})
    path.write_text(json.dumps(manifest))
    (model,) = found_in(StoreKind.OLLAMA, tmp_path)
    assert "adapter" in model.problem


def test_lm_studio_gives_the_repository_and_its_projector(tmp_path: Path) -> None:
    folder = tmp_path / "me" / "eyes-GGUF"
    folder.mkdir(parents=True)
    (folder / "eyes-Q4_K_M.gguf").write_bytes(MODEL)
    (folder / "mmproj-model-f16.gguf").write_bytes(MODEL)
    (model,) = found_in(StoreKind.LM_STUDIO, tmp_path)
    assert (model.name, model.repo) == ("eyes-Q4_K_M", "me/eyes-GGUF")
    assert model.mmproj == folder / "mmproj-model-f16.gguf"


@pytest.mark.parametrize("kind", list(StoreKind))
def test_store_that_is_not_there_or_is_a_file_has_no_models(
    tmp_path: Path, kind: StoreKind
) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "none", tmp_path / "file"):
        assert list(find_foreign(Store(kind, folder), Walk())) == []


def test_places_follow_the_environment_of_the_other_programs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = use_home(monkeypatch, tmp_path)
    monkeypatch.setenv("HF_HOME", "/hf")
    monkeypatch.setenv("OLLAMA_MODELS", "/oll")
    folders = [str(store.folder) for store in find_places().stores]
    assert "/hf/hub" in folders
    assert "/oll" in folders
    monkeypatch.setenv("HF_HUB_CACHE", "/hub")
    assert "/hub" in [str(store.folder) for store in find_places().stores]
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.setenv("LUCI_HOME", str(home.parent / ".luciferai"))
    kinds = [store.kind for store in find_places().stores]
    assert StoreKind.OLDER_LUCI not in kinds
