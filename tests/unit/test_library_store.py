"""The library: what it finds, what it says of each model, and what can be used by name."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from luci_tui.errors import CatalogError
from luci_tui.library import own_settings
from luci_tui.library.gathering import Gathered, gather
from luci_tui.library.header_cache import HeaderCache
from luci_tui.library.places import find_places
from luci_tui.library.records import ModelKind, ModelState, TierSource
from luci_tui.library.store import Library
from luci_tui.library.usable import UsableModels
from luci_tui.manager.registry import Registry
from tests.support import raw_gguf
from tests.support.libraries import MODEL, hugging_face, install, ollama, use_home
from tests.support.split_model import write_shards

PROJECTOR = raw_gguf.good_projector().build()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return use_home(monkeypatch, tmp_path)


@pytest.fixture
def person(home: Path) -> Path:
    return home.parent / "person"


def put(path: Path, data: bytes = MODEL, *, age_s: float = 3600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def test_library_has_what_was_installed_dropped_and_kept_by_others(
    home: Path, person: Path
) -> None:
    install(home / "models", "one", {"one.gguf": MODEL, "mmproj-one.gguf": PROJECTOR})
    put(home / "models" / "two.gguf")
    put(home / "models" / "custom_models" / "sub" / "three-Q4_K_M.gguf")
    hugging_face(person / ".cache/huggingface/hub", "me/four-GGUF", {"q/four.gguf": MODEL})
    ollama(person / ".ollama/models", "five:latest", MODEL, projector=PROJECTOR)
    put(person / ".lmstudio" / "models" / "me" / "six" / "six-Q8_0.gguf")
    put(person / ".luciferai" / "models" / "seven.gguf")
    library = Library()
    assert library.problems == ()
    assert [
        (one.name, one.found.kind.value, one.found.store, one.is_enabled) for one in library.models
    ] == [
        ("one", "installed", "luci", True),
        ("three-Q4_K_M", "custom", "luci", False),
        ("two", "plain", "luci", True),
        ("five:latest", "foreign", "Ollama", False),
        ("four", "foreign", "Hugging Face", False),
        ("seven", "foreign", "~/.luciferai", False),
        ("six-Q8_0", "foreign", "LM Studio", False),
    ]
    assert {one.state for one in library.models} == {ModelState.OK}
    one, five = library.find("one"), library.find("five")
    assert one.found.mmproj is not None
    assert one.size_bytes == len(MODEL) + len(PROJECTOR)
    assert five.found.mmproj is not None
    assert library.find("four").found.repo == "me/four-GGUF"
    assert one.header.n_params > 0
    assert one.header.needed_bytes > 0
    assert one.measured_tier is None


def test_library_looks_at_configured_folders_and_tells_those_that_are_missing(
    home: Path, tmp_path: Path
) -> None:
    put(tmp_path / "mine" / "a.gguf")
    config = f'[library]\nfolders = ["{tmp_path / "mine"}", "{tmp_path / "none"}"]\n'
    (home / "config.toml").write_text(config)
    library = Library()
    assert [one.name for one in library.models] == ["a"]
    assert str(tmp_path / "none") in library.problems[0]
    (home / "config.toml").write_text("[library]\nfinds_others = 3\n")
    assert "line 2" in Library().problems[0]


def test_library_does_not_look_at_others_where_a_person_says_so(home: Path, person: Path) -> None:
    put(person / ".luciferai" / "models" / "seven.gguf")
    assert Library().get("seven") is not None
    assert Library(with_foreign=False).get("seven") is None
    (home / "config.toml").write_text("[library]\nfinds_others = false\n")
    assert Library().models == ()


def test_equal_names_are_told_apart_the_same_way_each_time(home: Path, person: Path) -> None:
    put(home / "models" / "a.gguf")
    put(home / "models" / "custom_models" / "a.gguf")
    put(home / "models" / "custom_models" / "sub" / "a.gguf")
    put(person / ".luciferai" / "models" / "a.gguf")
    for _ in range(2):
        library = Library()
        assert sorted(one.name for one in library.models) == [
            *("a", "a@custom", "a@custom-2", "a@luciferai")
        ]
        assert library.find("a").found.kind is ModelKind.PLAIN


def test_shards_are_one_model_and_incomplete_when_one_is_missing(home: Path) -> None:
    folder = home / "models" / "custom_models"
    folder.mkdir()
    paths = write_shards(folder, 3)
    whole = Library().find("model")
    assert (whole.state, len(whole.found.files)) == (ModelState.OK, 3)
    assert whole.size_bytes == sum(path.stat().st_size for path in paths)
    paths[1].unlink()
    broken = Library().find("model")
    assert broken.state is ModelState.INCOMPLETE
    assert "1 of its 3 shards" in broken.problem


def test_file_that_grows_is_incomplete_and_rubbish_is_only_for_a_moment(home: Path) -> None:
    folder = home / "models" / "custom_models"
    put(folder / "half.gguf", MODEL[: len(MODEL) // 2])
    put(folder / "young.gguf", b"not yet anything", age_s=0)
    put(folder / "old.gguf", b"no model at all")
    put(folder / "empty.gguf", b"")
    put(folder / "lora.gguf", raw_gguf.good_lora().build())
    library = Library()
    states = {one.name: one.state.value for one in library.models}
    assert states == {
        "half": "incomplete",
        "young": "incomplete",
        "old": "broken",
        "empty": "incomplete",
        "lora": "no model",
    }
    put(folder / "half.gguf", MODEL)
    assert Library().find("half").state is ModelState.OK


def test_installed_model_with_a_lost_file_says_to_install_it_again(home: Path) -> None:
    folder = install(home / "models", "one")
    (folder / "one.gguf").write_bytes(MODEL[:-1])
    cut = Library().find("one")
    assert cut.state is ModelState.BROKEN
    assert "Install the model again" in cut.problem
    (folder / "one.gguf").unlink()
    assert "is missing" in Library().find("one").problem
    (folder.parent / "model.json").write_text("{}")
    assert "cannot be read as a model's manifest" in Library().find("one").problem
    assert Registry().names()[-1].name == "builtin"


def test_tier_is_the_persons_then_the_catalogues_then_computed_then_two(home: Path) -> None:
    install(home / "models", "known", catalog_name="llama3.3-70b")
    put(home / "models" / "counted.gguf")
    put(home / "models" / "unread.gguf", b"x")
    assert {
        one.name: (one.tier, one.tier_source.value) for one in Library(with_foreign=False).models
    } == {
        "known": (3, "catalogue"),
        "counted": (0, "computed"),
        "unread": (2, "default"),
    }
    own_settings.set_tier("known", 1)
    found = Library().find("known")
    assert (found.tier, found.tier_source) == (1, TierSource.USER)
    own_settings.set_tier("known", None)
    assert Library().find("known").tier == 3


def test_file_of_a_hubs_repository_is_known_to_the_catalogue(person: Path) -> None:
    hub = person / ".cache/huggingface/hub"
    repo, file = "bartowski/SmolLM2-135M-Instruct-GGUF", "SmolLM2-135M-Instruct-Q4_K_M.gguf"
    hugging_face(hub, repo, {file: MODEL})
    found = Library().find("smollm2-135m")
    assert found.found.catalog_name == "smollm2-135m"
    assert found.tier_source is TierSource.CATALOGUE


def test_aliases_of_a_person_go_before_others_and_never_hide_a_name(home: Path) -> None:
    put(home / "models" / "a.gguf")
    put(home / "models" / "b.gguf")
    own_settings.set_aliases("b", ("a", "llama-70b", "short"))
    library = Library()
    assert library.find("a").aliases == ("a.gguf",)
    assert library.find("b").aliases == ("llama-70b", "short", "b.gguf")
    assert library.find("short").name == "b"


@pytest.mark.parametrize("name", ["tw", "TWO", "wo", "", "../two", "two "])
def test_part_of_a_name_stands_for_nothing_and_near_ones_are_suggested(
    home: Path, name: str
) -> None:
    put(home / "models" / "two.gguf")
    with pytest.raises(CatalogError) as caught:
        Library().find(name)
    assert caught.value.code == "unknown_model"
    with pytest.raises(CatalogError, match='Did you mean "two"'):
        Library().find("tow")


# What can be used by name.


def test_registry_has_enabled_models_with_aliases_and_projectors(home: Path, person: Path) -> None:
    install(home / "models", "one", {"one.gguf": MODEL, "mmproj-one.gguf": PROJECTOR})
    put(home / "models" / "custom_models" / "mine.gguf")
    blob = ollama(person / ".ollama/models", "five:latest", MODEL)
    registry = Registry()
    assert [entry.name for entry in registry.names()] == ["builtin", "one"]
    assert registry.find("one").load_spec().mmproj_path.endswith("/mmproj-one.gguf")
    for name in ("mine", "five", "five:latest"):
        with pytest.raises(CatalogError, match="luci llm enable") as caught:
            registry.find(name)
        assert caught.value.code == "disabled"
    own_settings.set_enabled("mine", True)
    own_settings.set_enabled("five:latest", True)
    own_settings.set_aliases("mine", ("m",))
    assert registry.find("m").path == str(home / "models" / "custom_models" / "mine.gguf")
    assert registry.find("five").path == str(blob)
    own_settings.set_enabled("one", False)
    with pytest.raises(CatalogError, match="disabled"):
        registry.find("one")


def test_registry_sees_at_once_what_comes_and_goes(home: Path) -> None:
    registry = Registry()
    assert len(registry.names()) == 1
    folder = install(home / "models", "one")
    put(home / "models" / "two.gguf")
    assert [entry.name for entry in registry.names()][1:] == ["one", "two"]
    newer = install(home / "models", "one", {"one.gguf": MODEL, "mmproj-one.gguf": PROJECTOR})
    assert newer != folder
    assert registry.find("one").path == str(newer / "one.gguf")
    (home / "models" / "two.gguf").unlink()
    (folder.parent / "model.json").unlink()
    assert len(registry.names()) == 1


def test_name_in_models_toml_goes_before_the_librarys(home: Path) -> None:
    install(home / "models", "one")
    (home / "models.toml").write_text('[[model]]\nname = "one"\npath = "/elsewhere.gguf"\n')
    assert Registry().find("one").path == "/elsewhere.gguf"


def test_folders_are_looked_through_only_when_they_have_changed(home: Path) -> None:
    install(home / "models", "one")
    put(home / "models" / "custom_models" / "sub" / "mine.gguf")
    then = time.time() - 60
    for folder in (home, *(path for path in home.rglob("*") if path.is_dir())):
        os.utime(folder, (then, then))
    usable = UsableModels()
    first = usable.get()
    assert [one.name for one in first.models] == ["one"]
    assert usable.get() is first
    put(home / "models" / "custom_models" / "sub" / "other.gguf")
    assert "other" in usable.get().disabled


def test_who_asks_while_another_thread_looks_gets_what_was_found_before(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(home / "models", "one")
    usable = UsableModels()
    before = usable.get()
    looks, goes_on = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> Gathered:
        looks.set()
        assert goes_on.wait(20)
        return gather(find_places(), HeaderCache(None))

    monkeypatch.setattr("luci_tui.library.usable.gather", slow)
    install(home / "models", "two")
    thread = threading.Thread(target=usable.refresh)
    thread.start()
    assert looks.wait(20)
    assert usable.get() is before
    goes_on.set()
    thread.join()
    assert [one.name for one in usable.get().models] == ["one", "two"]
