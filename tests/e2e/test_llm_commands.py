"""`luci llm` and its neighbours as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import Luci
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.libraries import MODEL, hugging_face, install
from tests.support.tiny_vocab import CHATML_TEMPLATE


@pytest.fixture
def home(luci_env: dict[str, str]) -> Path:
    home = Path(luci_env["LUCI_HOME"])
    luci_env["HOME"] = str(home.parent)
    custom = home / "models" / "custom_models"
    custom.mkdir()
    write_arch_model(TinyArch.LLAMA, custom / "mine.gguf", chat_template=CHATML_TEMPLATE)
    (custom / "half.gguf").write_bytes(MODEL[:900])
    install(home / "models", "one", {"one.gguf": MODEL})
    return home


def rows(luci: Luci, *arguments: str) -> dict[str, dict[str, object]]:
    done = luci("llm", "list", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_person_finds_enables_names_and_uses_a_file_of_their_own(home: Path, luci: Luci) -> None:
    listed = rows(luci)
    assert {name: row["enabled"] for name, row in listed.items()} == {
        "one": True,
        "any": True,
        "mine": False,
        "half": False,
    }
    assert listed["half"]["state"] == "incomplete"
    refused = luci("run", "mine", "hello", "--max-tokens", "2")
    assert refused.returncode == 2
    assert b"luci llm enable mine" in refused.stderr
    assert luci("llm", "enable", "mine").stdout == b"mine is enabled.\n"
    assert (
        luci("llm", "set", "mine", "--alias", "m", "--tier", "3", "--note", "a try").returncode == 0
    )
    answer = luci("run", "m", "hello", "--max-tokens", "2", "--json")
    assert answer.returncode == 0, answer.stderr
    info = luci("llm", "info", "m").stdout.decode()
    for fact in ("3 (expert, user)", "a try", "mine.gguf", "llama"):
        assert fact in info
    taken = luci("llm", "set", "one", "--alias", "m")
    assert b"is taken by the model mine" in taken.stderr
    (home / "models.toml").write_text('[[model]]\nname = "big"\npath = "/big.gguf"\n')
    assert b"taken in models.toml" in luci("llm", "set", "one", "--alias", "big").stderr
    luci("llm", "set", "mine", "--remove-alias", "m", "--no-tier", "--no-note")
    assert luci("llm", "info", "m").returncode == 2
    assert rows(luci)["mine"]["tier_source"] == "computed"
    assert luci("llm", "disable", "mine").returncode == 0
    assert luci("run", "mine", "hello").returncode == 2
    assert (home / "models" / "custom_models" / "mine.gguf").exists()


def test_all_and_tiers_are_enabled_together_but_not_what_is_broken_or_somebody_elses(
    home: Path, luci: Luci
) -> None:
    hub = home.parent / ".cache" / "huggingface" / "hub"
    hugging_face(hub, "me/four", {"four.gguf": MODEL + bytes(32)})
    assert luci("llm", "disable", "all").returncode == 0
    assert not any(row["enabled"] for row in rows(luci).values())
    luci("llm", "enable", "tier", "0")
    on = {name for name, row in rows(luci).items() if row["enabled"]}
    assert on == {"one", "any", "mine"}
    broken = luci("llm", "enable", "half")
    assert broken.returncode == 2
    assert b"incomplete" in broken.stderr
    assert luci("llm", "enable", "four").returncode == 0
    assert rows(luci)["four"]["enabled"] is True
    assert b"Give 0, 1, 2 or 3" in luci("llm", "enable", "tier", "9").stderr


def test_list_shows_tiers_what_fits_and_the_catalogue(home: Path, luci: Luci) -> None:
    assert set(rows(luci, "--tier", "2")) == {"half"}
    assert set(rows(luci, "--fits")) == {"one", "any", "mine"}
    everything = rows(luci, "all")
    assert everything["llama3.3-70b"]["kind"] == "catalogue"
    assert len(everything) == 4 + 161
    tables = luci("llm", "list", "all", "--tier", "3").stdout.decode().splitlines()
    assert all("not installed" in line for line in tables)
    assert luci("llm", "list", "everything").returncode == 2
    assert home.exists()


def test_wrong_words_are_answered_with_the_right_ones(home: Path, luci: Luci) -> None:
    for words, right in (
        (("llm", "enble", "mine"), b"'enable'"),
        (("llm", "lst"), b"'list'"),
        (("lmm", "list"), b"'llm'"),
        (("llm", "info", "mien"), b'Did you mean "mine"'),
        (("help", "custom-model"), b"custom-models"),
    ):
        done = luci(*words)
        assert done.returncode == 2
        assert right in done.stderr, words
    there = luci("llm", "info", "llama3.3-70b")
    assert b"luci install llama3.3-70b" in there.stderr
    assert home.exists()


def test_models_info_counts(home: Path, luci: Luci) -> None:
    found = json.loads(luci("models", "info", "--json").stdout)
    assert {kind: one["models"] for kind, one in found["kinds"].items()} == {
        "installed": 1,
        "custom": 2,
        "plain": 1,
        "foreign": 0,
    }
    assert found["enabled_by_tier"]["0"] == 2
    assert b"half is incomplete" in luci("models", "info").stderr
    assert home.exists()


def test_pages_are_shown(luci: Luci) -> None:
    page = Path("docs/CUSTOM_MODELS.md").read_text(encoding="utf-8")
    assert luci("custom", "model", "info").stdout.decode() == page
    assert luci("help", "model-tiers").stdout.decode().startswith("# ")
    assert b"Pages: custom-models" in luci("help").stdout
    assert b"Usage: luci llm" in luci("help", "llm").stdout


def test_disk_asks_before_it_removes(home: Path, luci: Luci) -> None:
    left = home / "models" / "two.gguf.part"
    left.write_bytes(b"x" * 5000)
    shown = json.loads(luci("disk", "--json").stdout)
    assert [item["cleanable"] for item in shown["items"]] == [True]
    unasked = luci("disk", "--clean")
    assert unasked.returncode == 2
    assert b"--yes" in unasked.stderr
    assert left.exists()
    assert luci("disk", "--clean", "--yes").returncode == 0
    assert not left.exists()
    assert b"nothing to clean" in luci("disk", "--clean").stderr


def test_backup_says_what_it_would_do_and_does_it(home: Path, luci: Luci) -> None:
    copy = home.parent / "copy"
    unasked = luci("backup", "models", str(copy))
    assert unasked.returncode == 2
    assert b"3 models" in unasked.stderr
    assert not copy.exists()
    done = json.loads(luci("backup", "models", str(copy), "--yes", "--json").stdout)
    assert (done["copied_files"], done["problems"]) == (4, [])
    assert luci("backup", "models", str(copy)).returncode == 0
    (copy / "models" / "any.gguf").write_bytes(b"rot")
    broken = luci("backup", "models", str(copy), "--verify")
    assert broken.returncode == 1
    assert b"any.gguf is damaged" in broken.stderr


def test_fit_of_a_file_is_from_its_header_and_of_the_catalogue_a_guess(
    home: Path, luci: Luci
) -> None:
    found = json.loads(luci("fit", "mine", "--n-ctx", "512", "--json").stdout)
    assert found["n_ctx"] == 512
    assert found["fits"] is True
    assert {one["source"] for one in found["quants"]} == {
        "llama.cpp's quantizer, dry run on this file"
    }
    assert all(found["sources"].values())
    guessed = luci("fit", "llama3.1-8b")
    assert b"not on this machine" in guessed.stdout
    assert b"a guess" in guessed.stdout
    assert luci("fit", "llama3.1-8b", "--n-ctx", "99999999").returncode == 1
    assert luci("fit", "no-such-model").returncode == 2
    assert luci("fit", str(home / "models" / "any.gguf")).returncode == 0


def test_memory_that_a_model_took_in_the_host_is_told_by_fit(home: Path, luci: Luci) -> None:
    luci("llm", "enable", "mine")
    assert json.loads(luci("fit", "mine", "--json").stdout)["measured"] is None
    answer = luci("ask", "--model", "mine", "hi")
    assert answer.returncode == 0, answer.stderr
    now = json.loads(luci("fit", "mine", "--json").stdout)["measured"]
    assert (now["when"], now["rss_bytes"] > 1_000_000) == ("now", True)
    assert luci("unload", "mine").returncode == 0
    kept = json.loads(luci("fit", "mine", "--json").stdout)["measured"]
    assert kept["when"] != "now"
    assert kept["rss_bytes"] > 1_000_000
    assert home.exists()
