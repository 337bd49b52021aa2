"""What makes a phrase into a request: frames, politeness, context, case, punctuation and typos."""

import re
from random import Random

from luci_tui.training.builtin.grammar import Banks, SlotRef, expand
from luci_tui.training.builtin.said import Part

_KEY_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEAR_KEYS = {
    letter: row[max(0, at - 1) : at] + row[at + 1 : at + 2]
    for row in _KEY_ROWS
    for at, letter in enumerate(row)
}
"""Letter -> the letters beside it on a keyboard."""
_WORD = re.compile(r"[A-Za-z]{4,}")
_FRONT_WORDS = ("in ", "inside ", "under ", "within ", "from ", "here", "right here", "below ")


def _bank(banks: Banks, name: str, rng: Random) -> str:
    return "".join(part for part in expand((banks[name],), rng) if not isinstance(part, SlotRef))


def _typo(word: str, rng: Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    kind = rng.random()
    if kind < 0.35:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind < 0.65:
        return word[:at] + word[at + 1 :]
    if kind < 0.8:
        return word[:at] + word[at] + word[at:]
    near = _NEAR_KEYS.get(word[at].lower(), word[at])
    return word[:at] + rng.choice(near) + word[at + 1 :]


def _with_typo(parts: list[Part], rng: Random) -> list[Part]:
    places = [
        (index, match)
        for index, (text, protected) in enumerate(parts)
        if not protected
        for match in _WORD.finditer(text)
    ]
    if not places:
        return parts
    index, match = rng.choice(places)
    text = parts[index][0]
    changed = text[: match.start()] + _typo(match[0], rng) + text[match.end() :]
    return [*parts[:index], (changed, False), *parts[index + 1 :]]


def _place_first(groups: list[list[Part]], rng: Random) -> list[list[Part]] | None:
    """Move a last "in X" to the front, or give None where there is none."""
    filled = list(groups)
    while filled and not "".join(text for text, _ in filled[-1]).strip():
        filled.pop()
    if len(filled) < 2 or not filled[-1][0][0].startswith(_FRONT_WORDS):
        return None
    return [filled[-1], [(rng.choice([", ", " ", ", "]), False)], *filled[:-1]]


def _tidy(parts: list[Part]) -> list[Part]:
    """Drop double spaces and spaces before punctuation, but leave values as they are."""
    out: list[Part] = []
    ends_with_space = True
    for raw, protected in parts:
        text = raw
        if not protected:
            text = re.sub(r" +", " ", raw)
            text = text.lstrip(" ") if ends_with_space else text
            if text[:1] in {",", "?", "."} and out and out[-1][0].endswith(" ") and not out[-1][1]:
                out[-1] = (out[-1][0].rstrip(" "), False)
        if text:
            out.append((text, protected))
            ends_with_space = text.endswith(" ")
    return out


def _mood_frame(mood: str, rng: Random, banks: Banks) -> tuple[str, str]:
    """Give the words before and after a phrase."""
    chance = rng.random()
    if mood == "do":
        if chance < 0.42:
            return "", ""
        return _split(_bank(banks, "do_frame", rng))
    if mood == "np":
        if chance < 0.12:
            return "", ""
        return _split(_bank(banks, "np_frame", rng))
    if mood == "ask" and chance < 0.6:
        return "", "?"
    return "", ""


def _split(frame: str) -> tuple[str, str]:
    front, _, back = frame.partition("_")
    return front, back


def _case(parts: list[Part], rng: Random) -> list[Part]:
    chance = rng.random()
    if chance < 0.3:
        return [(text if protected else text.lower(), protected) for text, protected in parts]
    if chance < 0.62 and parts and not parts[0][1]:
        first = parts[0][0]
        return [(first[:1].upper() + first[1:], False), *parts[1:]]
    if chance < 0.635:
        return [(text if protected else text.upper(), protected) for text, protected in parts]
    return parts


def dress(groups: list[list[Part]], mood: str, rng: Random, banks: Banks) -> str:
    """Turn the groups of an expanded template into the text of a request."""
    moved = _place_first(groups, rng) if rng.random() < 0.12 else None
    front, back = _mood_frame(mood, rng, banks)
    core = groups
    if moved:
        core = [*moved[:2], [(front, False)], *moved[2:]]
        front = ""
    parts = [(front, False), *[part for group in core for part in group], (back, False)]
    chance = rng.random()
    if chance < 0.10:
        parts.insert(0, (_bank(banks, "opening", rng) + " ", False))
    elif chance < 0.16:
        parts.insert(0, (_bank(banks, "context", rng) + " ", False))
    if rng.random() < 0.12 and not back:
        parts.append((_bank(banks, "closing", rng), False))
    elif rng.random() < 0.2 and not back:
        parts.append((rng.choice([".", ".", "!", " ."]), False))
    parts = _case(_tidy(parts), rng)
    for _ in range(1 + (rng.random() < 0.2)):
        if rng.random() < 0.06:
            parts = _with_typo(parts, rng)
    return "".join(text for text, _ in parts).strip()
