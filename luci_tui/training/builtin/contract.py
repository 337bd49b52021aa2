"""The command contract: intents, their canonical forms and how a form is filled with values."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

HOME = Path(__file__).parent
"""Folder of this package, which holds `intents.yaml`, `templates/` and `eval/`."""

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Form:
    """One canonical command with its slots, such as `find {dir} -name '{file}'`."""

    text: str
    slots: frozenset[str]

    def fill(self, values: dict[str, str]) -> str:
        """Give the command; a value with a space is put in single quotes where it stands alone."""
        words: list[str] = []
        for word in self.text.split(" "):
            match = _SLOT.fullmatch(word)
            if match and " " in values[match[1]]:
                words.append(f"'{values[match[1]]}'")
            else:
                words.append(_SLOT.sub(lambda found: values[found[1]], word))
        return " ".join(words)

    def takes_spaces(self, slot: str) -> bool:
        """Say whether a value with a space can stand in this slot without harm."""
        places = [word for word in self.text.split(" ") if f"{{{slot}}}" in word]
        return all(word == f"{{{slot}}}" or "'" in word for word in places)


@dataclass(frozen=True)
class Intent:
    """One thing the model can do."""

    id: str
    forms: tuple[Form, ...]
    slots: dict[str, str]
    """Slot name -> kind of its values."""

    def form_for(self, slots: frozenset[str]) -> Form:
        """Give the form that has exactly these slots.

        Raises:
            KeyError: no form of the intent has these slots.
        """
        for form in self.forms:
            if form.slots == slots:
                return form
        raise KeyError(f"{self.id}: no form with the slots {sorted(slots)}")


@dataclass(frozen=True)
class Contract:
    """All intents and the fixed decline sentence."""

    intents: dict[str, Intent]
    decline_sentence: str


@cache
def load_contract() -> Contract:
    """Read `intents.yaml`."""
    raw = yaml.safe_load((HOME / "intents.yaml").read_text(encoding="utf-8"))
    intents: dict[str, Intent] = {}
    for entry in raw["intents"]:
        forms = tuple(Form(text, frozenset(_SLOT.findall(text))) for text in entry["forms"])
        intents[entry["id"]] = Intent(entry["id"], forms, dict(entry["slots"]))
    return Contract(intents, raw["decline_sentence"].strip())
