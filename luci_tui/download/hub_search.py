"""Find models at the hub: repositories with their GGUF files, sizes and quant types."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from luci_tui.download.hub import Hub
from luci_tui.download.hub_facts import RepoFacts
from luci_tui.download.repo_files import ModelFiles, models_in, projectors_in
from luci_tui.errors import DownloadError

MEMORY_MARGIN = 0.2
"""Beside the weights a model needs memory for its context: a fifth of the file is a plain rule, and
`luci fit` computes it."""


@dataclass(frozen=True)
class FoundRepo:
    """One repository that a search found."""

    facts: RepoFacts
    models: tuple[ModelFiles, ...] = ()
    """By path; those that do not fit are left out where that is asked for."""
    has_mmproj: bool = False
    n_left_out: int = 0
    """Models that do not fit."""
    problem: str = ""
    """Why its files could not be listed; empty = they were."""


def memory_needed(size_bytes: int) -> int:
    """Return the memory that a model of so many bytes takes, by the plain rule."""
    return round(size_bytes * (1 + MEMORY_MARGIN))


async def search(
    hub: Hub,
    text: str,
    *,
    limit: int,
    free_bytes: int | None = None,
    report: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[FoundRepo, ...]:
    """Search, and list the files of each repository found.

    Args:
        hub: The hub to ask.
        text: What to look for.
        limit: Most repositories.
        free_bytes: Leave out models that need more memory; None = show all.
        report: Called with how many of the repositories are listed.

    Returns:
        Most downloaded first. A repository without a GGUF model is left out.

    Raises:
        DownloadError: the search itself failed.
    """
    found = await hub.search(text, limit)
    n_done = 0

    async def look_at(facts: RepoFacts) -> FoundRepo:
        nonlocal n_done
        try:
            listed = replace(facts, files=await hub.files(facts.repo, facts.commit))
        except DownloadError as error:
            return FoundRepo(facts, problem=error.message)
        finally:
            n_done += 1
            report(n_done, len(found))
        return _fitting(listed, free_bytes)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(look_at(facts)) for facts in found]
    repos = [task.result() for task in tasks]
    return tuple(one for one in repos if one.models or one.problem)


def _fitting(facts: RepoFacts, free_bytes: int | None) -> FoundRepo:
    models = [one for one in models_in(facts.files) if not one.missing]
    fitting = [
        one for one in models if free_bytes is None or memory_needed(one.size_bytes) <= free_bytes
    ]
    fitting.sort(key=lambda one: one.size_bytes)
    return FoundRepo(
        facts, tuple(fitting), bool(projectors_in(facts.files)), len(models) - len(fitting)
    )
