"""What can stand in the list of models: those here, those of the catalogue, those at the hub.

Reading blocks, or asks the hub; no widget is known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from luci_tui.library.records import LibraryModel, ModelState, TierSource
from luci_tui.tui.widgets.text import one_line
from luci_tui.units import format_bytes, format_count, format_parameters

TIER_NAMES = ("basic", "general", "advanced", "expert")
"""Of the tiers 0 to 3, as in catalog/entries.py, which takes a while to import."""
MAX_FOUND = 20
"""Repositories that a search at the hub gives."""
MAX_FILES = 8
"""Models of one repository that are listed."""


class View(Enum):
    """What the list shows."""

    INSTALLED = auto()
    CATALOGUE = auto()
    HUB = auto()


@dataclass(frozen=True)
class Item:
    """One model, wherever it is."""

    key: str
    """Unique in its list: its name, or what `luci install` would be given."""
    name: str
    quant: str
    size_bytes: int
    needed_bytes: int
    """Memory of a load with its defaults, estimated; 0 = not known."""
    tier: int | None
    """None = nobody says."""
    is_tier_guessed: bool
    state: str
    """"enabled", "disabled", "broken", …; "-" = it is not here."""
    facts: tuple[str, ...]
    """Lines for the details."""
    model: LibraryModel | None = None
    """None = it is not here."""

    def fits(self, free_bytes: int) -> str:
        """Say whether a load would fit into the memory that is free now."""
        if not self.needed_bytes:
            return "?"
        return "yes" if self.needed_bytes <= free_bytes else "no"


@dataclass(frozen=True)
class Shelf:
    """All models of one view."""

    items: tuple[Item, ...]
    problems: tuple[str, ...] = ()
    """What could not be looked at, one sentence each."""

    @property
    def size_bytes(self) -> int:
        """Of all of them."""
        return sum(item.size_bytes for item in self.items)


ReadShelf = Callable[[View, str], Awaitable[Shelf]]
"""(view, words for the hub) -> what it shows."""


async def read_shelf(view: View, text: str) -> Shelf:
    """Read one view; folders are looked through in a thread.

    Raises:
        LuciError: the hub cannot be asked, or a file of the person's own cannot be read.
    """
    match view:
        case View.INSTALLED:
            return await asyncio.to_thread(read_installed)
        case View.CATALOGUE:
            return await asyncio.to_thread(read_catalogue)
        case View.HUB:
            return await search_hub(text)


def read_installed() -> Shelf:
    """Look through the folders of this machine."""
    from luci_tui.library.store import Library

    library = Library()
    return Shelf(tuple(map(_of_model, library.models)), library.problems)


def read_catalogue() -> Shelf:
    """Read which models of the catalogue are not here."""
    from luci_tui.library.guess import needed_bytes
    from luci_tui.library.lookup import missing_entries
    from luci_tui.library.store import Library

    library = Library()
    items = [
        Item(
            key=entry.name,
            name=entry.name,
            quant="",
            size_bytes=entry.size_bytes,
            needed_bytes=needed_bytes(entry) if entry.is_runnable else 0,
            tier=entry.tier,
            is_tier_guessed=False,
            state="-" if entry.is_runnable else "runs not",
            facts=(
                f"{entry.parameters_b:g}B parameters, trained for {entry.n_ctx} tokens, "
                f"{entry.licence}",
                f"hf:{entry.repo}" + (", asks for a login" if entry.gated else ""),
                f"for {', '.join(entry.tags)}" if entry.tags else "",
                entry.note,
            ),
        )
        for entry in missing_entries(library)
    ]
    return Shelf(tuple(items), library.problems)


async def search_hub(text: str) -> Shelf:
    """Ask the hub; nothing of it is asked before.

    Raises:
        DownloadError: it cannot be reached, or refuses.
    """
    from luci_tui.download import hub_search
    from luci_tui.download.hub import Hub

    found = await hub_search.search(Hub(), text, limit=MAX_FOUND)
    items: list[Item] = []
    problems: list[str] = []
    for repo in found:
        if repo.problem:
            problems.append(f"{repo.facts.repo}: {repo.problem}")
        for model in repo.models[:MAX_FILES]:
            wanted = f"hf:{repo.facts.repo}/{model.path}"
            gated = ", asks for a login" if repo.facts.gated else ""
            items.append(
                Item(
                    key=wanted,
                    name=f"{repo.facts.repo.partition('/')[2]}/{model.path}",
                    quant=model.quant or "",
                    size_bytes=model.size_bytes,
                    needed_bytes=hub_search.memory_needed(model.size_bytes),
                    tier=None,
                    is_tier_guessed=False,
                    state="-",
                    facts=(
                        wanted,
                        f"{format_count(repo.facts.downloads, 'download')}, "
                        f"{repo.facts.licence or 'no licence named'}{gated}",
                    ),
                )
            )
    return Shelf(tuple(items), tuple(problems))


def _of_model(one: LibraryModel) -> Item:
    state = one.state.value
    if one.state is ModelState.OK:
        state = "enabled" if one.is_enabled else "disabled"
    header = one.header
    known = [
        header.architecture,
        f"{format_parameters(header.n_params)} parameters" if header.n_params else "",
        f"trained for {header.n_ctx_train} tokens" if header.n_ctx_train else "",
        header.license,
    ]
    from_store = "" if one.found.store == "luci" else f", belongs to {one.found.store}"
    return Item(
        key=one.name,
        name=one.name,
        quant=header.quantization,
        size_bytes=one.size_bytes,
        needed_bytes=header.needed_bytes + one.found.mmproj_bytes if header.needed_bytes else 0,
        tier=one.tier,
        is_tier_guessed=one.tier_source in (TierSource.COMPUTED, TierSource.DEFAULT),
        state=state,
        facts=(
            f"Error: {one.problem}" if one.problem else "",
            ", ".join(filter(None, known)),
            f"{one.found.path} ({one.found.kind.value}{from_store})",
            f"also called {', '.join(one.aliases)}" if one.aliases else "",
            one.notes,
        ),
        model=one,
    )


def details_of(item: Item, free_bytes: int, extra: Sequence[str] = ()) -> str:
    """Say everything about one model.

    Args:
        item: The model.
        free_bytes: Memory that is free now.
        extra: Further lines: what was found out about it since.
    """
    words = [item.name, item.quant, format_bytes(item.size_bytes)]
    if item.tier is not None:
        guessed = ", guessed" if item.is_tier_guessed else ""
        words.append(f"tier {item.tier} ({TIER_NAMES[item.tier]}{guessed})")
    lines = [" · ".join(filter(None, words)), *item.facts]
    if item.needed_bytes:
        verdict = "fits" if item.needed_bytes <= free_bytes else "does not fit"
        lines.append(
            f"needs about {format_bytes(item.needed_bytes)} of memory, which {verdict} into "
            f"{format_bytes(free_bytes)}"
        )
    lines += extra
    return "\n".join(one_line(line) for line in lines if line)
