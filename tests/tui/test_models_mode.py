import asyncio
import json
from pathlib import Path

import pytest

from luci_tui.download.plan import Plan, PlannedFile
from luci_tui.errors import DownloadError
from luci_tui.host.api.download_messages import DownloadList, How, InstallStarted, Uninstalled
from luci_tui.host.api.messages import Models, ModelStatus
from luci_tui.library.store import Library
from luci_tui.tui import watch
from luci_tui.tui.keymap import make_keymap
from luci_tui.tui.modes.models import screen as models_screen
from luci_tui.tui.modes.models import words
from luci_tui.tui.modes.models.shelf import Item, Shelf, View, read_catalogue, read_installed
from luci_tui.tui.modes.models.speeds import Speed
from luci_tui.tui.widgets.rows import Rows
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.keys import Keys, presses
from tests.support.libraries import install, use_home
from tests.support.screen import modes_app, shown_text, wait_for_text, wait_until
from tests.support.screen_texts import check_in_both_themes

SIZES = ((80, 24), (120, 40))
GIB = 1024**3


def item(name: str, tier: int | None, state: str, size_gib: float, quant: str = "Q4_K_M") -> Item:
    return Item(
        key=name,
        name=name,
        quant=quant,
        size_bytes=round(size_gib * GIB),
        needed_bytes=round(size_gib * 1.3 * GIB),
        tier=tier,
        is_tier_guessed=name == "my-own",
        state=state,
        facts=(
            "Error: its last tensor is cut off." if state == "broken" else "",
            "llama, 3.21B parameters, trained for 131072 tokens, llama3.2",
            f"/home/me/.luciferai/models/installed/{name}/{name}.gguf (installed)",
        ),
    )


HERE = Shelf(
    (
        item("smollm2-360m", 0, "enabled", 0.25),
        item("llama3.2-3b", 1, "enabled", 1.88),
        item("my-own\x1b[2J[red]", 1, "broken", 1.22),
        item("qwen2.5-coder-7b", 2, "disabled", 4.36),
        item("gemma3-27b", 3, "enabled", 15.4),
    )
)
CATALOGUE = Shelf((item("phi-4", 3, "-", 8.43, ""), item("tinyllama", 0, "-", 0.6, "")))
FOUND = Shelf((item("tiny-GGUF/m-Q4_K_M.gguf", None, "-", 0.1),))
SHELVES = {View.INSTALLED: HERE, View.CATALOGUE: CATALOGUE, View.HUB: FOUND}
SPEEDS = {
    "smollm2-360m": Speed(212.4, "bench of 2027-01-14 12:01, 2 threads"),
    "llama3.2-3b": Speed(20.4, "median of 12 answers in chats", is_from_chats=True),
}
PLAN = Plan(
    name="phi-4",
    source="hf:org/phi-4",
    files=(PlannedFile(name="phi-4.gguf", url="https://hub.test/phi-4.gguf", size_bytes=8 * GIB),),
)


def host_with(*loaded: str) -> FakeHost:
    models = tuple(ModelStatus(name=name, state="ready") for name in loaded)
    return FakeHost(
        {
            "/luci/models": Models(entries=(), loaded=models),
            "/luci/downloads/plan": PLAN,
            "/luci/downloads": InstallStarted(how=How.INSTALLED),
            "/luci/models/uninstall": Uninstalled(name="tiny", freed_bytes=1),
        }
    )


@pytest.fixture
def shelves(monkeypatch: pytest.MonkeyPatch) -> dict[View, Shelf | DownloadError]:
    says: dict[View, Shelf | DownloadError] = dict(SHELVES)

    async def read(view: View, text: str) -> Shelf:
        del text
        said = says[view]
        if isinstance(said, DownloadError):
            raise said
        return said

    init = models_screen.ModelsScreen.__init__
    monkeypatch.setattr(init, "__defaults__", (lambda: 8 * GIB, read, lambda _: SPEEDS))
    return says


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "keys", "waits_for"),
    [
        ("models", (), "5 on this machine"),
        ("models-catalogue", ("c",), "2 of the catalogue"),
        ("models-broken", ("right", "right", "down"), "its last tensor is cut off"),
    ],
)
async def test_models_are_drawn(
    shelves: dict[View, Shelf],
    size: tuple[int, int],
    name: str,
    keys: tuple[str, ...],
    waits_for: str,
) -> None:
    del shelves
    app = modes_app(FakeLink(host_with("llama3.2-3b")))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "5 on this machine")
        # From all through tier 0 to tier 1 as tabs; panes begin with tier 0.
        await pilot.press(*(keys[1:] if size[0] >= 100 and "right" in keys else keys))
        await wait_for_text(pilot, waits_for)
        await check_in_both_themes(pilot, name)


@pytest.mark.parametrize("size", SIZES)
async def test_no_models_say_how_to_get_one(
    shelves: dict[View, Shelf], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCI_HOME", "/home/me/.luciferai")
    monkeypatch.setenv("HOME", "/home/me")
    shelves[View.INSTALLED] = Shelf(())
    app = modes_app(FakeLink(None))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "0 on this machine")
        await wait_for_text(pilot, "  ~/.luciferai/models/custom_models")
        await check_in_both_themes(pilot, "models-empty")
        await pilot.press("c")
        await wait_for_text(pilot, "phi-4")
        await wait_until(pilot, lambda: isinstance(app.focused, Rows))
        assert "To get one" not in shown_text(app)
        await pilot.press("c")
        await wait_for_text(pilot, "To get one")
        shelves[View.INSTALLED] = HERE
        await pilot.press("ctrl+r")
        await wait_for_text(pilot, "llama3.2-3b")
        assert "To get one" not in shown_text(app)


async def test_no_models_on_a_small_terminal_then_what_to_do_can_be_scrolled(
    shelves: dict[View, Shelf],
) -> None:
    shelves[View.INSTALLED] = Shelf(())
    app = modes_app(FakeLink(None))
    async with app.run_test(size=(40, 12)) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "To get one")
        await pilot.press("end")
        await wait_for_text(pilot, "themselves.")


def test_ways_to_a_model_given_other_keys_then_they_are_named() -> None:
    keys = make_keymap({"models.install": "w,insert", "live.reload": "f9"})
    text = words.ways_to_a_model(keys, "~/here")
    assert "w, Insert  Install by name" in text
    assert "c          Catalogue" in text
    assert "F9 looks again" in text


async def test_host_that_models_starts_is_followed_at_once(
    shelves: dict[View, Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    del shelves
    monkeypatch.setattr(watch, "FIND_S", 3600.0)
    host = host_with()
    host.says["/luci/downloads"] = DownloadList(downloads=(), limit_bytes_per_s=0, seq=0)
    host.streams = {"/luci/events": [], "/luci/downloads/events": []}
    link = FakeLink(None, starts=host)
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_until(pilot, lambda: link.n_looks > 0)
        await pilot.press("alt+2")
        await wait_until(pilot, lambda: host.n_asked("/luci/downloads") > 0)


@pytest.mark.parametrize("size", SIZES)
async def test_hub_is_asked_when_words_are_sent(
    shelves: dict[View, Shelf], size: tuple[int, int]
) -> None:
    del shelves
    app = modes_app(FakeLink(host_with()))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "5 on this machine")
        await pilot.press("h")
        await wait_for_text(pilot, "Words to look for at the hub.")
        await pilot.press(*"tiny", "enter")
        await wait_for_text(pilot, '1 at the hub for "tiny"')
        await check_in_both_themes(pilot, "models-hub")
        await pilot.press("c")
        await wait_for_text(pilot, "5 on this machine")


@pytest.mark.parametrize("size", SIZES)
async def test_hub_that_cannot_be_reached_is_one_sentence(
    size: tuple[int, int],
    shelves: dict[View, Shelf | DownloadError],
) -> None:
    shelves[View.HUB] = DownloadError("The hub cannot be reached. Try again later.")
    app = modes_app(FakeLink(host_with()))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "5 on this machine")
        await pilot.press("h")
        await wait_for_text(pilot, "Words to look for")
        await pilot.press("x", "enter")
        await wait_for_text(pilot, "Error: The hub cannot be reached.")
        await check_in_both_themes(pilot, "models-offline")


async def test_tiers_turn_as_tabs_and_as_panes(shelves: dict[View, Shelf]) -> None:
    del shelves
    app = modes_app(FakeLink(host_with()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "[All 5]")
        await pilot.press("right", "right")
        await wait_for_text(pilot, "[1 general 2]")
        assert "smollm2" not in shown_text(app)
        await pilot.press("left", "left", "left")
        await wait_for_text(pilot, "[3 expert 1]")
        await pilot.resize_terminal(120, 40)
        await wait_for_text(pilot, "Tier 0 basic")
        await wait_for_text(pilot, "> gemma3-27b")
        await pilot.press("right")
        await wait_for_text(pilot, "> smollm2-360m")


async def test_filter_holds_for_every_pane(shelves: dict[View, Shelf]) -> None:
    del shelves
    app = modes_app(FakeLink(host_with()))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "Tier 0 basic")
        await pilot.press("slash", *"3b")
        await wait_for_text(pilot, "1 of 5")
        await pilot.press("escape")
        await wait_for_text(pilot, "gemma3-27b")


@pytest.mark.parametrize("size", SIZES)
async def test_install_of_a_row_asks_with_its_size(
    shelves: dict[View, Shelf], size: tuple[int, int]
) -> None:
    del shelves
    host = host_with()
    app = modes_app(FakeLink(host))
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "5 on this machine")
        await pilot.press("c")
        await wait_for_text(pilot, "phi-4")
        await pilot.press("enter")
        await wait_for_text(pilot, "Install phi-4 from hf:org/phi-4?")
        await wait_for_text(pilot, "1 file, 8.00 GiB.")
        await check_in_both_themes(pilot, "models-install")
        await pilot.press("y")
        await wait_for_text(pilot, "phi-4 is installed already.")
        assert [one.path for one in host.asked] == ["/luci/downloads/plan", "/luci/downloads"]


async def test_install_by_name_takes_what_was_typed(shelves: dict[View, Shelf]) -> None:
    del shelves
    host = host_with()
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "5 on this machine")
        await pilot.press("i")
        await wait_for_text(pilot, "What to install")
        await pilot.press(*"phi-4", "enter")
        await wait_for_text(pilot, "Install phi-4 from")
        await pilot.press("n")
        await wait_until(pilot, lambda: "Install phi-4 from" not in shown_text(app))
        assert [one.path for one in host.asked] == ["/luci/downloads/plan"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = use_home(monkeypatch, tmp_path)
    install(home / "models", "tiny", repo="org/tiny")
    (home / "models" / "custom_models").mkdir()
    (home / "models" / "custom_models" / "cut.gguf").write_bytes(b"GGUF\x03")
    return home


async def test_space_disables_and_enables_a_model_of_the_real_library(home: Path) -> None:
    del home
    app = modes_app(FakeLink(host_with()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "2 on this machine")
        for is_enabled in (False, True):
            await pilot.press("space")
            word = " enabled" if is_enabled else " disabled"
            await wait_until(pilot, lambda word=word: word in shown_text(app))
            model = await asyncio.to_thread(lambda: Library().find("tiny"))
            assert model.is_enabled is is_enabled


async def test_broken_model_is_shown_with_its_reason_and_not_offered_to_be_used(
    home: Path,
) -> None:
    del home
    app = modes_app(FakeLink(host_with()))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "2 on this machine")
        await pilot.press("down")
        await wait_for_text(pilot, "Error:")
        assert "On/off" not in shown_text(app)
        await pilot.press("enter")
        await wait_for_text(pilot, "It cannot")
        await pilot.press("delete")
        await wait_for_text(pilot, "luci did not")


@pytest.mark.native
async def test_v_checks_the_files_of_a_model(home: Path) -> None:
    del home
    app = modes_app(FakeLink(host_with()))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "2 on this machine")
        await wait_for_text(pilot, "> tiny")
        await pilot.press("v")
        await wait_for_text(pilot, "checked now: ")


async def test_delete_asks_and_lets_the_host_remove_the_model(home: Path) -> None:
    del home
    host = host_with()
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "2 on this machine")
        await pilot.press("delete")
        await wait_for_text(pilot, "Delete tiny and its")
        await pilot.press("enter")
        await wait_until(pilot, lambda: "Delete tiny" not in shown_text(app))
        assert host.asked == []
        await pilot.press("delete")
        await wait_for_text(pilot, "Delete tiny and its")
        await pilot.press("y")
        await wait_until(pilot, lambda: len(host.asked) == 1)
        body = host.asked[0].body
        assert not isinstance(body, bytes)
        assert body is not None
        assert json.loads(body.model_dump_json()) == {"name": "tiny", "unload": True}


async def test_enter_talks_to_the_model_in_a_new_chat(home: Path) -> None:
    del home
    app = modes_app(FakeLink(host_with()))
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "> a")
        await wait_for_text(pilot, "no model")
        await pilot.press("alt+2")
        await wait_for_text(pilot, "2 on this machine")
        await pilot.press("enter")
        await wait_for_text(pilot, "ready · tiny")
        assert "> a" not in shown_text(app)
        assert app.current_mode == "chat"


def test_library_and_catalogue_are_read_as_they_are(home: Path) -> None:
    del home
    here = {one.name: one for one in read_installed().items}
    assert here["tiny"].state == "enabled"
    assert here["tiny"].needed_bytes > 0
    assert here["cut"].state in ("broken", "incomplete")
    catalogue = read_catalogue()
    assert len(catalogue.items) > 100
    assert all(one.model is None and one.size_bytes for one in catalogue.items)


# ---- keys


@presses(
    *("models.install", "models.catalogue", "models.hub", "models.next_tier"),
    "models.tier_before",
)
async def test_keys_that_find_a_model(shelves: dict[View, Shelf], keys: Keys) -> None:
    del shelves
    app = modes_app(FakeLink(host_with()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "[All 5]")
        # What scrolls sideways is asked first; a list that has nothing to the side leaves it.
        await keys.press(pilot, "models.next_tier", "right", "[0 basic 1]", is_behind=True)
        await keys.press(pilot, "models.tier_before", "left", "[All 5]", is_behind=True)
        for action, key, asks in (
            ("models.install", "i", "What to install"),
            ("models.hub", "h", "Words to look for"),
        ):
            await keys.press(pilot, action, key, asks)
            await pilot.press("escape")
            await wait_until(pilot, lambda words=asks: words not in shown_text(app))
        await keys.press(pilot, "models.catalogue", "c", "2 of the catalogue")
