"""`LUCI_HOME/library.toml`: what a person has set about models of the library.

    [model."llama3.2:latest"]
    enabled = true
    tier = 1
    aliases = ["small"]
    notes = "Answers in German as well."
    system = "You answer in one sentence."
    sampling = { temperature = 0.3 }

Everything in it is optional. It is written whole or not at all, one process at a time, and keeps
comments and the order of what stays.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from luci_tui import paths
from luci_tui.errors import ConfigError
from luci_tui.whole_file import locked, write_whole

if TYPE_CHECKING:
    from pydantic import JsonValue

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_ALIASES: Final = 20
MAX_NAME: Final = 200
MAX_NOTES: Final = 4000
MAX_SYSTEM: Final = 64_000
"""Characters of a system prompt."""
_KEY: Final = "model"
_RESERVED: Final = frozenset({"builtin"})


def _nothing() -> dict[str, JsonValue]:
    return {}


@dataclass(frozen=True)
class ModelSettings:
    """What a person has set about one model."""

    enabled: bool | None = None
    """None = as models of its kind are by themselves."""
    tier: int | None = None
    """None = as declared or computed."""
    aliases: tuple[str, ...] = ()
    notes: str = ""
    system: str = ""
    """System prompt of its chats; empty = as described elsewhere, or none."""
    sampling: Mapping[str, JsonValue] = field(default_factory=_nothing)
    """Fields of SamplingParams; the others are as described elsewhere."""


@dataclass(frozen=True)
class OwnSettings:
    """What library.toml says."""

    models: Mapping[str, ModelSettings] = field(default_factory=dict[str, ModelSettings])
    problems: tuple[str, ...] = ()
    """One sentence for each thing that cannot be used; the rest holds."""

    def of(self, name: str) -> ModelSettings:
        """Give what is set about a model; nothing, where nothing is."""
        return self.models.get(name, ModelSettings())


def read(path: Path) -> OwnSettings:
    """Read the file; one that is missing is empty, one that is broken says so in `problems`."""
    try:
        tables = _parse(path, _read_text(path)).get(_KEY, {})
    except ConfigError as error:
        return OwnSettings(problems=(error.message,))
    if not isinstance(tables, dict):
        return OwnSettings(problems=(f"{path}: {_KEY} must hold [model.NAME] tables. Correct it.",))
    models: dict[str, ModelSettings] = {}
    problems: list[str] = []
    for name, table in cast("dict[str, object]", tables).items():
        try:
            models[name] = _settings(table)
        except ValueError as error:
            problems.append(f'{path}: what is set about "{name[:100]}" is left out: {error}.')
    return OwnSettings(models, tuple(problems))


def set_enabled(name: str, enabled: bool, path: Path | None = None) -> None:
    """Note whether a model can be used by name.

    Args:
        name: Of the model in the library.
        enabled: Whether it can.
        path: The library.toml; None = the one in LUCI_HOME.

    Raises:
        ConfigError: the file is broken or cannot be written.
    """
    set_all_enabled([name], enabled, path)


def set_all_enabled(names: Iterable[str], enabled: bool, path: Path | None = None) -> None:
    """Note the same of several models; see `set_enabled`."""
    _change(path, {name: {"enabled": enabled} for name in names})


def set_tier(name: str, tier: int | None, path: Path | None = None) -> None:
    """Note the tier that a person gives a model; None = take it back. Raises as `set_enabled`."""
    _change(path, {name: {"tier": tier}})


def set_notes(name: str, notes: str, path: Path | None = None) -> None:
    """Note some words about a model; empty = take them back. Raises as `set_enabled`."""
    if len(notes) > MAX_NOTES:
        msg = f"The note has {len(notes)} characters; at most {MAX_NOTES} are kept. Shorten it."
        raise ConfigError(msg)
    _change(path, {name: {"notes": notes or None}})


def set_aliases(name: str, aliases: tuple[str, ...], path: Path | None = None) -> None:
    """Note the other names of a model, in place of those it had. Raises as `set_enabled`."""
    for alias in aliases:
        check_alias(alias)
    if len(aliases) > MAX_ALIASES:
        msg = f"{name} would have {len(aliases)} aliases; at most {MAX_ALIASES} are kept."
        raise ConfigError(msg)
    _change(path, {name: {"aliases": list(aliases) or None}})


def set_system(name: str, system: str, path: Path | None = None) -> None:
    """Note the system prompt of a model's chats; empty = take it back. Raises as `set_enabled`."""
    if len(system) > MAX_SYSTEM:
        msg = f"The system prompt has {len(system)} characters; at most {MAX_SYSTEM} are kept."
        raise ConfigError(f"{msg} Shorten it.")
    _change(path, {name: {"system": system or None}})


def set_sampling(name: str, values: Mapping[str, JsonValue], path: Path | None = None) -> None:
    """Note sampler parameters of a model; None = take it back. Raises as `set_enabled`.

    Args:
        name: Of the model, or its path.
        values: Fields of SamplingParams; those that are not named stay.
        path: The library.toml; None = the one in LUCI_HOME.
    """
    try:
        _check_sampling({key: one for key, one in values.items() if one is not None})
    except ValueError as error:
        msg = f"{str(error)[:1].upper()}{str(error)[1:]}. Nothing was changed."
        raise ConfigError(msg, code="parameter") from error
    _change(path, {name: {"sampling": values}})


def forget(name: str, path: Path | None = None) -> None:
    """Take out all that is set about a model. Raises as `set_enabled`."""
    _change(path, {name: None})


def check_alias(alias: str) -> None:
    """Refuse a name that a command could not tell from a path, or nobody could type.

    Raises:
        ConfigError: it cannot be used.
    """
    if not alias or not alias.isprintable() or alias != alias.strip() or len(alias) > MAX_NAME:
        msg = f"An alias cannot be {alias[:100]!r}. Give printable characters without outer spaces."
        raise ConfigError(msg)
    if "/" in alias or alias.startswith(("~", "-")) or alias.endswith(".gguf"):
        msg = f"The alias {alias[:100]!r} looks like a path or an option. Choose a plain name."
        raise ConfigError(msg)
    if alias in _RESERVED:
        msg = f"The name {alias} stands for luci's own model. Choose another alias."
        raise ConfigError(msg)


def _settings(table: object) -> ModelSettings:
    if not isinstance(table, dict):
        msg = "it is no table"
        raise ValueError(msg)
    values = cast("dict[str, object]", table)
    found = ModelSettings()
    for key, value in values.items():
        match key, value:
            case "enabled", bool():
                found = replace(found, enabled=value)
            case "tier", int() if 0 <= value <= 3 and not isinstance(value, bool):
                found = replace(found, tier=value)
            case "notes", str() if len(value) <= MAX_NOTES:
                found = replace(found, notes=value)
            case "aliases", list():
                found = replace(found, aliases=_aliases(cast("list[object]", value)))
            case "system", str() if len(value) <= MAX_SYSTEM:
                found = replace(found, system=value)
            case "sampling", dict():
                found = replace(found, sampling=_check_sampling(cast("dict[str, object]", value)))
            case "enabled" | "tier" | "notes" | "aliases" | "system" | "sampling", _:
                msg = f"{key} cannot be {str(value)[:80]!r}"
                raise ValueError(msg)
            case _:
                msg = f"{key[:80]!r} is not known here"
                raise ValueError(msg)
    return found


def _check_sampling(values: Mapping[str, object]) -> dict[str, JsonValue]:
    """Return the values as JSON has them; ValueError for what cannot be used."""
    # Few files have any, and the module takes a while to import.
    from pydantic import ValidationError

    from luci_tui.engine.frames import SamplingParams

    try:
        checked = SamplingParams.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])[:80]
        if first["type"] == "extra_forbidden":
            msg = f"sampling.{name} is not known here"
        else:
            msg = f"sampling.{name} cannot be {str(first['input'])[:80]!r} ({first['msg'].lower()})"
        raise ValueError(msg) from error
    found = checked.model_dump(mode="json", include=set(values))
    for name, value in found.items():
        # JSON, which carries them to the engine, has neither of the two.
        if isinstance(value, float) and not math.isfinite(value):
            msg = f"sampling.{name} cannot be {value}"
            raise ValueError(msg)
    return found


def _aliases(values: list[object]) -> tuple[str, ...]:
    for value in values[: MAX_ALIASES + 1]:
        if not isinstance(value, str):
            msg = "aliases must be a list of names"
            raise ValueError(msg)
        try:
            check_alias(value)
        except ConfigError as error:
            raise ValueError(error.message.rstrip(".")) from error
    if len(values) > MAX_ALIASES:
        msg = f"it has more than {MAX_ALIASES} aliases"
        raise ValueError(msg)
    return tuple(cast("list[str]", values))


def _change(path: Path | None, changes: Mapping[str, Mapping[str, object] | None]) -> None:
    """Set the given keys of models; a value of None takes a key away, None the whole model."""
    # Only who writes needs it, and it takes a while to import.
    import tomlkit

    path = path or paths.library_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            text = _read_text(path)
            if not isinstance(_parse(path, text).get(_KEY, {}), dict):
                msg = f"{path}: {_KEY} must hold [model.NAME] tables. Correct it."
                raise ConfigError(msg)
            document = tomlkit.parse(text)
            if _KEY not in document:
                document.add(_KEY, tomlkit.table(is_super_table=True))
            tables = cast("dict[str, Any]", document[_KEY])
            for name, values in changes.items():
                _change_one(tables, name, values)
            write_whole(path, tomlkit.dumps(document))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}). Check its folder and the disk."
        ) from error


def _change_one(tables: dict[str, Any], name: str, values: Mapping[str, object] | None) -> None:
    if values is None:
        tables.pop(name, None)
        return
    if not isinstance(tables.get(name), dict):
        tables[name] = {}
    table: dict[str, object] = tables[name]
    for key, value in values.items():
        if value is None:
            table.pop(key, None)
        elif isinstance(value, Mapping):
            _change_one(table, key, cast("Mapping[str, object]", value))
        else:
            table[key] = value
    if not table:
        del tables[name]


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}), so nothing in it holds. "
            "Check its permissions."
        ) from error
    try:
        if len(data) <= MAX_FILE_BYTES:
            return data.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"{path} is no UTF-8, so nothing in it holds. Save it as UTF-8."
        raise ConfigError(msg) from error
    msg = f"{path} is larger than {MAX_FILE_BYTES // 1024**2} MiB, so nothing in it holds."
    raise ConfigError(f"{msg} Shorten it.")


def _parse(path: Path, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{path} is no valid TOML, so nothing in it holds: {str(error).lower()}. Correct it."
        ) from error
