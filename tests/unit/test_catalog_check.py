"""The catalogue's entries against what a hub has."""

from __future__ import annotations

from typing import Any

import pytest

from luci_tui.catalog.entries import CatalogEntry
from luci_tui.download.hub_facts import RepoFacts, RepoFile
from luci_tui.library.catalog_check import DriftKind, compare

SUM, OTHER_SUM = "a" * 64, "b" * 64


def entry(**fields: Any) -> CatalogEntry:
    facts: dict[str, Any] = {
        "name": "m",
        "repo": "o/r",
        "files": ("a.gguf", "b.gguf"),
        "size_bytes": 1000,
        "parameters_b": 1,
        "n_ctx": 10,
        "tier": 0,
        "licence": "mit",
    }
    return CatalogEntry(**facts | fields)


def facts(*files: RepoFile, repo: str = "o/r", gated: str = "") -> RepoFacts:
    both = (RepoFile("a.gguf", 400, SUM), RepoFile("b.gguf", 600, OTHER_SUM))
    return RepoFacts(repo, "c" * 40, gated=gated, files=files or both)


@pytest.mark.parametrize(
    ("known", "found", "kinds"),
    [
        (entry(), facts(), []),
        (entry(size_is_exact=True, sha256=SUM), facts(), []),
        (entry(size_bytes=1090), facts(), []),
        (entry(size_bytes=1200), facts(), [DriftKind.SIZE]),
        (entry(size_bytes=1001, size_is_exact=True), facts(), [DriftKind.SIZE]),
        (entry(sha256=OTHER_SUM), facts(), [DriftKind.SHA256]),
        (entry(), facts(repo="o/new"), [DriftKind.RENAMED]),
        (entry(), facts(gated="manual"), [DriftKind.GATED]),
        (entry(gated=False), facts(gated="auto"), [DriftKind.GATED]),
        (entry(gated=True), facts(gated="auto"), []),
        (entry(gated=True), facts(), [DriftKind.OPEN]),
        (entry(mmproj="p.gguf"), facts(), [DriftKind.MISSING]),
        (entry(), facts(RepoFile("x.gguf", 1)), [DriftKind.MISSING] * 2),
        (
            entry(sha256=OTHER_SUM, size_bytes=5),
            facts(repo="o/new", gated="auto"),
            [DriftKind.RENAMED, DriftKind.GATED, DriftKind.SIZE, DriftKind.SHA256],
        ),
    ],
)
def test_compare_names_each_difference(
    known: CatalogEntry, found: RepoFacts, kinds: list[DriftKind]
) -> None:
    assert [drift.kind for drift in compare(known, found)] == kinds
