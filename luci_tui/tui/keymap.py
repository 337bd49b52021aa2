"""The keys of the screen: bindings of the actions, and what a person changed in config.toml.

A widget or a screen takes its bindings from here, so that help, footer, palette and config.toml
speak of the same actions, which are listed in `key_actions.py`. `[keys]` in config.toml gives an
action other keys:

    [keys]
    "jobs.cancel" = "k,delete"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual.binding import Binding

from luci_tui.tui.key_actions import ACTIONS, BY_ID


def binding(action_id: str, method: str) -> Binding:
    """Make the binding of an action.

    Args:
        action_id: Of `ACTIONS`.
        method: The action method without "action_", with its arguments.
    """
    action = BY_ID[action_id]
    return Binding(
        action.keys,
        method,
        action.label,
        id=action.id,
        tooltip=action.help,
        show=action.is_shown,
        priority=action.has_priority,
    )


@dataclass(frozen=True)
class KeyMap:
    """The keys as they are with what a person changed."""

    keys: Mapping[str, str]
    """Of each action, as in `KeyAction.keys`."""
    changed: Mapping[str, str]
    """Only those that differ from the default, as Textual's `set_keymap` wants them."""
    warnings: tuple[str, ...] = ()
    """One sentence for each wish that cannot be granted."""

    def of(self, action_id: str) -> tuple[str, ...]:
        """Return the keys of an action."""
        return tuple(self.keys[action_id].split(","))


def make_keymap(wishes: Mapping[str, str]) -> KeyMap:
    """Give the keys with a person's wishes; one that cannot be granted leaves the default."""
    warnings: list[str] = []
    keys = {action.id: action.keys for action in ACTIONS}
    wished: dict[str, str] = {}
    for action_id, wish in wishes.items():
        wanted = ",".join(key.strip() for key in wish.split(",") if key.strip())
        if action_id not in BY_ID:
            warnings.append(f'keys."{action_id}": there is no such action. F1 shows their names.')
        elif not wanted:
            warnings.append(
                f'keys."{action_id}" is empty; it stays on {words_of(keys[action_id])}.'
            )
        else:
            wished[action_id] = wanted
    keys |= wished
    while (clash := _first_clash(keys, wished)) is not None:
        action_id, key, other = clash
        warnings.append(
            f'keys."{action_id}": {words_of(key)} is "{other}" already; '
            f"it stays on {words_of(BY_ID[action_id].keys)}."
        )
        del wished[action_id]
        keys[action_id] = BY_ID[action_id].keys
    changed = {action_id: keys[action_id] for action_id in wished}
    return KeyMap(keys, changed, tuple(warnings))


def _first_clash(keys: Mapping[str, str], wished: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Find a wish whose key does something else where it works: (action, key, other action)."""
    for action_id in wished:
        for other in ACTIONS:
            if other.id == action_id or not _work_together(action_id, other.id):
                continue
            shared = set(keys[action_id].split(",")) & set(keys[other.id].split(","))
            if shared:
                return action_id, min(shared), other.id
    return None


def _work_together(one: str, other: str) -> bool:
    """Tell whether two actions can be asked for in one place."""
    places = {BY_ID[one].place, BY_ID[other].place}
    if len(places) == 1 or places & {"app", "mode"}:
        return True
    if places in ({"prompt", "chat"}, {"prompt", "columns"}, {"welcome", "chat"}):
        return True
    if places == {"parameters", "live"}:
        return False
    return bool(places & {"list", "live"}) and not places & {
        "prompt",
        "chat",
        "columns",
        "message",
        "welcome",
    }


_KEY_WORDS = {
    "slash": "/",
    "question_mark": "?",
    "escape": "Esc",
    "enter": "Enter",
    "space": "Space",
    "delete": "Del",
    "backspace": "Backspace",
    "pageup": "PageUp",
    "pagedown": "PageDown",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "plus": "+",
    "minus": "-",
    "comma": ",",
    "full_stop": ".",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}
_MODIFIERS = {"ctrl": "Ctrl", "alt": "Alt", "shift": "Shift"}


def words_of(keys: str) -> str:
    """Write keys as a person reads them: "ctrl+j,alt+enter" is "Ctrl-J, Alt-Enter"."""
    return ", ".join(_words_of_one(key) for key in keys.split(","))


def _words_of_one(key: str) -> str:
    *modifiers, name = key.split("+")
    if name in _KEY_WORDS:
        shown = _KEY_WORDS[name]
    elif len(name) == 1:
        # A letter with Ctrl is written large by custom; alone, its case is what counts.
        shown = name.upper() if modifiers else name
    else:
        shown = name.capitalize()
    return "-".join([*(_MODIFIERS.get(one, one.capitalize()) for one in modifiers), shown])
