"""The functions for programs that use luci as a library."""

from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.errors import CatalogError
from luci_tui.library.lookup import get_model_info, list_models, resolve
from tests.support.libraries import MODEL, install, use_home


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    home = use_home(monkeypatch, tmp_path)
    install(home / "models", "small", {"small.gguf": MODEL}, catalog_name="smollm2-135m")
    return home


def test_name_alias_and_entry_of_the_catalogue_resolve() -> None:
    assert resolve("small") == resolve("smollm2-135m") == "small"
    assert resolve("LLAMA3.3-70B") == "llama3.3-70b"
    with pytest.raises(CatalogError, match="There is no model"):
        resolve("llama")


def test_models_are_listed_by_tier_with_and_without_the_catalogue() -> None:
    assert [one["name"] for one in list_models()] == ["small"]
    assert list_models(tier=3) == ()
    names = [one["name"] for one in list_models(tier=0, with_catalog=True)]
    assert names[0] == "small"
    assert "smollm2-135m" not in names
    assert len(names) == 40


def test_info_of_what_is_here_and_of_what_is_not() -> None:
    assert get_model_info("small")["kind"] == "installed"
    assert get_model_info("llama3.3-70b")["kind"] == "catalogue"
