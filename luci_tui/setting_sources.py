"""Where settings come from: defaults, a TOML file, a profile in it, variables of the environment.

Each of these comes before the one named ahead of it, and options of commands come before all. What
cannot be used is left out and told as a mistake, so that the caller decides whether to go on with
the rest. The sections and their fields are those of a Pydantic model; settings.py has ours.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, JsonValue, ValidationError

from luci_tui.errors import ConfigError
from luci_tui.toml_lines import line_of

PREFIX = "LUCI_"
PROFILE_VARIABLE = "LUCI_PROFILE"
PROFILES = "profile"
"""The table of the file whose tables are the profiles: `[profile.NAME.SECTION]`."""
MAX_FILE_BYTES = 4 * 1024 * 1024
"""A longer file is not one that a person wrote."""

S = TypeVar("S", bound=BaseModel)
_Table = dict[str, JsonValue]


class Kind(StrEnum):
    """The sources, the weakest first."""

    DEFAULT = "default"
    FILE = "file"
    PROFILE = "profile"
    ENVIRONMENT = "environment"


@dataclass(frozen=True)
class Source:
    """Where one value is from."""

    kind: Kind
    path: str = ""
    line: int = 0
    """Of the file; 0 = it is not from there."""
    profile: str = ""
    variable: str = ""

    def words(self) -> str:
        """Say it in a few words."""
        match self.kind:
            case Kind.DEFAULT:
                return "default"
            case Kind.FILE:
                return f"{Path(self.path).name}:{self.line}"
            case Kind.PROFILE:
                return f"profile {self.profile}, {Path(self.path).name}:{self.line}"
            case Kind.ENVIRONMENT:
                return self.variable


@dataclass(frozen=True)
class Mistake:
    """One thing in a source that cannot be used."""

    sentence: str
    """What is wrong, where, and what to do."""
    key: str = ""
    """The setting, in dots; "" = the file as a whole."""
    line: int = 0
    """Of the file; 0 = not known, or not in the file."""
    variable: str = ""
    """Of the environment, where the mistake is there."""
    why: str = ""
    """What is wrong, without where: the same before and after a change elsewhere in the file."""


@dataclass(frozen=True)
class Reading(Generic[S]):
    """What all sources together say."""

    settings: S
    path: Path
    text: str
    """Of the file; "" = there is none, or it cannot be read."""
    profile: str
    """The one that is used; "" = none."""
    profiles: tuple[str, ...]
    """Those that the file has."""
    mistakes: tuple[Mistake, ...]
    """Each was left out: the next weaker source has its place."""
    _from: Mapping[str, Source] = field(default_factory=dict[str, Source], repr=False)

    def source_of(self, key: str) -> Source:
        """Say where the value of a setting is from."""
        source = self._from.get(key, Source(Kind.DEFAULT))
        if not source.path:
            return source
        place = (PROFILES, source.profile) if source.profile else ()
        line = line_of(self.text, (*place, *key.split(".", 1)))
        return Source(source.kind, source.path, line, source.profile)

    def usable(self) -> S:
        """Return the settings if nothing had to be left out.

        Raises:
            ConfigError: something had to be; the message is the first mistake.
        """
        if self.mistakes:
            raise ConfigError(self.mistakes[0].sentence, code="settings")
        return self.settings


def sections_of(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the sections of a model of settings: its fields are models themselves."""
    return {
        name: cast("type[BaseModel]", one.annotation) for name, one in model.model_fields.items()
    }


def variable_of(section: str, name: str) -> str:
    """Return the variable that sets a setting."""
    return f"{PREFIX}{section}_{name}".upper()


def value_from_words(section: type[BaseModel], name: str, words: str) -> JsonValue:
    """Read one value as it stands in a variable or on a command line.

    Texts are taken as they are. Lists are TOML, or their entries with commas in between. Numbers
    and truth values are TOML; other words for them are left to the model.
    """
    kinds = _kinds_of(section, name)
    if kinds & {"array", "object"}:
        found = _as_toml(words)
        if isinstance(found, list | dict):
            return found
        return [part.strip() for part in words.split(",") if part.strip()]
    if "string" in kinds:
        return words
    found = _as_toml(words)
    return found if isinstance(found, int | float) else words


def read_text(path: Path) -> str:
    """Return the text of the file; "" = there is none.

    Raises:
        ConfigError: it cannot be read as text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            msg = f"{path} is larger than {MAX_FILE_BYTES // 1024**2} MiB. Shorten it."
            raise ConfigError(msg, code="settings")
        return data.decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as text ({error}). Correct it or take it away."
        raise ConfigError(msg, code="settings") from error


def read_sources(
    model: type[S], path: Path, environment: Mapping[str, str], text: str | None = None
) -> Reading[S]:
    """Read what the file at `path` and the environment say.

    Args:
        model: The sections, each a model with a default for every field.
        path: The file; one that is not there says nothing.
        environment: Variables; those that name no section are passed over.
        text: What counts as the content of the file; None = what it holds.
    """
    gathered = _Gathered(model, path)
    data = gathered.read_file(text)
    found = data.pop(PROFILES, {})
    if isinstance(found, dict):
        profiles = found
    else:
        profiles = _Table()
        gathered.complain((PROFILES,), f"{PROFILES} must be a table", "Write [profile.NAME.host].")
    profile = environment.get(PROFILE_VARIABLE, "").strip()
    gathered.take(data, Source(Kind.FILE, str(path)))
    for name, table in profiles.items():
        source = Source(Kind.PROFILE, str(path), profile=name)
        if isinstance(table, dict):
            gathered.take(table, source, is_used=name == profile)
        else:
            msg = "Write [profile.NAME.host] above its settings."
            gathered.complain((PROFILES, name), f"{_dotted((PROFILES, name))} must be a table", msg)
    if profile and profile not in profiles and not gathered.is_unreadable:
        gathered.miss_profile(profile, list(profiles))
    gathered.take_environment(environment)
    return Reading(
        settings=gathered.settings(),
        path=path,
        text=gathered.text,
        profile=profile if profile in profiles else "",
        profiles=tuple(profiles),
        mistakes=tuple(gathered.mistakes),
        _from=gathered.sources,
    )


class _Gathered(Generic[S]):
    """Values as they come, each from the strongest source that has a usable one."""

    def __init__(self, model: type[S], path: Path) -> None:
        self._model = model
        self._sections = sections_of(model)
        self._path = path
        self._values: dict[str, _Table] = {}
        self.text = ""
        self.is_unreadable = False
        """Nothing can be said about what the file holds."""
        self.sources: dict[str, Source] = {}
        self.mistakes: list[Mistake] = []

    def read_file(self, text: str | None) -> _Table:
        try:
            self.text = read_text(self._path) if text is None else text
            return cast("_Table", tomllib.loads(self.text))
        except ConfigError as error:
            self.mistakes.append(Mistake(error.message, why=error.message))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            found = re.search(r"at line (\d+)", str(error))
            sentence = f"{self._path} is no valid TOML: {error}. Correct that line."
            line = int(found[1]) if found else self.text.count("\n") + 1
            self.mistakes.append(Mistake(sentence, line=line, why=str(error)))
        self.is_unreadable = True
        return {}

    def take(self, table: _Table, source: Source, *, is_used: bool = True) -> None:
        """Take a file's or a profile's values; those of a profile in no use are only checked."""
        start = (PROFILES, source.profile) if source.profile else ()
        for section, values in table.items():
            place = (*start, section)
            if section not in self._sections:
                self._no_such(place, self._sections)
            elif not isinstance(values, dict):
                advice = f"Write [{_dotted(place)}] above its settings."
                self.complain(place, f"{_dotted(place)} cannot be {_shown(values)}", advice)
            else:
                for name, value in values.items():
                    self._take_value((*place, name), value, source, is_used=is_used)

    def take_environment(self, environment: Mapping[str, str]) -> None:
        for variable, words in sorted(environment.items()):
            named = self._named_by(variable)
            if named is None or not words.strip():
                continue
            section, name = named
            model = self._sections[section]
            if name not in model.model_fields:
                near = _near(name, model.model_fields)
                msg = f"there is no setting {section}.{name}"
                why = f"{variable}: {msg}"
                sentence = f"{why}. Unset the variable or correct its name.{near}"
                self._add(Mistake(sentence, f"{section}.{name}", variable=variable, why=msg))
                continue
            value = value_from_words(model, name, words.strip())
            source = Source(Kind.ENVIRONMENT, variable=variable)
            self._take_value((section, name), value, source, is_used=True)

    def miss_profile(self, name: str, known: list[str]) -> None:
        has = f"it has {', '.join(map(_part, known))}" if known else "it has none"
        sentence = (
            f'There is no profile "{name}" in {self._path}, which {PROFILE_VARIABLE} or --profile '
            f"names ({has}). Choose another one, or write [profile.{name}.host] there."
        )
        self._add(Mistake(sentence, variable=PROFILE_VARIABLE, why=sentence))

    def complain(self, place: tuple[str, ...], why: str, advice: str) -> None:
        line = line_of(self.text, place)
        sentence = f"{self._path}, line {line}: {why}. {advice}"
        self._add(Mistake(sentence, _dotted(place), line, why=why))

    def settings(self) -> S:
        """Check the values together; a section whose values do not fit goes without them."""
        while True:
            try:
                return self._model.model_validate(self._values)
            except ValidationError as error:
                detail = error.errors()[0]
                section = str(detail["loc"][0])
                del self._values[section]
                self.sources = {
                    key: one for key, one in self.sources.items() if key.split(".")[0] != section
                }
                why = f"[{section}] cannot be used ({_message(detail['msg'])})"
                sentence = f"{self._path}: {why}. Correct its values."
                self._add(Mistake(sentence, section, why=why))

    def _take_value(
        self, place: tuple[str, ...], value: JsonValue, source: Source, *, is_used: bool
    ) -> None:
        section, name = place[-2:]
        model = self._sections[section]
        if name not in model.model_fields and model.model_config.get("extra") != "allow":
            self._no_such(place, model.model_fields)
            return
        try:
            model.model_validate({name: value})
        except ValidationError as error:
            detail = error.errors()[0]
            where = [str(part) for part in detail["loc"]] or [name]
            dotted = _dotted((*place[:-1], *where))
            why = f"{dotted} cannot be {_shown(detail['input'])} ({_message(detail['msg'])})"
            if source.variable:
                sentence = f"{source.variable}: {why}. Correct or unset the variable."
                self._add(Mistake(sentence, dotted, variable=source.variable, why=why))
            else:
                self.complain((*place[:-1], *where), why, "Correct the value.")
            return
        if is_used:
            self._values.setdefault(section, {})[name] = value
            self.sources[f"{section}.{name}"] = source

    def _named_by(self, variable: str) -> tuple[str, str] | None:
        """Give section and field of a variable; the field need not be one. None = not ours."""
        if not variable.startswith(PREFIX) or variable != variable.upper():
            return None
        rest = variable.removeprefix(PREFIX).lower()
        cut = [
            (section, rest.removeprefix(f"{section}_"))
            for section in self._sections
            if rest.startswith(f"{section}_")
        ]
        known = [one for one in cut if one[1] in self._sections[one[0]].model_fields]
        return next(iter(known or cut), None)

    def _no_such(self, place: tuple[str, ...], known: Iterable[str]) -> None:
        why = f"there is no setting {_dotted(place)}"
        near = _near(place[-1], known)
        self.complain(place, why, f"Take the line out or correct the name.{near}")

    def _add(self, mistake: Mistake) -> None:
        self.mistakes.append(mistake)


def _kinds_of(section: type[BaseModel], name: str) -> set[str]:
    """Give the JSON types that a field takes."""
    schema = section.model_json_schema()
    return _kinds_in(schema["properties"][name], schema)


def _kinds_in(part: Mapping[str, Any], schema: Mapping[str, Any]) -> set[str]:
    if "$ref" in part:
        target: Any = schema
        for step in str(part["$ref"]).removeprefix("#/").split("/"):
            target = target[step]
        return _kinds_in(target, schema)
    several = [*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())]
    kinds = set[str]().union(*(_kinds_in(one, schema) for one in several))
    return kinds | ({str(part["type"])} if "type" in part else set())


def _as_toml(words: str) -> JsonValue:
    """Read words as a TOML value; None = they are none."""
    try:
        found = tomllib.loads(f"value = {words}\n")
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    return found["value"] if list(found) == ["value"] else None


def _dotted(place: Iterable[str]) -> str:
    return ".".join(map(_part, place))


def _part(name: str) -> str:
    """Write a key so that it stays within its line."""
    return name if name and name.isprintable() else json.dumps(name)


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]}?" if found else ""


def _shown(value: object) -> str:
    return repr(value)[:80]


def _message(text: str) -> str:
    text = text.removeprefix("Value error, ")
    return f"{text[:1].lower()}{text[1:]}"
