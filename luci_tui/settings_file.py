"""Change `config.toml`: one setting at a time or the whole text, and never into a broken file."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import Any, cast

from pydantic import JsonValue, ValidationError

from luci_tui.errors import ConfigError
from luci_tui.setting_sources import (
    PROFILES,
    Mistake,
    Reading,
    read_text,
    sections_of,
    value_from_words,
)
from luci_tui.settings import SETTINGS_FILE, Settings, read_settings
from luci_tui.settings_schema import all_settings, plain_value
from luci_tui.toml_lines import lines_of
from luci_tui.whole_file import locked, write_whole

_Data = dict[str, JsonValue]


def check(home: Path, text: str) -> Reading[Settings]:
    """Read a text as if it were the file, without the environment."""
    return read_settings(home, {}, text=text)


def place_of(key: str) -> tuple[str, ...]:
    """Split a key, `section.name` or `profile.NAME.section.name`, into its parts.

    Raises:
        ConfigError: there is no such setting.
    """
    parts = tuple(key.split("."))
    section, _, name = ".".join(parts[2:] if parts[0] == PROFILES else parts).partition(".")
    is_known = any((section, name) == (one.section, one.name) for one in all_settings())
    takes_any = section in (found := sections_of(Settings)) and (
        found[section].model_config.get("extra") == "allow"
    )
    if not (is_known or (takes_any and name)) or (parts[0] == PROFILES and not parts[1]):
        raise no_such(key)
    start = parts[:2] if parts[0] == PROFILES else ()
    return (*start, section, name)


def no_such(key: str) -> ConfigError:
    """Return the refusal of a key."""
    import difflib

    known = [one.key for one in all_settings()]
    # Who writes the name alone means the one that is called so.
    same = [one for one in known if one.partition(".")[2] == key]
    near = same or difflib.get_close_matches(key, known, n=1)
    advice = f"Did you mean {near[0]}?" if near else "`luci config show` lists all of them."
    return ConfigError(f"There is no setting {key!r}. {advice}", code="settings")


def set_value(home: Path, key: str, words: str) -> JsonValue:
    """Write one setting into the file and return its value; the rest of the text stays.

    Raises:
        ConfigError: there is no such setting, it cannot have this value, the file is broken or
            cannot be written.
    """
    value = checked_value(key, words)
    _change(home, place_of(key), value)
    return value


def checked_value(key: str, words: str) -> JsonValue:
    """Read words as the value of a setting, as it would be written.

    Raises:
        ConfigError: there is no such setting, or it cannot have this value.
    """
    section, name = place_of(key)[-2:]
    model = sections_of(Settings)[section]
    known = name in model.model_fields
    value = value_from_words(model, name, words) if known else words
    try:
        checked = model.model_validate({name: value})
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        said = f"{said[:1].lower()}{said[1:]}"
        msg = f"{key} cannot be {words[:80]!r} ({said}). Nothing was changed."
        raise ConfigError(msg, code="settings") from error
    if isinstance(value, str) and known:
        value = plain_value(getattr(checked, name))  # "yes" is written as true
    return value


def unset_value(home: Path, key: str) -> bool:
    """Take one setting out of the file; False = it is not there.

    Raises:
        ConfigError: there is no such setting, the file is broken or cannot be written.
    """
    return _change(home, place_of(key), None)


def replace_text(home: Path, old: str, new: str) -> bool:
    """Put another text in the place of the whole file; False = it is not `old` any more.

    Raises:
        ConfigError: it cannot be written.
    """
    path = home / SETTINGS_FILE
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path):
            if read_text(path) != old:
                return False
            write_whole(path, new)
            return True
    except OSError as error:
        raise _unwritable(path, error) from error


def _change(home: Path, place: tuple[str, ...], value: JsonValue) -> bool:
    """Set the value at a place of the file, or take it out if it is None."""
    path = home / SETTINGS_FILE
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path):
            old = read_text(path)
            before = check(home, old)
            data = _parse(path, old)
            wanted = copy.deepcopy(data)
            if not _put(wanted, place, value):
                return False
            new = _edited(old, place, value, wanted)
            _refuse_new(before, check(home, new))
            write_whole(path, new)
            return True
    except OSError as error:
        raise _unwritable(path, error) from error


def _parse(path: Path, text: str) -> _Data:
    try:
        return cast("_Data", tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        msg = f"{path} is no valid TOML: {error}. Correct that line with `luci config edit`."
        raise ConfigError(msg, code="settings") from error


def _put(data: _Data, place: tuple[str, ...], value: JsonValue) -> bool:
    """Do the change to plain data; False = there is nothing to take out."""
    table = data
    for part in place[:-1]:
        if value is None and part not in table:
            return False
        found = table.setdefault(part, {})
        if not isinstance(found, dict):
            msg = f"{part} is no table in the file. Correct that with `luci config edit`."
            raise ConfigError(msg, code="settings")
        table = found
    if value is None:
        return table.pop(place[-1], None) is not None
    table[place[-1]] = value
    return True


def _edited(text: str, place: tuple[str, ...], value: JsonValue, wanted: _Data) -> str:
    """Do the change to the text, so that it says what is wanted.

    A new line goes below the last one of its section, a new section to the end. tomlkit does what
    is left, but would put lines below comments that belong to the next section.

    Raises:
        ConfigError: no such change is known.
    """
    # Only who writes needs it, and it takes a while to import.
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    if value is not None:
        for new in _with_line(text, place, value):
            if _says(new, wanted):
                return new
    try:
        document = tomlkit.parse(text)
        table = cast("Any", document)
        for part in place[:-1]:
            table = table.setdefault(part, tomlkit.table())
        if value is None:
            del table[place[-1]]
        else:
            table[place[-1]] = value
        new = tomlkit.dumps(document)
    except TOMLKitError:
        new = ""
    if _says(new, wanted):
        return new
    msg = f"{SETTINGS_FILE} is written in a way that only `luci config edit` can change."
    raise ConfigError(msg, code="settings")


def _with_line(text: str, place: tuple[str, ...], value: JsonValue) -> list[str]:
    """Give the texts that may be right: with one line more in its section, or with a section."""
    import tomlkit

    if isinstance(value, dict):
        return []
    end = "\r\n" if "\r\n" in text else "\n"
    line = f"{_toml_key(place[-1])} = {tomlkit.item(value).as_string()}{end}"
    table = tomllib.loads(text)
    for part in place[:-1]:
        table = table.get(part, {})
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    header = f"[{'.'.join(map(_toml_key, place[:-1]))}]{end}"
    if place[-1] in table:
        return []
    if not table:
        # A header may stand there already, without a line below it.
        bare = [n for n, one in enumerate(lines, 1) if one.split("#")[0].strip() == header.strip()]
        inside = ["".join([*lines[:n], line, *lines[n:]]) for n in bare]
        gap = [end] if lines and lines[-1].strip() else []
        return [*inside, "".join([*lines, *gap, header, line])]
    last = max(lines_of(text, (*place[:-1], name))[1] for name in table)
    return ["".join([*lines[:last], line, *lines[last:]])]


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _says(text: str, wanted: _Data) -> bool:
    """Say whether a text holds the wanted data; empty tables count as well."""
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _refuse_new(before: Reading[Settings], after: Reading[Settings]) -> None:
    """Refuse a change that brings a mistake; those that were there do not keep others away."""
    known = {(one.key, one.why) for one in before.mistakes}
    fresh: list[Mistake] = [one for one in after.mistakes if (one.key, one.why) not in known]
    if fresh:
        msg = f"{fresh[0].why[:1].upper()}{fresh[0].why[1:]}. Nothing was changed."
        raise ConfigError(msg, code="settings")


def _unwritable(path: Path, error: OSError) -> ConfigError:
    msg = f"{path} cannot be written ({error.strerror}). Check its folder and the disk."
    return ConfigError(msg, code="settings")
