"""What the Settings mode shows: every setting of the schema, and every key of the screen."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from luci_tui import paths
from luci_tui.errors import ConfigError
from luci_tui.setting_sources import PROFILE_VARIABLE, PROFILES, Kind, Reading
from luci_tui.settings import Settings, read_settings
from luci_tui.settings_file import checked_value
from luci_tui.settings_rows import NO_HOST, HostValues, SettingRow, setting_rows
from luci_tui.settings_schema import Setting, all_settings, toml_words
from luci_tui.toml_lines import has_value
from luci_tui.tui.key_actions import ACTIONS
from luci_tui.tui.keymap import make_keymap

KEYS = "keys"
"""The section in which each action of the screen may have other keys."""


@dataclass(frozen=True)
class Entry:
    """One setting, ready to be shown and changed."""

    key: str
    """As `luci config set` takes it."""
    title: str
    """As it is read best: the id of an action stands in quotes."""
    value: str
    """As TOML writes it; empty = it has none."""
    source: str
    """Where it is from, in words."""
    start: str
    """What stands in the line in which it is edited."""
    is_set: bool
    """It is not from the defaults."""
    is_stronger: bool
    """Something that no edit of the file changes has the last word: the environment."""
    is_in_target: bool
    """The file, or the profile that is edited, names it."""
    in_host: str
    """What the host goes by until it is restarted; empty = the same."""
    host_option: str
    type_words: str
    default: str
    meaning: str
    variable: str
    is_read_at_start: bool
    choices: tuple[str, ...] = ()
    """The values that it can have, where they are few."""

    @property
    def section(self) -> str:
        """Of the file."""
        return self.key.partition(".")[0]


@dataclass(frozen=True)
class Page:
    """Everything that the mode shows."""

    path: Path
    exists: bool
    entries: tuple[Entry, ...]
    mistakes: tuple[str, ...]
    """What of the sources cannot be used, one sentence each."""
    profile: str
    """The profile that counts here; empty = none."""
    profiles: tuple[str, ...]


def read_page(profile: str | None, host: HostValues = NO_HOST) -> Page:
    """Read the file and the environment; blocks for some milliseconds.

    Args:
        profile: What counts with this profile, "" = with none; None = with the one in use.
        host: What a host that runs goes by.
    """
    environment = paths.setting_variables()
    is_choice = profile is not None
    if profile is not None:
        environment[PROFILE_VARIABLE] = profile
    reading = read_settings(paths.luci_home(), environment)
    profile = environment.get(PROFILE_VARIABLE, "").strip()
    # A profile that was chosen here to be begun need not be there yet.
    mistakes = [
        one for one in reading.mistakes if not (is_choice and one.variable == PROFILE_VARIABLE)
    ]
    target = _target_of(reading, profile)
    entries = [_entry(row, target) for row in setting_rows(reading, host, _schema())]
    return Page(
        path=reading.path,
        exists=reading.path.exists(),
        entries=_with_all_keys(entries),
        mistakes=tuple(one.sentence for one in mistakes),
        profile=profile,
        profiles=reading.profiles,
    )


def stamp_of(path: Path) -> tuple[int, int, int]:
    """Return what changes when the file does."""
    try:
        facts = path.stat()
    except OSError:
        return (0, 0, 0)
    return (facts.st_ino, facts.st_size, facts.st_mtime_ns)


def check_words(key: str, words: str) -> None:
    """Refuse what the setting cannot be, as `luci config set` does.

    Raises:
        ConfigError: why.
    """
    checked_value(key, words)
    section, _, action = key.partition(".")
    if section == KEYS:
        _check_keys(action, words)


def check_profile(name: str) -> None:
    """Refuse a name that could not stand in a table's title, or be typed after --profile.

    Raises:
        ConfigError: it cannot be used.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        msg = f"A profile cannot be called {name[:80]!r}. Use letters, digits, - and _."
        raise ConfigError(msg)


def _check_keys(action: str, words: str) -> None:
    """Refuse keys that do something else where they would work."""
    known = read_settings(paths.luci_home()).settings.keys.model_dump()
    before = make_keymap(known).warnings
    fresh = [one for one in make_keymap({**known, action: words}).warnings if one not in before]
    if fresh:
        msg = f"{fresh[0]} Nothing was changed."
        raise ConfigError(msg)


@cache
def _schema() -> tuple[Setting, ...]:
    # It is the same in each process, and is read from the sources of the module.
    return tuple(all_settings())


def _target_of(reading: Reading[Settings], profile: str) -> Mapping[str, object]:
    """Give the tables that an edit would change; what cannot be read has none."""
    found: object = {}
    with suppress(tomllib.TOMLDecodeError, RecursionError):
        found = tomllib.loads(reading.text)
        if profile:
            found = found.get(PROFILES, {}).get(profile, {})
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _entry(row: SettingRow, target: Mapping[str, object]) -> Entry:
    one = row.setting
    value = toml_words(row.value)
    if one.section == KEYS:
        return _key_entry(one.name, str(row.value), row, target)
    return Entry(
        key=one.key,
        title=one.key,
        value=value,
        source=row.source.words(),
        start=row.value if isinstance(row.value, str) else value,
        is_set=row.source.kind is not Kind.DEFAULT,
        is_stronger=row.source.kind is Kind.ENVIRONMENT,
        is_in_target=_has(target, one.section, one.name),
        in_host=toml_words(row.in_host) or "none" if row.differs else "",
        host_option=row.host_option,
        type_words=one.type_words,
        default=toml_words(one.default) or "none",
        meaning=one.meaning,
        variable=one.variable,
        is_read_at_start=one.is_read_at_start,
        choices=_choices(one.type_words),
    )


def _key_entry(
    action_id: str, value: str, row: SettingRow | None, target: Mapping[str, object]
) -> Entry:
    action = next((one for one in ACTIONS if one.id == action_id), None)
    return Entry(
        key=f"{KEYS}.{action_id}",
        title=f"{KEYS}.{json.dumps(action_id)}",
        value=value,
        source="default" if row is None else row.source.words(),
        start=value,
        is_set=row is not None,
        is_stronger=False,
        is_in_target=_has(target, KEYS, action_id),
        in_host="",
        host_option="",
        type_words="keys, with commas between them, such as f8,ctrl+s",
        default=action.keys if action else "none",
        meaning=f"{action.label}: {action.help}" if action else "There is no such action.",
        variable="",
        is_read_at_start=False,
    )


def _with_all_keys(entries: list[Entry]) -> tuple[Entry, ...]:
    """Put the keys of all actions to the end, those that the file names in their place."""
    named = {one.key: one for one in entries if one.section == KEYS}
    others = [one for one in entries if one.section != KEYS]
    keys = [
        named.pop(f"{KEYS}.{one.id}", None) or _key_entry(one.id, one.keys, None, {})
        for one in ACTIONS
    ]
    return (*others, *named.values(), *keys)


def _has(target: Mapping[str, object], section: str, name: str) -> bool:
    return has_value(dict(target), (section, name))  # pyright: ignore[reportArgumentType]


def _choices(type_words: str) -> tuple[str, ...]:
    if type_words == "true or false":
        return ("true", "false")
    return tuple(re.findall(r"`([^`]*)`", type_words)) if type_words.startswith("one of") else ()


def filled(entry: Entry, choices: Sequence[str]) -> Entry:
    """Give a setting the values that only the screen knows."""
    return replace(entry, choices=tuple(choices))
