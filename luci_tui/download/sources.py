"""Turn what a person asks for into a plan: addresses, sizes and sums, before the first byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

from pydantic import ValidationError

from luci_tui import paths
from luci_tui.catalog.catalog import Catalog, load_catalog
from luci_tui.catalog.entries import CatalogEntry
from luci_tui.download.answers import origin
from luci_tui.download.hub import Hub
from luci_tui.download.hub_facts import RepoFacts, RepoFile, plain_words
from luci_tui.download.plan import Plan, PlannedFile, Role
from luci_tui.download.repo_files import ModelFiles, choose, projectors_in, shard_names
from luci_tui.download.wanted import HubWish, NameWish, UrlWish, read_wish
from luci_tui.errors import CatalogError, DownloadError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHARD_ENDING = re.compile(r"-\d{5}-of-\d{5}$")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._+-]+-?")


class Source(Protocol):
    """Where plans come from."""

    async def plan(self, wanted: str, *, name: str = "", with_mmproj: bool = False) -> Plan:
        """Make the plan for what a person asks for."""
        ...

    def headers(self, url: str) -> Mapping[str, str]:
        """Return what a request for this address carries."""
        ...


class HubSource:
    """Plans from the hub, the catalogue and plain addresses.

    Args:
        hub: The hub.
        load_catalog: Reads the catalogue, only when a name of it is asked for.
    """

    def __init__(self, hub: Hub, load_catalog: Callable[[], Catalog]) -> None:
        self._hub = hub
        self._load_catalog = load_catalog

    async def plan(self, wanted: str, *, name: str = "", with_mmproj: bool = False) -> Plan:
        """Make the plan for what a person asks for.

        Args:
            wanted: See `luci_tui.download.wanted.read_wish`.
            name: Under which it is to be installed; empty = the catalogue's, or the file's.
            with_mmproj: Take the projector along where the repository has exactly one. An entry
                of the catalogue says itself whether it needs one.

        Raises:
            CatalogError: there is no such model, or several fit.
            DownloadError: the hub refuses, or does not have what the catalogue promises.
        """
        match read_wish(wanted, self._hub.endpoint):
            case NameWish(known):
                return await self._from_catalog(self._load_catalog().resolve(known), name)
            case UrlWish(url):
                return _checked_plan(
                    name=name or model_name(urlsplit(url).path),
                    source=url,
                    files=_files_at(url),
                )
            case HubWish() as wish:
                return await self._from_hub(wish, name, with_mmproj=with_mmproj)

    def headers(self, url: str) -> Mapping[str, str]:
        """Return the token for an address of the hub itself, and nothing for any other.

        Raises:
            ConfigError: there is a token that cannot be used.
        """
        if origin(url) != origin(self._hub.endpoint):
            return {}
        token = self._hub.token()
        return {"Authorization": f"Bearer {token.secret}"} if token else {}

    async def _from_hub(self, wish: HubWish, name: str, *, with_mmproj: bool) -> Plan:
        facts = await self._facts(wish.repo, wish.revision)
        model = choose(facts.files, facts.repo, path=wish.path, quant=wish.quant)
        mmproj = _only_projector(facts) if with_mmproj else None
        at = "" if wish.revision == "main" else f"@{quote(wish.revision, safe='')}"
        return _checked_plan(
            name=name or model_name(model.path),
            source=f"hf:{facts.repo}{at}/{model.path}",
            repo=facts.repo,
            revision=facts.commit,
            files=self._files(facts, model, mmproj),
        )

    async def _from_catalog(self, entry: CatalogEntry, name: str) -> Plan:
        if not entry.is_runnable:
            msg = f"{entry.name} does not run here. {entry.note} `luci catalog list` has others."
            raise CatalogError(" ".join(msg.split()), code="not_runnable")
        facts = await self._facts(entry.repo, entry.revision)
        model = _promised(entry, facts)
        mmproj = None
        if entry.mmproj is not None:
            mmproj = choose(facts.files, facts.repo, path=entry.mmproj).files[0]
        files = self._files(facts, model, mmproj)
        if entry.sha256 and not files[0].sha256:
            files = (files[0].model_copy(update={"sha256": entry.sha256}), *files[1:])
        return _checked_plan(
            name=name or entry.name,
            source=entry.name,
            repo=facts.repo,
            revision=facts.commit,
            catalog_name=entry.name,
            files=files,
        )

    async def _facts(self, repo: str, revision: str) -> RepoFacts:
        facts = await self._hub.repo(repo, revision)
        if _COMMIT.fullmatch(revision) and facts.commit != revision:
            msg = (
                f"The hub gives commit {facts.commit[:12]} of {repo} instead of {revision[:12]}, "
                "which was asked for. Nothing was fetched; try another mirror."
            )
            raise DownloadError(msg, code="untrusted")
        if facts.gated:
            # Its files are listed for everybody, and given out to some.
            await self._hub.check_access(facts.repo)
        return facts

    def _files(
        self, facts: RepoFacts, model: ModelFiles, mmproj: RepoFile | None
    ) -> tuple[PlannedFile, ...]:
        files = [self._file(facts, file, Role.MODEL) for file in model.files]
        if mmproj is not None:
            files.append(self._file(facts, mmproj, Role.MMPROJ))
        return tuple(files)

    def _file(self, facts: RepoFacts, file: RepoFile, role: Role) -> PlannedFile:
        place = f"{self._hub.endpoint}/{facts.repo}/resolve/{facts.commit}/{quote(file.path)}"
        try:
            return PlannedFile(
                name=file.path.rpartition("/")[2],
                url=place,
                size_bytes=file.size_bytes,
                sha256=file.sha256,
                role=role,
            )
        except ValidationError as error:
            raise _hostile_name(file.path) from error


def default_source(hub: Hub | None = None) -> HubSource:
    """Make a source of the hub in use and of the catalogue, both as this process finds them.

    Raises:
        ConfigError: HF_ENDPOINT is no address.
    """
    own, shipped = paths.own_catalog_file(), paths.shipped_catalog_file()
    return HubSource(hub or Hub(), lambda: load_catalog(shipped, own))


def model_name(path: str) -> str:
    """Return the name under which a file is installed: its own, in the letters that names have."""
    stem = unquote(path).rpartition("/")[2].removesuffix(".gguf")
    return _NOT_IN_NAMES.sub("-", _SHARD_ENDING.sub("", stem)).strip("-._+")[:100]


def _promised(entry: CatalogEntry, facts: RepoFacts) -> ModelFiles:
    """Return the files that an entry of the catalogue names, if they are what it says."""
    by_path = {file.path: file for file in facts.files}
    missing = [path for path in entry.files if path not in by_path]
    if missing:
        msg = (
            f"{facts.repo} has no file {missing[0]} any more, which the catalogue names for "
            f"{entry.name}. `luci catalog check {entry.name}` says more; hf:{facts.repo} shows "
            "what there is."
        )
        raise CatalogError(msg, code="file_not_found")
    model = ModelFiles(tuple(by_path[path] for path in entry.files), "")
    found = model.files[0].sha256
    if entry.sha256 and found and found != entry.sha256:
        msg = (
            f"{model.path} of {facts.repo} has another sha256 ({found[:12]}) than the catalogue "
            f"promises for {entry.name} ({entry.sha256[:12]}). It was changed or replaced; "
            f"`luci install hf:{facts.repo}/{model.path}` takes it as it is."
        )
        raise DownloadError(msg, code="pin")
    if entry.size_is_exact and model.size_bytes != entry.size_bytes:
        msg = (
            f"{model.path} of {facts.repo} has {model.size_bytes} bytes and the catalogue promises "
            f"{entry.size_bytes} for {entry.name}. It was changed or replaced; "
            f"`luci install hf:{facts.repo}/{model.path}` takes it as it is."
        )
        raise DownloadError(msg, code="pin")
    return model


def _only_projector(facts: RepoFacts) -> RepoFile:
    found = projectors_in(facts.files)
    if len(found) != 1:
        names = ", ".join(file.path for file in found[:10]) or "none"
        msg = (
            f"{facts.repo} has {len(found)} projectors ({names}), and exactly one can be taken "
            "along. Install the model without it, and fetch one by its own name."
        )
        raise CatalogError(msg, code="mmproj")
    return found[0]


def _files_at(url: str) -> tuple[PlannedFile, ...]:
    """Return the file at an address, or all shards of its set."""
    place, mark, query = url.partition("?")
    try:
        return tuple(
            PlannedFile(name=unquote(shard.rpartition("/")[2]), url=shard + mark + query)
            for shard in shard_names(place)
        )
    except ValidationError as error:
        raise _hostile_name(urlsplit(url).path) from error


def _checked_plan(
    *,
    name: str,
    source: str,
    files: tuple[PlannedFile, ...],
    repo: str = "",
    revision: str = "",
    catalog_name: str = "",
) -> Plan:
    try:
        return Plan(
            name=name,
            source=source,
            files=files,
            repo=repo,
            revision=revision,
            catalog_name=catalog_name,
        )
    except ValidationError as error:
        msg = (
            f"{plain_words(name)!r} cannot be installed under that name. Use letters, digits and "
            '"._:+-", at most 100.'
        )
        raise CatalogError(msg, code="bad_name") from error


def _hostile_name(path: str) -> CatalogError:
    name = plain_words(unquote(path).rpartition("/")[2], 80)
    msg = (
        f"The file {name!r} has a name that luci does not write to a disk. Rename it at its "
        'source: letters, digits, spaces and "._:+()-", with .gguf at the end.'
    )
    return CatalogError(msg, code="bad_name")
