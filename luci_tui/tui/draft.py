"""A prompt on its way to the model: what was typed, what was pasted, what is attached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

FOLD_CHARACTERS = 4096
"""A longer paste is folded: a text of a megabyte would freeze an input line."""
FOLD_LINES = 40
"""One of more lines likewise: it would hide everything else."""


@dataclass(frozen=True)
class Attachment:
    """A file that goes with a prompt."""

    name: str
    words: str
    """Name, size and, of a picture, its pixels; for a person."""
    text: str | None = None
    """What a text file holds; None = it is a picture or a sound."""
    content: bytes = b""
    """Of a picture or a sound: the whole file."""
    width: int = 0
    """Pixels of a picture; 0 = it is none."""
    height: int = 0

    def beyond(self, *, images: bool | None, audio: bool | None) -> str:
        """Say what this is that a model does not take: "pictures", "sounds"; empty = it does.

        Args:
            images: Whether it takes images; None = nobody knows.
            audio: Whether it takes sound.
        """
        if self.text is not None:
            return ""
        if self.width:
            return "pictures" if images is False else ""
        return "sounds" if audio is False else ""

    @property
    def fenced(self) -> str:
        """The text under its name, in a fence that nothing in it can close."""
        text = self.text or ""
        fence = "```"
        while fence in text:
            fence += "`"
        end = "" if text.endswith("\n") or not text else "\n"
        return f"{self.name}:\n{fence}\n{text}{end}{fence}"


@dataclass(frozen=True)
class Draft:
    """What one Enter sends."""

    typed: str
    """As it stands in the input line, with a short name for each long paste."""
    pastes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name in `typed` -> what was pasted."""
    attachments: tuple[Attachment, ...] = ()

    @property
    def text(self) -> str:
        """All that the model reads: pastes whole, text files fenced behind the words."""
        parts = [_unfolded(self.typed, self.pastes)]
        parts += [one.fenced for one in self.attachments if one.text is not None]
        return "\n\n".join(parts)

    @property
    def shown(self) -> str:
        """What stands above the prompt while it waits."""
        return attached_words(self.typed, self.attachments)

    @property
    def media(self) -> tuple[Attachment, ...]:
        """The pictures and sounds."""
        return tuple(one for one in self.attachments if one.text is None)

    @property
    def is_blank(self) -> bool:
        """There is nothing to send."""
        return not self.typed.strip()


class Named(Protocol):
    """Something with words about itself, such as a stored picture."""

    @property
    def words(self) -> str:
        """Name, size and, of a picture, its pixels."""
        ...


def attached_words(text: str, attached: Sequence[Named]) -> str:
    """Put what is attached below a text."""
    return "\n".join([text, *(f"[attached {one.words}]" for one in attached)])


def merged(drafts: Sequence[Draft]) -> Draft:
    """Join prompts into one, for the input line."""
    pastes = {name: text for draft in drafts for name, text in draft.pastes.items()}
    attachments = tuple(one for draft in drafts for one in draft.attachments)
    return Draft("\n".join(draft.typed for draft in drafts if draft.typed), pastes, attachments)


def is_long(text: str) -> bool:
    """Tell whether a paste is folded."""
    return len(text) > FOLD_CHARACTERS or text.count("\n") >= FOLD_LINES


def paste_name(text: str, taken: set[str]) -> str:
    """Name a paste that is folded; no two that are in use have one name."""
    name, number = f"[pasted {len(text):,} characters]", 1
    while name in taken:
        number += 1
        name = f"[pasted {len(text):,} characters, {number}]"
    return name


def _unfolded(typed: str, pastes: Mapping[str, str]) -> str:
    """Put pastes where their names stand; what is pasted is not looked through for names."""
    found = sorted((typed.find(name), name) for name in pastes if name in typed)
    parts: list[str] = []
    end = 0
    for start, name in found:
        parts += [typed[end:start], pastes[name]]
        end = start + len(name)
    return "".join([*parts, typed[end:]])
