"""Which files of a repository make one model: shards, quant types and projectors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from luci_tui.download.hub_facts import RepoFile, plain_words
from luci_tui.errors import CatalogError, DownloadError

DEFAULT_QUANTS = ("Q4_K_M",)
"""Taken where a repository has several and none is asked for; see docs/hub.md."""
MAX_SHARDS = 64
N_SHOWN = 30
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_QUANT = re.compile(
    r"(?:^|[-._])"
    r"(?P<quant>(?:UD[-_])?(?:I?Q\d(?:_\d|_K|_NL|_X{0,2}[SML])(?:_(?:K_)?(?:X{0,2}[SML]|NL))*"
    r"|TQ\d_\d|MXFP4(?:_MOE)?|NVFP4|BF16|F16|F32|FP16|FP32))(?=[-._]|$)"
    # "q4" alone is a quant type only where nothing follows: a model may be called q2-game.
    r"|[-._](?P<bare>Q\d)$",
    re.I,
)
_OTHER = re.compile(r"(^|[-._/])(mmproj|imatrix)([-._]|$)|(^|/)mtp[-._]", re.I)


@dataclass(frozen=True)
class ModelFiles:
    """One model of a repository: a file, or all shards of a set."""

    files: tuple[RepoFile, ...]
    """The first shard first."""
    quant: str
    """As its name says, in capitals; empty = it does not say."""
    missing: tuple[str, ...] = ()
    """Names of shards that the repository does not have."""

    @property
    def path(self) -> str:
        """Return the path of the first file."""
        return self.files[0].path

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size_bytes for file in self.files)


def models_in(files: Iterable[RepoFile]) -> tuple[ModelFiles, ...]:
    """Sort a repository's GGUF files into models, by path; projectors and the like are left out."""
    ggufs = [one for one in files if one.path.endswith(".gguf") and not _OTHER.search(one.path)]
    sets: dict[str, list[RepoFile]] = {}
    for file in ggufs:
        match = _SHARD.fullmatch(file.path)
        key = f"{match['stem']}-of-{match['count']}" if match else file.path
        sets.setdefault(key, []).append(file)
    return tuple(_model(found) for found in sets.values())


def projectors_in(files: Iterable[RepoFile]) -> tuple[RepoFile, ...]:
    """Return the projectors of a repository."""
    return tuple(
        one for one in files if one.path.endswith(".gguf") and "mmproj" in _name(one.path).lower()
    )


def quant_of(path: str) -> str:
    """Return the quant type that a file's name ends with, in capitals; "" = it names none."""
    match = _SHARD.fullmatch(path)
    stem = match["stem"] if match else path.removesuffix(".gguf")
    # Some repositories have a folder for each quant type.
    found = _quants(_name(stem)) or _quants(_name(stem.rpartition("/")[0]))
    return found[-1].upper().replace("UD_", "UD-") if found else ""


def shard_names(path: str) -> tuple[str, ...]:
    """Return the paths of the whole set that a shard belongs to; of another file its own alone.

    Raises:
        CatalogError: the numbers of the shard make no set.
    """
    match = _SHARD.fullmatch(path)
    if match is None:
        return (path,)
    number, count = int(match["number"]), int(match["count"])
    if not 1 <= number <= count <= MAX_SHARDS:
        msg = (
            f"{plain_words(_name(path), 200)} is shard {number} of {count}, which makes no set of "
            f"at most {MAX_SHARDS}. Check the name."
        )
        raise CatalogError(msg, code="bad_name")
    return tuple(f"{match['stem']}-{n:05}-of-{count:05}.gguf" for n in range(1, count + 1))


def choose(files: Sequence[RepoFile], repo: str, *, path: str = "", quant: str = "") -> ModelFiles:
    """Choose one model of a repository.

    Args:
        files: All files of the repository.
        repo: Its name, for the messages.
        path: A file, or a shard of a set; empty = look for the quant type.
        quant: Quant type, in any case; empty = the only model there is, else the usual type.

    Raises:
        CatalogError: there is no such file, or several fit; the message lists what there is.
        DownloadError: shards are missing; code "incomplete_set".
    """
    if path:
        return _at_path(files, repo, path)
    models = models_in(files)
    if not models:
        msg = f"{repo} has no GGUF model. `luci search` finds repositories that do."
        raise CatalogError(msg, code="no_gguf")
    if quant:
        fitting = [one for one in models if one.quant == quant.upper()]
        what = f"has no model of the quant type {plain_words(quant)}"
    else:
        fitting = list(models) if len(models) == 1 else []
        for usual in DEFAULT_QUANTS:
            fitting = fitting or [one for one in models if one.quant == usual]
        what = "has several models"
    if len(fitting) == 1:
        return whole(fitting[0])
    if fitting:
        what = f"has {len(fitting)} models of the quant type {fitting[0].quant or 'asked for'}"
    raise _several(repo, what, fitting or models)


def whole(model: ModelFiles) -> ModelFiles:
    """Return a model if all of it is there.

    Raises:
        DownloadError: shards are missing; code "incomplete_set".
    """
    if model.missing:
        names = ", ".join(_name(path) for path in model.missing[:5])
        msg = (
            f"The set of {_name(model.path)} is incomplete: {len(model.missing)} of "
            f"{len(model.missing) + len(model.files)} shards are missing ({names}). "
            "Take another model, or tell its publisher."
        )
        raise DownloadError(msg, code="incomplete_set")
    return model


def _model(files: list[RepoFile]) -> ModelFiles:
    by_path = {file.path: file for file in files}
    try:
        wanted = shard_names(files[0].path)
    except CatalogError:
        # A strange number makes a strange file, not a set.
        return ModelFiles(tuple(files[:1]), quant_of(files[0].path))
    found = tuple(by_path[path] for path in wanted if path in by_path)
    missing = tuple(path for path in wanted if path not in by_path)
    return ModelFiles(found or tuple(files), quant_of(files[0].path), missing)


def _at_path(files: Sequence[RepoFile], repo: str, path: str) -> ModelFiles:
    by_path = {file.path: file for file in files}
    if path not in by_path:
        alike = [file.path for file in files if _name(file.path).lower() == _name(path).lower()]
        models = models_in(files)
        hint = f"Did you mean {alike[0]}?" if alike else f"It has {_listed(models)}."
        msg = f"{repo} has no file {plain_words(path, 200)}. {hint}"
        raise CatalogError(msg, code="file_not_found")
    wanted = shard_names(path)
    found = tuple(by_path[name] for name in wanted if name in by_path)
    missing = tuple(name for name in wanted if name not in by_path)
    return whole(ModelFiles(found, quant_of(path), missing))


def _several(repo: str, what: str, models: Sequence[ModelFiles]) -> CatalogError:
    first = models[0]
    how = f"hf:{repo}:{first.quant}" if first.quant else f"hf:{repo}/{first.path}"
    if len({one.quant for one in models}) < len(models):
        how = f"hf:{repo}/{first.path}"
    msg = f"{repo} {what}. Name one, for example {how}. It has {_listed(models)}."
    return CatalogError(msg, code="several")


def _listed(models: Sequence[ModelFiles]) -> str:
    quants = [one.quant for one in models]
    is_clear = all(quants) and len(set(quants)) == len(quants)
    names = quants if is_clear else [one.path for one in models]
    shown = ", ".join(names[:N_SHOWN])
    return shown + (f" and {len(names) - N_SHOWN} more" if len(names) > N_SHOWN else "") or "none"


def _quants(text: str) -> list[str]:
    return [one["quant"] or one["bare"] for one in _QUANT.finditer(text)]


def _name(path: str) -> str:
    return path.rpartition("/")[2]
