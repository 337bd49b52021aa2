"""The model card: what a model was made from and how, as the hub's front matter and Markdown.

A model's card lies beside its file, as NAME.md beside NAME.gguf.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from luci_tui.units import format_bytes

MAX_CARD_BYTES = 1024 * 1024


@dataclass(frozen=True)
class CardFacts:
    """What a card says. An empty field is left away."""

    title: str
    base_model: str = ""
    """Repository at the hub, or the name of a model."""
    licence: str = ""
    quant: str = ""
    """Quant type, such as Q4_K_M; several with commas."""
    architecture: str = ""
    training: str = ""
    """How it was trained, or "none" for a converted one."""
    date: str = ""
    """ISO 8601, a day."""
    notes: str = ""
    """Free text, Markdown."""
    files: tuple[tuple[str, int], ...] = ()
    """Names and bytes."""
    tags: tuple[str, ...] = ()


def card_path(model: Path) -> Path:
    """Return where the card of a model file lies."""
    return model.with_suffix(".md")


def render_card(facts: CardFacts) -> str:
    """Write a card."""
    return _front_matter(facts) + "\n" + _body(facts)


def _front_matter(facts: CardFacts) -> str:
    lines = ["---"]
    if facts.licence:
        lines.append(f"license: {_quoted(facts.licence)}")
    if "/" in facts.base_model:
        # The hub reads it as a repository; another name would be refused.
        lines.append(f"base_model: {_quoted(facts.base_model)}")
    lines.append("library_name: gguf")
    lines.append("tags:")
    lines += [f"- {_quoted(tag)}" for tag in ("gguf", *facts.tags)]
    return "\n".join([*lines, "---", ""])


def _body(facts: CardFacts) -> str:
    rows = [
        ("Base model", facts.base_model),
        ("Quant type", facts.quant),
        ("Architecture", facts.architecture),
        ("Training", facts.training),
        ("Date", facts.date),
        ("Licence", facts.licence),
    ]
    parts = [f"# {_line(facts.title)}\n"]
    shown = [f"| {name} | {_cell(text)} |" for name, text in rows if text]
    if shown:
        parts.append("\n".join(["| | |", "|---|---|", *shown]) + "\n")
    if facts.notes:
        parts.append(f"{facts.notes.strip()}\n")
    if facts.files:
        listed = [f"- `{_line(name)}`, {format_bytes(size)}" for name, size in facts.files]
        parts.append("\n".join(["## Files\n", *listed]) + "\n")
    return "\n".join(parts)


def _quoted(text: str) -> str:
    """Write a YAML string: JSON's form is one, and no text can end it early."""
    return json.dumps(_line(text), ensure_ascii=False)


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
