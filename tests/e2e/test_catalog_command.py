"""`luci catalog` as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.conftest import Luci


def test_list_shows_a_line_for_each_model_of_a_tier(luci: Luci) -> None:
    done = luci("catalog", "list", "--tier", "0")
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert len(lines) == 40
    assert all(line.startswith("0  ") for line in lines)
    assert "40 of 161 models" in done.stderr.decode()


def test_list_and_tiers_with_json_are_data(luci: Luci) -> None:
    models = json.loads(luci("catalog", "list", "--tag", "embedding", "--json").stdout)
    assert models
    assert all("embedding" in model["tags"] for model in models)
    counts = json.loads(luci("catalog", "tiers", "--json").stdout)
    assert sum(counts.values()) == 161


def test_info_shows_one_model_and_a_wrong_name_suggests(luci: Luci) -> None:
    done = luci("catalog", "info", "smollm2-360m")
    assert b"HuggingFaceTB/SmolLM2-360M-Instruct-GGUF" in done.stdout
    wrong = luci("catalog", "info", "smollm2-36m")
    assert wrong.returncode == 2
    assert b"smollm2-360m" in wrong.stderr
    assert luci("catalog", "list", "--tag", "poetry").returncode == 2


def test_own_entries_are_listed(luci: Luci, luci_env: dict[str, str]) -> None:
    Path(luci_env["LUCI_HOME"], "catalog.toml").write_text(
        '[[model]]\nname = "smollm2-135m"\naliases = ["tiny"]\n'
    )
    assert b"smollm2-135m" in luci("catalog", "info", "tiny").stdout
