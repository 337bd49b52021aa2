"""The wording around a value, and the lists of phrases it is drawn from."""

from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

import yaml

from luci_tui.training.builtin.contract import HOME

Part = tuple[str, bool]
"""Text and whether it is protected from typos and changes of case."""


@dataclass(frozen=True)
class Said:
    """One argument as it stands in the request, and its value in the command."""

    parts: list[Part]
    value: str


@cache
def phrases() -> dict[str, Any]:
    """Read `phrases.yaml`."""
    return yaml.safe_load((HOME / "templates" / "phrases.yaml").read_text(encoding="utf-8"))


def plain(value: str, front: str = "") -> Said:
    """Say a value as it is, behind some words."""
    return Said([(front, False), (value, True)] if front else [(value, True)], value)


def spoken(text: str, value: str) -> Said:
    """Say a value in words that may be changed, such as "my home directory"."""
    return Said([(text, False)], value)


def named(rng: Random, value: str, noun: str, *, article: bool = True) -> Said:
    """Say a name with or without quotes and with or without its noun."""
    shown = value
    if " " in value or rng.random() < 0.06:
        quote = rng.choice(['"', "'", '"', "`"])
        shown = f"{quote}{value}{quote}"
    if not article or rng.random() >= 0.4:
        return Said([(shown, True)], value)
    front, _, back = rng.choice(phrases()["named"]).replace("N", noun).partition("_")
    parts = [(front, False), (shown, True), (back, False)]
    return Said([part for part in parts if part[0]], value)
