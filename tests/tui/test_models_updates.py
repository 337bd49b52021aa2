"""The catalogue against the hub, from the screen: a real hub on this machine answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luci_tui.catalog.entries import CatalogEntry
from luci_tui.tui.modes.models import screen as models_screen
from luci_tui.tui.modes.models import updates
from luci_tui.tui.modes.models.shelf import Item, Shelf, View
from tests.support.fake_host import FakeLink
from tests.support.hub import running_hub
from tests.support.keys import Keys, presses
from tests.support.libraries import use_home
from tests.support.screen import modes_app, shown_text, wait_for_text, wait_until
from tests.support.screen_texts import check_in_both_themes

SIZES = ((80, 24), (120, 40))
CONTENT = b"x" * 1000


def entry(name: str, **fields: Any) -> CatalogEntry:
    facts: dict[str, Any] = {
        "name": name,
        "repo": f"org/{name}",
        "files": ("m.gguf",),
        "size_bytes": len(CONTENT),
        "parameters_b": 1,
        "n_ctx": 10,
        "tier": 0,
        "licence": "mit",
    }
    return CatalogEntry(**facts | fields)


def item(one: CatalogEntry) -> Item:
    return Item(one.name, one.name, "", one.size_bytes, 0, one.tier, False, "-", (one.repo,))


ENTRIES = (entry("same"), entry("grown", size_bytes=4000), entry("closed"))


@pytest.fixture(autouse=True)
def catalogue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the catalogue have three models."""
    use_home(monkeypatch, tmp_path)
    monkeypatch.setattr(updates, "read_entries", lambda: ENTRIES)

    async def read(view: View, text: str) -> Shelf:
        del text
        return Shelf(tuple(map(item, ENTRIES)) if view is View.CATALOGUE else ())

    init = models_screen.ModelsScreen.__init__
    monkeypatch.setattr(init, "__defaults__", (lambda: 1024**3, read, lambda _: {}))


@pytest.mark.parametrize("size", SIZES)
async def test_catalogue_is_compared_with_the_hub_when_a_person_says_so(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async with running_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("NO_PROXY", "*")
        for name in ("same", "grown"):
            hub.add_repo(f"org/{name}", {"m.gguf": CONTENT})
        hub.add_repo("org/closed", {"m.gguf": CONTENT}, gated="manual")
        app = modes_app(FakeLink(None))
        async with app.run_test(size=size) as pilot:
            await pilot.press("alt+2", "c")
            await wait_for_text(pilot, "3 of the catalogue")
            await pilot.press("u")
            await wait_for_text(pilot, "Compare the whole catalogue with the hub?")
            assert not hub.asked
            await pilot.press("y")
            await wait_for_text(pilot, "3 models compared with the hub: 2 differ")
            await check_in_both_themes(pilot, "models-updates")
            await pilot.press("escape", "down")
            await wait_for_text(pilot, "size: m.gguf")
        assert len(hub.asked) >= 3


async def test_hub_that_cannot_be_reached_then_nothing_was_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    app = modes_app(FakeLink(None))
    async with app.run_test(size=SIZES[0]) as pilot:
        await pilot.press("alt+2", "c")
        await wait_for_text(pilot, "3 of the catalogue")
        await pilot.press("u", "y")
        await wait_for_text(pilot, "0 differ, 3 could not be compared")


@presses("models.updates")
async def test_key_of_updates_works_in_the_catalogue_alone(keys: Keys) -> None:
    app = modes_app(FakeLink(None))
    async with app.run_test(size=SIZES[0]) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "0 on this machine")
        await pilot.press("u", "c")
        await wait_for_text(pilot, "3 of the catalogue")
        assert "Compare the whole" not in shown_text(app)
        await keys.press(pilot, "models.updates", "u", "Compare the whole catalogue")
        await pilot.press("escape")
        await wait_until(pilot, lambda: "Compare the whole" not in shown_text(app))
