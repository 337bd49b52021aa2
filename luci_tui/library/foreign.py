"""Find the models in the stores of other programs. They are read where they lie, and never changed.

Sources: https://huggingface.co/docs/huggingface_hub/guides/manage-cache for the Hugging Face cache;
server/internal/manifest/manifest.go of github.com/ollama/ollama for Ollama's manifests and blobs;
https://lmstudio.ai/docs/app/basics/import-model for LM Studio's folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, assert_never, cast

from luci_tui.library.finding import find_in_tree
from luci_tui.library.grouping import group_files, is_typable, projector_for
from luci_tui.library.places import Store, StoreKind
from luci_tui.library.records import FoundModel, ModelKind, Stamp
from luci_tui.library.walk import MAX_ENTRIES, Walk, list_folders, walk_models

_SHA256 = re.compile(r"sha256[:-]([0-9a-f]{64})")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_MANIFEST_BYTES: Final = 1024 * 1024
_OLLAMA_DEPTH: Final = 4
"""Folders of a manifest: registry, namespace, model; its name is the tag."""
_OLLAMA_MODEL: Final = "application/vnd.ollama.image.model"
_OLLAMA_PROJECTOR: Final = "application/vnd.ollama.image.projector"
_OLLAMA_ADAPTER: Final = "application/vnd.ollama.image.adapter"


def find_foreign(store: Store, walk: Walk) -> Iterator[FoundModel]:
    """Find the models of one store; a store that is not there has none."""
    match store.kind:
        case StoreKind.OLDER_LUCI:
            yield from find_in_tree(store.folder, walk, ModelKind.FOREIGN, store.kind.value)
        case StoreKind.HUGGING_FACE:
            yield from _hugging_face(store.folder, walk)
        case StoreKind.OLLAMA:
            yield from _ollama(store.folder, walk)
        case StoreKind.LM_STUDIO:
            yield from _lm_studio(store.folder, walk)
        case _:
            assert_never(store.kind)


def _hugging_face(hub: Path, walk: Walk) -> Iterator[FoundModel]:
    """Read models--OWNER--NAME/snapshots/COMMIT/…, of each repository one commit."""
    for folder in list_folders(hub, walk):
        kind, *parts = folder.name.split("--")
        if kind != "models" or len(parts) != 2:
            continue
        snapshot = _snapshot(folder, walk)
        if snapshot is not None:
            yield from _repo_models(snapshot, "/".join(parts), walk, StoreKind.HUGGING_FACE)


def _snapshot(repo_folder: Path, walk: Walk) -> Path | None:
    """Choose the commit that "main" stands for, else the one that came last."""
    snapshots = list_folders(repo_folder / "snapshots", walk)
    try:
        main = (repo_folder / "refs" / "main").read_text(encoding="ascii").strip()[:64]
    except (OSError, UnicodeDecodeError):
        main = ""
    wanted = repo_folder / "snapshots" / main
    if _COMMIT.fullmatch(main) and wanted in snapshots:
        return wanted
    return max(snapshots, key=lambda one: walk.folders.get(one, 0) or _mtime_ns(one), default=None)


def _repo_models(root: Path, repo: str, walk: Walk, store: StoreKind) -> Iterator[FoundModel]:
    """Find the models of one repository; each of its folders is one model's own."""
    for _, files in walk_models(root, walk):
        groups, projectors = group_files(files)
        for group in groups:
            mmproj = projector_for(group, groups, projectors, is_own_folder=True)
            first = group.files[0].path
            yield FoundModel(
                name=group.stem,
                kind=ModelKind.FOREIGN,
                files=tuple(one.path for one in group.files),
                stamp=group.stamp,
                mmproj=None if mmproj is None else mmproj.path,
                mmproj_bytes=0 if mmproj is None else mmproj.size_bytes,
                store=store.value,
                repo=repo,
                repo_file=first.relative_to(root).as_posix(),
                sha256=_blob_sum(first) if store is StoreKind.HUGGING_FACE else "",
                problem=group.problem,
                is_readable=group.has_first,
            )


def _blob_sum(link: Path) -> str:
    """Give the sum that a large file of the cache is named by; empty = it is not."""
    try:
        name = link.readlink().name
    except OSError:
        return ""
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else ""


def _lm_studio(models: Path, walk: Walk) -> Iterator[FoundModel]:
    """Read PUBLISHER/REPOSITORY/*.gguf."""
    for publisher in list_folders(models, walk):
        for folder in list_folders(publisher, walk):
            repo = f"{publisher.name}/{folder.name}"
            yield from _repo_models(folder, repo, walk, StoreKind.LM_STUDIO)


def _ollama(models: Path, walk: Walk) -> Iterator[FoundModel]:
    """Read manifests/REGISTRY/NAMESPACE/MODEL/TAG, each of which names blobs/sha256-…."""
    manifests = models / "manifests"
    for path in _files_below(manifests, walk):
        parts = path.relative_to(manifests).parts
        if len(parts) != _OLLAMA_DEPTH:
            continue
        layers = _layers(path)
        found = _ollama_model(models / "blobs", _ollama_name(parts), layers)
        if found is not None:
            yield found


def _files_below(root: Path, walk: Walk) -> Iterator[Path]:
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        waiting += reversed(list_folders(folder, walk))
        try:
            names = sorted(one for one in folder.iterdir() if not one.name.startswith("."))
        except OSError:
            continue
        yield from (path for path in names[:MAX_ENTRIES] if path.is_file())


def _ollama_name(parts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Give the name as Ollama shows it, but for slashes, and what it may be called for short."""
    registry, namespace, model, tag = parts
    where = [] if registry == "registry.ollama.ai" else [registry]
    where += [] if namespace == "library" and not where else [namespace]
    name = "-".join([*where, model])
    return f"{name}:{tag}", (name,) if tag == "latest" else ()


def _layers(path: Path) -> dict[str, tuple[str, int]]:
    """Give digest and size of each kind of layer of a manifest; nothing of a broken one."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_MANIFEST_BYTES)
        manifest: Any = json.loads(data)
        layers = cast("list[Any]", manifest["layers"])
        found: dict[str, tuple[str, int]] = {}
        for layer in layers[:100]:
            # A digest becomes part of a path, so it has to be one.
            digest = _SHA256.fullmatch(str(layer["digest"]))
            if digest is not None:
                found.setdefault(str(layer["mediaType"]), (digest[1], int(layer["size"])))
        return found
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _ollama_model(
    blobs: Path, named: tuple[str, tuple[str, ...]], layers: dict[str, tuple[str, int]]
) -> FoundModel | None:
    name, aliases = named
    if _OLLAMA_MODEL not in layers or not is_typable(name):
        return None
    digest, size_bytes = layers[_OLLAMA_MODEL]
    path = blobs / f"sha256-{digest}"
    try:
        facts = path.stat()
    except OSError:
        return None  # of a pull that never ended
    found = FoundModel(
        name=name,
        kind=ModelKind.FOREIGN,
        files=(path,),
        stamp=Stamp(facts.st_size, facts.st_mtime_ns, facts.st_ino & (2**63 - 1)),
        store=StoreKind.OLLAMA.value,
        aliases=aliases,
        sha256=digest,
    )
    if facts.st_size != size_bytes:
        problem = f"{path} has {facts.st_size} bytes instead of {size_bytes}. Pull it again."
        found = replace(found, problem=problem)
    elif _OLLAMA_ADAPTER in layers:
        problem = "Ollama runs it with an adapter, without which it is another model."
        found = replace(found, problem=f"{problem} Load the adapter with --lora.")
    if _OLLAMA_PROJECTOR in layers:
        projector, projector_bytes = layers[_OLLAMA_PROJECTOR]
        mmproj = blobs / f"sha256-{projector}"
        if mmproj.is_file():
            found = replace(found, mmproj=mmproj, mmproj_bytes=projector_bytes)
    return found


def _mtime_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
