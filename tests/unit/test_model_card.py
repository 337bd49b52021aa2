"""Model cards: front matter that no text can break out of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from luci_tui.errors import CatalogError, GgufError
from luci_tui.library.card import CardFacts, card_path, render_card
from luci_tui.library.share import plan_share
from tests.support.gguf_files import write_keys, write_split

HOSTILE = 'x"\n---\nlicense: gpl\n---\n# y\x1b[2J | `z`: {a}'


def front_matter(card: str) -> dict[str, Any]:
    assert card.startswith("---\n")
    loaded = yaml.safe_load(card[4:].partition("\n---\n")[0])
    assert isinstance(loaded, dict)
    return loaded


def test_card_has_what_is_known_and_leaves_the_rest_away() -> None:
    card = render_card(
        CardFacts(
            "My model",
            base_model="org/base",
            licence="apache-2.0",
            quant="Q4_K_M",
            training="none",
            date="2026-11-26",
            notes="Two *words*.",
            files=(("m.gguf", 2048),),
        )
    )
    assert front_matter(card) == {
        "license": "apache-2.0",
        "base_model": "org/base",
        "library_name": "gguf",
        "tags": ["gguf"],
    }
    for line in ("# My model", "| Quant type | Q4_K_M |", "Two *words*.", "- `m.gguf`, 2.00 KiB"):
        assert line in card.splitlines()
    assert "Architecture" not in card


def test_card_given_only_a_title_then_it_is_a_card() -> None:
    card = render_card(CardFacts("m"))
    assert front_matter(card) == {"library_name": "gguf", "tags": ["gguf"]}
    assert card.endswith("# m\n")


def test_hostile_text_stays_text() -> None:
    facts = CardFacts(HOSTILE, "o/" + HOSTILE, HOSTILE, HOSTILE, HOSTILE, tags=(HOSTILE,))
    card = render_card(facts)
    loaded = front_matter(card)
    assert set(loaded) == {"license", "base_model", "library_name", "tags"}
    assert loaded["license"].startswith('x" --- license: gpl')
    assert "\x1b" not in card
    assert card.count("\n---\n") == 1


def test_base_model_without_an_owner_is_told_but_no_repository() -> None:
    card = render_card(CardFacts("m", base_model="My base"))
    assert "base_model" not in front_matter(card)
    assert "| Base model | My base |" in card


def test_plan_of_a_file_takes_what_it_says_of_itself(tmp_path: Path) -> None:
    keys = {
        "general.name": "Tiny \x1b[2J",
        "general.license": "mit",
        "general.base_model.0.repo_url": "https://huggingface.co/org/base",
    }
    path = write_keys(tmp_path / "t.gguf", "llama", keys)
    plan = plan_share(tmp_path, "t", "a/b", CardFacts(""), is_private=False)
    assert plan.files == (path,)
    assert front_matter(plan.card)["base_model"] == "org/base"
    assert front_matter(plan.card)["license"] == "mit"
    assert "# Tiny  [2J" in plan.card
    said = CardFacts("", licence="apache-2.0")
    assert 'license: "apache-2.0"' in (
        plan_share(tmp_path, str(path), "a/b", said, is_private=False).card
    )


def test_plan_of_a_set_has_all_shards_and_an_incomplete_one_is_refused(tmp_path: Path) -> None:
    first = write_split(tmp_path, n_shards=2)
    plan = plan_share(tmp_path, str(first), "a/b", CardFacts(""), is_private=True)
    assert [path.name for path in plan.files] == [
        "split-00001-of-00002.gguf",
        "split-00002-of-00002.gguf",
    ]
    plan.files[1].unlink()
    with pytest.raises(GgufError, match="missing"):
        plan_share(tmp_path, str(first), "a/b", CardFacts(""), is_private=True)
    with pytest.raises(CatalogError, match="installed"):
        plan_share(tmp_path, "nothing", "a/b", CardFacts(""), is_private=True)


def test_card_beside_the_file_is_taken_as_it_is(tmp_path: Path) -> None:
    path = write_keys(tmp_path / "t.gguf", "llama", {})
    card_path(path).write_text("# By hand\n")
    plan = plan_share(tmp_path, str(path), "a/b", CardFacts("x"), is_private=False)
    assert plan.card.startswith("---\nlibrary_name: gguf\n---\n")
    assert plan.card.endswith("# By hand\n")
    card_path(path).write_bytes(b"\xff\xfe")
    with pytest.raises(GgufError, match="cannot be read"):
        plan_share(tmp_path, str(path), "a/b", CardFacts("x"), is_private=False)
