"""Home folders with models in them, and stores as other programs keep them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from luci_tui.download.plan import Plan, PlannedFile, Role
from luci_tui.library.manifest import InstalledFile, version_folder, write_manifest
from tests.support import raw_gguf

MODEL = raw_gguf.good_model().build()
"""The bytes of a small model that the validator accepts."""


def install(
    models: Path,
    name: str,
    files: dict[str, bytes] | None = None,
    *,
    catalog_name: str = "",
    repo: str = "",
) -> Path:
    """Leave what `luci install` leaves, and return the folder of the version.

    Args:
        models: The models folder.
        name: Under which it is installed.
        files: By name; those with "mmproj" in theirs are projectors. None = one model file.
        catalog_name: Of the catalogue's entry.
        repo: At the hub.
    """
    files = files or {f"{name}.gguf": MODEL}
    planned: list[PlannedFile] = []
    done: list[InstalledFile] = []
    for file, data in files.items():
        digest, url = hashlib.sha256(data).hexdigest(), f"https://hub.test/{file}"
        role = Role.MMPROJ if "mmproj" in file else Role.MODEL
        planned.append(
            PlannedFile(name=file, url=url, size_bytes=len(data), sha256=digest, role=role)
        )
        done.append(
            InstalledFile(
                name=file,
                size_bytes=len(data),
                sha256=digest,
                was_promised=True,
                url=url,
                role=role,
            )
        )
    plan = Plan(
        name=name, source="a test", repo=repo, catalog_name=catalog_name, files=tuple(planned)
    )
    folder = version_folder(models, plan)
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    write_manifest(models, plan, tuple(done))
    return folder


def hugging_face(hub: Path, repo: str, files: dict[str, bytes], commit: str = "a" * 40) -> Path:
    """Keep files as the Hugging Face cache does, and return the folder of the commit."""
    folder = hub / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    for name, data in files.items():
        blob = folder / "blobs" / hashlib.sha256(data).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return snapshot


def ollama(
    models: Path,
    name: str,
    data: bytes,
    *,
    projector: bytes | None = None,
    registry: str = "registry.ollama.ai/library",
) -> Path:
    """Keep a model as Ollama does, and return its blob; `name` has a tag."""
    model, tag = name.split(":")
    layers = {"application/vnd.ollama.image.model": data}
    if projector is not None:
        layers["application/vnd.ollama.image.projector"] = projector
    blobs = models / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for kind, content in layers.items():
        digest = hashlib.sha256(content).hexdigest()
        (blobs / f"sha256-{digest}").write_bytes(content)
        rows.append({"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)})
    manifest = models / "manifests" / registry / model / tag
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": rows}))
    return blobs / f"sha256-{hashlib.sha256(data).hexdigest()}"


def use_home(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Make a home folder below `folder` the one of luci and of its person, and return luci's."""
    for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    person, home = folder / "person", folder / "luci"
    (home / "models").mkdir(parents=True)
    person.mkdir()
    monkeypatch.setenv("HOME", str(person))
    monkeypatch.setenv("LUCI_HOME", str(home))
    return home
