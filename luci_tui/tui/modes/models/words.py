"""How models are written into the lists of Models; no widget is known here."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from luci_tui.tui.keymap import KeyMap, words_of
from luci_tui.tui.modes.models.shelf import TIER_NAMES, Item, Shelf, View
from luci_tui.tui.modes.models.speeds import Speed
from luci_tui.tui.widgets.rows import Column, Row
from luci_tui.tui.widgets.text import one_line
from luci_tui.units import format_bytes

COLUMNS = (
    Column("model", least=20),
    Column("quant", 7, rank=2),
    Column("size", 9, is_number=True),
    Column("needs", 9, is_number=True, rank=3),
    Column("fits", 4),
    Column("tok/s", 6, is_number=True),
    Column("tier", 4, rank=1),
    Column("state", 12),
)
PANE_COLUMNS = (
    Column("model", least=16),
    Column("size", 9, is_number=True, rank=1),
    Column("tok/s", 6, is_number=True, rank=2),
    Column("on", 3),
)
_TONES = {"broken": "error", "incomplete": "error", "disabled": "muted", "no model": "muted"}
_MARKS = {"enabled": "on", "disabled": "off", "in memory": "on*", "-": "", "runs not": "no"}
"""For panes, which have no room for words; what is not here means that something is wrong."""


def state_of(item: Item, in_memory: Collection[str]) -> str:
    """Say how a model stands."""
    return "in memory" if item.model is not None and item.name in in_memory else item.state


def row_of(
    item: Item, free_bytes: int, in_memory: Collection[str], speed: Speed | None = None
) -> Row:
    """Make the row of a model in the list of all."""
    state = state_of(item, in_memory)
    tier = "-" if item.tier is None else f"{item.tier}{'?' if item.is_tier_guessed else ''}"
    return Row(
        item.key,
        (
            one_line(item.name),
            one_line(item.quant),
            format_bytes(item.size_bytes),
            format_bytes(item.needed_bytes) if item.needed_bytes else "-",
            item.fits(free_bytes),
            speed.cell if speed else "-",
            tier,
            state,
        ),
        _TONES.get(state, ""),
    )


def pane_row_of(item: Item, in_memory: Collection[str], speed: Speed | None = None) -> Row:
    """Make the row of a model in the pane of its tier."""
    state = state_of(item, in_memory)
    cells = (
        one_line(item.name),
        format_bytes(item.size_bytes),
        speed.cell if speed else "-",
        _MARKS.get(state, "!"),
    )
    return Row(item.key, cells, _TONES.get(state, ""))


def status_of(view: View, shelf: Shelf, free_bytes: int, searched: str) -> str:
    """Say in one line what the list shows."""
    n_items = len(shelf.items)
    what = {
        View.INSTALLED: f"{n_items} on this machine · {format_bytes(shelf.size_bytes)}",
        View.CATALOGUE: f"{n_items} of the catalogue can be installed",
        View.HUB: f'{n_items} at the hub for "{one_line(searched)}"',
    }[view]
    return f"{what} · {format_bytes(free_bytes)} of memory free"


def tier_tabs(items: Sequence[Item], chosen: int | None) -> str:
    """Write the tiers in one line, the chosen one in brackets; None = all."""
    tabs: list[tuple[int | None, str]] = [(None, f"All {len(items)}")]
    for tier, name in enumerate(TIER_NAMES):
        n_items = sum(item.tier == tier for item in items)
        tabs.append((tier, f"{tier} {name} {n_items}"))
    return " ".join(f"[{text}]" if tier == chosen else f" {text} " for tier, text in tabs)


def pane_title(items: Sequence[Item], tier: int) -> str:
    """Write the title of a tier's pane."""
    return f"Tier {tier} {TIER_NAMES[tier]} · {sum(item.tier == tier for item in items)}"


EMPTY = {
    View.INSTALLED: "The folders could not be read. Ctrl-R looks again.",
    View.CATALOGUE: "Every model of the catalogue is here already.",
    View.HUB: "The hub has nothing for these words. h asks again.",
}
EMPTY_PANE = "none"
EMPTY_TIER = "No model of this tier is in this list."
READING = "looking through the folders …"
ASKING = "asking the hub …"


def ways_to_a_model(keys: KeyMap, folder: str) -> str:
    """Say what to do where no model is here.

    Args:
        keys: Which keys do what.
        folder: Where a person's own files go.
    """
    ways = (
        ("models.catalogue", "Catalogue: models that are known to run, by tier."),
        ("models.hub", "Hub: search for other models by words."),
        ("models.install", "Install by name: phi-4, hf:owner/repo, or the URL of a file."),
    )
    pressed = [words_of(keys.keys[action_id]) for action_id, _ in ways]
    width = max(map(len, pressed))
    lines = [f"{key:<{width}}  {what}" for key, (_, what) in zip(pressed, ways, strict=True)]
    take, again, use = (
        words_of(keys.keys[action_id])
        for action_id in ("list.choose", "live.reload", "models.toggle")
    )
    return "\n".join(
        (
            "No model is here yet. To get one:",
            "",
            *lines,
            "",
            f"In the catalogue and at the hub, {take} installs the model that is marked; its "
            "size is told first, and nothing is fetched before you say so.",
            "",
            "Or put a .gguf file of your own into this folder:",
            "",
            f"  {one_line(folder)}",
            "",
            f"{again} looks again, and {use} lets the file be used. Models of Ollama, LM Studio "
            "and the Hugging Face cache are listed by themselves.",
        )
    )
