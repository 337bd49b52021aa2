"""Compare the catalogue with what the hub has today."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from luci_tui.catalog.entries import CatalogEntry
from luci_tui.download.hub import Hub
from luci_tui.download.hub_facts import RepoFacts
from luci_tui.errors import LuciError
from luci_tui.units import format_bytes

ROUNDED_BY = 0.1
"""A size that is a figure of a listing may differ by so much: 1.0 GiB may be 1.04 or 0.96."""
_GONE = frozenset({"repo_not_found", "revision_not_found", "disabled"})


class DriftKind(StrEnum):
    """What has changed."""

    MISSING = "missing"
    """The repository, the revision or a file is not there."""
    RENAMED = "renamed"
    GATED = "gated"
    """It wants an accepted licence, which the catalogue does not say."""
    OPEN = "open"
    """It wants none any more."""
    SIZE = "size"
    SHA256 = "sha256"


@dataclass(frozen=True)
class Drift:
    """One difference."""

    kind: DriftKind
    text: str
    """For a person, without the entry's name."""


@dataclass(frozen=True)
class Checked:
    """One entry, compared."""

    entry: CatalogEntry
    drifts: tuple[Drift, ...] = ()
    problem: str = ""
    """Why it could not be compared; empty = it was."""


def compare(entry: CatalogEntry, facts: RepoFacts) -> tuple[Drift, ...]:
    """Say in what an entry differs from what the hub has."""
    return (*_names(entry, facts), *_gate(entry, facts), *_files(entry, facts))


async def check_catalog(
    hub: Hub,
    entries: Sequence[CatalogEntry],
    report: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[Checked, ...]:
    """Ask the hub for each entry and compare; repositories that several share are asked once.

    How many questions are open at once, and how long "too many requests" is waited for, are the
    hub's options.

    Args:
        hub: The hub to ask.
        entries: Of the catalogue.
        report: Called with how many of the repositories have answered.

    Raises:
        ConfigError: there is a token that cannot be used.
    """
    hub.token()
    wanted = {(entry.repo, entry.revision) for entry in entries}
    answers: dict[tuple[str, str], RepoFacts | LuciError] = {}

    async def ask(repo: str, revision: str) -> None:
        try:
            answers[repo, revision] = await hub.repo(repo, revision)
        except LuciError as error:
            answers[repo, revision] = error
        report(len(answers), len(wanted))

    async with asyncio.TaskGroup() as group:
        for repo, revision in sorted(wanted):
            group.create_task(ask(repo, revision))
    return tuple(_checked(entry, answers[entry.repo, entry.revision]) for entry in entries)


def _checked(entry: CatalogEntry, answer: RepoFacts | LuciError) -> Checked:
    if isinstance(answer, RepoFacts):
        return Checked(entry, compare(entry, answer))
    if answer.code in _GONE:
        return Checked(entry, (Drift(DriftKind.MISSING, answer.message),))
    return Checked(entry, problem=answer.message)


def _names(entry: CatalogEntry, facts: RepoFacts) -> tuple[Drift, ...]:
    if entry.repo == facts.repo:
        return ()
    return (Drift(DriftKind.RENAMED, f"{entry.repo} is now {facts.repo}"),)


def _gate(entry: CatalogEntry, facts: RepoFacts) -> tuple[Drift, ...]:
    if facts.gated and not entry.gated:
        return (Drift(DriftKind.GATED, f"{facts.repo} is gated ({facts.gated})"),)
    if entry.gated and not facts.gated:
        return (Drift(DriftKind.OPEN, f"{facts.repo} is not gated any more"),)
    return ()


def _files(entry: CatalogEntry, facts: RepoFacts) -> tuple[Drift, ...]:
    by_path = {file.path: file for file in facts.files}
    wanted = (*entry.files, *((entry.mmproj,) if entry.mmproj else ()))
    missing = [path for path in wanted if path not in by_path]
    if missing:
        return tuple(Drift(DriftKind.MISSING, f"{facts.repo} has no {path}") for path in missing)
    drifts: list[Drift] = []
    size_bytes = sum(by_path[path].size_bytes for path in entry.files)
    off_by = abs(size_bytes - entry.size_bytes)
    if off_by > (0 if entry.size_is_exact else entry.size_bytes * ROUNDED_BY):
        was, now = format_bytes(entry.size_bytes), format_bytes(size_bytes)
        text = f"{entry.files[0]} has {size_bytes} bytes ({now}), not {entry.size_bytes} ({was})"
        drifts.append(Drift(DriftKind.SIZE, text))
    sha256 = by_path[entry.files[0]].sha256
    if entry.sha256 and sha256 and sha256 != entry.sha256:
        text = f"{entry.files[0]} has the sha256 {sha256[:12]}…, not {entry.sha256[:12]}…"
        drifts.append(Drift(DriftKind.SHA256, text))
    return tuple(drifts)
