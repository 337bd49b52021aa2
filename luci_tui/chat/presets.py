"""Presets: a system prompt and parameters under a name, and panels of several of them.

Some come with luci (presets.toml beside this module), a person's own stand in LUCI_HOME:

    [preset.terse]
    title = "Terse"
    about = "One sentence, no more."
    system = "Answer in one sentence."
    sampling = { temperature = 0.2 }

    [panel.mine]
    presets = ["terse", "newton"]

Everything that cannot be used is left out and told with its line; the rest holds.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar, cast

from pydantic import Field, JsonValue, ValidationError

from luci_tui import paths
from luci_tui.chat.records import Record
from luci_tui.engine.frames import SamplingParams
from luci_tui.errors import ConfigError
from luci_tui.setting_sources import read_text
from luci_tui.toml_lines import Place, line_of

SHIPPED: Final = Path(__file__).with_name("presets.toml")
MAX_SYSTEM_CHARACTERS: Final = 64_000
MAX_PANEL: Final = 16
"""Most presets of one panel: each is an answer that somebody waits for."""
_PRESET, _PANEL = "preset", "panel"
_NAME = re.compile(r"\w[\w.-]{0,63}")

R = TypeVar("R", bound=Record)


class Preset(Record):
    """A way to ask a model."""

    name: str
    title: str = Field(default="", max_length=60)
    """For a person; empty = its name."""
    about: str = Field(default="", max_length=200)
    """One sentence."""
    system: str = Field(default="", max_length=MAX_SYSTEM_CHARACTERS)
    """System prompt; empty = it changes none."""
    sampling: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    """Fields of SamplingParams; the others stay as they are."""
    is_perspective: bool = False
    """It is one view among several, and stands in the list for panels."""
    is_own: bool = False
    """A person wrote it."""

    @property
    def words(self) -> str:
        """What a person reads."""
        return self.title or self.name


class Panel(Record):
    """Presets that are asked together."""

    name: str
    title: str = Field(default="", max_length=60)
    presets: tuple[str, ...] = Field(min_length=2, max_length=MAX_PANEL)
    """Their names, in the order in which they are asked."""
    is_own: bool = False

    @property
    def words(self) -> str:
        """What a person reads."""
        return self.title or self.name


@dataclass(frozen=True)
class Presets:
    """All that can be chosen, by name: a person's own first."""

    presets: Mapping[str, Preset] = field(default_factory=dict[str, Preset])
    panels: Mapping[str, Panel] = field(default_factory=dict[str, Panel])
    problems: tuple[str, ...] = ()
    """One sentence for each thing that was left out."""

    @property
    def perspectives(self) -> tuple[Preset, ...]:
        """The presets that stand in the list for panels."""
        return tuple(one for one in self.presets.values() if one.is_perspective)

    def find(self, name: str) -> Preset:
        """Return a preset by its name or title, however it is written.

        Raises:
            ConfigError: there is none.
        """
        wanted = name.strip().casefold()
        for one in self.presets.values():
            if wanted in (one.name.casefold(), one.title.casefold()):
                return one
        known = ", ".join(self.presets)
        msg = f'There is no preset "{name[:80]}". There are: {known}.'
        raise ConfigError(msg, code="preset_unknown")


def read_presets(own: Path | None = None) -> Presets:
    """Read what ships with luci and what a person has written.

    Args:
        own: The person's file; None = the one in LUCI_HOME. It need not exist.
    """
    shipped = _File(SHIPPED, is_own=False)
    written = _File(own or paths.presets_file(), is_own=True)
    presets = written.presets | {
        name: one for name, one in shipped.presets.items() if name not in written.presets
    }
    panels: dict[str, Panel] = {}
    problems = [*shipped.problems, *written.problems]
    for one in (written, shipped):
        for name, panel in one.panels.items():
            missing = [member for member in panel.presets if member not in presets]
            if missing:
                why = f'there is no preset "{missing[0][:80]}"'
                problems.append(one.complaint((_PANEL, name, "presets"), why))
            else:
                panels.setdefault(name, panel)
    return Presets(presets, panels, tuple(problems))


class _File:
    """One file as it was read."""

    def __init__(self, path: Path, *, is_own: bool) -> None:
        self._path = path
        self._is_own = is_own
        self._text = ""
        self.problems: list[str] = []
        self.presets: dict[str, Preset] = {}
        self.panels: dict[str, Panel] = {}
        for key, value in self._parse().items():
            if key not in (_PRESET, _PANEL) or not isinstance(value, dict):
                advice = f"write [{_PRESET}.NAME] or [{_PANEL}.NAME]"
                why = f"{key[:80]} is not known here, {advice}"
                self.problems.append(self.complaint((key,), why))
                continue
            for name, table in value.items():
                if key == _PRESET and (preset := self._read(Preset, key, name, table)):
                    self.presets[name] = preset
                elif key == _PANEL and (panel := self._read(Panel, key, name, table)):
                    self.panels[name] = panel

    def complaint(self, place: Place, why: str) -> str:
        """Say what is wrong and on which line."""
        what = f'{place[0]} "{str(place[1])[:80]}" is left out, because ' if len(place) > 1 else ""
        return f"{self._path}, line {line_of(self._text, place)}: {what}{why}. Correct it."

    def _parse(self) -> dict[str, JsonValue]:
        try:
            self._text = read_text(self._path)
            return cast("dict[str, JsonValue]", tomllib.loads(self._text))
        except ConfigError as error:
            self.problems.append(error.message)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            found = re.search(r"at line (\d+)", str(error))
            line = found[1] if found else self._text.count("\n") + 1
            self.problems.append(
                f"{self._path}, line {line}: this is no valid TOML ({error}), so none of its "
                "presets can be used. Correct that line."
            )
        return {}

    def _read(self, model: type[R], key: str, name: str, table: JsonValue) -> R | None:
        """Check one table; None = it cannot be used, and `problems` says why."""
        place: Place = (key, name)
        if not _NAME.fullmatch(name):
            why = "a name has letters, digits, _ - and . alone, at most 64 of them"
            self.problems.append(self.complaint(place, why))
            return None
        given = (
            {**table, "name": name, "is_own": self._is_own} if isinstance(table, dict) else table
        )
        try:
            found = model.model_validate(given)
        except ValidationError as error:
            self.problems.append(self._fault(place, error))
            return None
        if isinstance(found, Preset):
            try:
                SamplingParams.model_validate(found.sampling)
            except ValidationError as error:
                self.problems.append(self._fault((*place, "sampling"), error))
                return None
        return found

    def _fault(self, place: Place, error: ValidationError) -> str:
        first = error.errors(include_url=False)[0]
        whole = (*place, *first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = "is not known here"
        elif first["type"] == "missing":
            message = "is missing"
        name = ".".join(str(part) for part in whole[2:])[:100]
        return self.complaint(whole, f"{name} {message[:1].lower()}{message[1:]}".strip())
