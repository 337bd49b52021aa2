"""What settings there are: as facts, as JSON Schema, as a page of docs, as a file to begin with.

All of it is made from the models in settings.py and the docstrings in them. Pydantic could read
those as well, but at every import, which would cost each command and the host's start 10 ms.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from pydantic import BaseModel, JsonValue

from luci_tui.setting_sources import PROFILES, sections_of, variable_of
from luci_tui.settings import Settings

DRAFT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Setting:
    """What there is to know about one setting."""

    section: str
    name: str
    type_words: str
    """Its type and bounds, for a person."""
    default: JsonValue
    """None = it has no value unless somebody sets it."""
    meaning: str
    """"" = this installation has no sources to read it from."""
    is_read_at_start: bool
    """A host that runs keeps the value that it started with."""

    @property
    def key(self) -> str:
        """Section and name, as commands take them."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The variable of the environment that sets it."""
        return variable_of(self.section, self.name)


def all_settings(model: type[BaseModel] = Settings) -> list[Setting]:
    """Return every setting, in the order in which they are written down."""
    return [one for name, section in sections_of(model).items() for one in _of(name, section)]


def free_settings(settings: BaseModel) -> list[Setting]:
    """Return the settings of sections that take any name, as far as they are set."""
    return [
        Setting(
            section=name,
            name=free,
            type_words="text",
            default=None,
            meaning="",
            is_read_at_start=bool(getattr(section, "is_read_at_start", True)),
        )
        for name, section in settings
        for free in cast("BaseModel", section).model_extra or {}
    ]


def section_meaning(section: type[BaseModel]) -> str:
    """Return what a section is about, without its name."""
    return " ".join((section.__doc__ or "").split()).partition(": ")[2]


def json_schema(model: type[BaseModel] = Settings) -> dict[str, Any]:
    """Return a JSON Schema of the file, as editors and checkers of TOML take it."""
    schema = model.model_json_schema()
    for name, section in sections_of(model).items():
        reference = str(schema["properties"][name].get("$ref", ""))
        target = schema["$defs"].get(reference.rpartition("/")[2], schema["properties"][name])
        meanings = _docstrings(section)
        for field, part in target.get("properties", {}).items():
            part["description"] = meanings.get(field, "")
    schema["properties"][PROFILES] = {
        "type": "object",
        "description": "Profiles: settings that count when LUCI_PROFILE or --profile names them.",
        "additionalProperties": {
            "type": "object",
            "properties": dict(schema["properties"]),
            "additionalProperties": False,
        },
    }
    return {"$schema": DRAFT, **schema, "title": "luci's config.toml"}


def beginning(model: type[BaseModel] = Settings) -> str:
    """Return a file with every setting as a comment, for somebody who has none yet."""
    lines = [
        "# Settings of luci. Every line is a default; take the # away and change it.",
        "# `luci config show` says what counts, `luci config schema` prints a schema for editors.",
    ]
    for name, section in sections_of(model).items():
        lines += ["", f"# {_sentence(section_meaning(section))}".rstrip(), f"[{name}]"]
        for one in _of(name, section):
            lines += [f"# {line}" for line in textwrap.wrap(one.meaning, 96)]
            lines.append(f"# {one.name} = {toml_words(one.default) or '...'}")
    return "\n".join(lines) + "\n"


def toml_words(value: JsonValue) -> str:
    """Write a value as TOML does; "" = there is none."""
    match value:
        case None:
            return ""
        case float() if value.is_integer():
            return f"{value:.0f}"
        case dict():
            pairs = (f"{json.dumps(key)} = {toml_words(one)}" for key, one in value.items())
            return f"{{ {', '.join(pairs)} }}" if value else "{}"
        case list():
            return f"[{', '.join(toml_words(one) for one in value)}]"
        case bool() | str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def plain_value(value: object) -> JsonValue:
    """Return a value of a setting as JSON has it."""
    if isinstance(value, BaseModel):
        return cast("JsonValue", value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {str(key): plain_value(one) for key, one in pairs}
    if isinstance(value, tuple | list | set | frozenset):
        return [plain_value(one) for one in cast("tuple[object, ...]", value)]
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return str(value)


PAGE_HEADER = """\
# Settings

`config.toml` in the home folder (`LUCI_HOME`, without it `~/.luciferai`); all of it is optional.

```sh
luci config show                       # every value, where it is from, what it means
luci config set host.max_jobs 4        # comments and the order of the file stay
luci config unset host.max_jobs
luci config edit                       # in $VISUAL or $EDITOR, checked before it replaces the file
luci config validate                   # all mistakes with their lines; exit code 1 if there is one
luci config schema > schema.json       # for editors that check TOML
```

What counts is the last of these that names a setting:

1. the default,
2. the file,
3. a profile: a table `[profile.NAME.SECTION]` in the file, chosen by `luci --profile NAME` or by
   `LUCI_PROFILE`,
4. the variable of the environment, `LUCI_SECTION_NAME`; an empty one is not there,
5. the option of a command, such as `luci serve --max-running 4`.

```toml
[host]
max_jobs = 4

[profile.laptop.host]    # luci --profile laptop
model_ttl_s = 60
```

A list in a variable is written as in TOML, or with commas between its entries.

The host reads its settings when it starts, in the environment of the command that starts it, and
keeps them until `luci host restart`. `luci config show` says which values differ from those of the
host that runs. What is read each time is read by each command that needs it.

A mistake is one sentence that names the line or the variable. A command that needs the settings
refuses with it. The host and the screen start nevertheless and say it once: a setting that cannot
be used has the value that it would have without that line, and a file that is no TOML leaves the
defaults and the environment. `luci config validate` and `luci doctor` say it for as long as it is
there.

"""
PAGE_FOOTER = """\
This page is written by `python -m luci_tui.cli.docs --write`; a test compares it with the program.
"""


def page(model: type[BaseModel] = Settings) -> str:
    """Return the page of the docs that lists all settings."""
    parts = [PAGE_HEADER]
    for name, section in sections_of(model).items():
        when = "Read each time."
        if getattr(section, "is_read_at_start", True):
            when = "Read by the host when it starts."
        parts.append(f"## [{name}]\n\n{_sentence(section_meaning(section))} {when}\n\n")
        if rows := [_row(one) for one in _of(name, section)]:
            head = "| Setting | Type | Default | Meaning | Variable |\n|---|---|---|---|---|\n"
            parts += [head, *rows, "\n"]
    return "".join(parts) + PAGE_FOOTER


def _row(one: Setting) -> str:
    default = toml_words(one.default)
    cells = [
        f"`{one.name}`",
        one.type_words,
        f"`{default}`" if default else "none",
        one.meaning,
        f"`{one.variable}`",
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _of(name: str, section: type[BaseModel]) -> list[Setting]:
    properties = section.model_json_schema().get("properties", {})
    meanings = _docstrings(section)
    return [
        Setting(
            section=name,
            name=field,
            type_words=_type_words(properties[field]),
            default=plain_value(info.get_default(call_default_factory=True)),
            meaning=meanings.get(field, ""),
            is_read_at_start=bool(getattr(section, "is_read_at_start", True)),
        )
        for field, info in section.model_fields.items()
    ]


_TYPES = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "array": "list",
    "object": "table",
}


def _type_words(part: Mapping[str, Any]) -> str:
    options = [one for one in part.get("anyOf", ()) if one.get("type") != "null"]
    if options:
        return " or ".join(dict.fromkeys(_type_words(one) for one in options))
    if "enum" in part or "const" in part:
        return "one of " + ", ".join(f"`{one}`" for one in part.get("enum", (part.get("const"),)))
    words = _TYPES.get(str(part.get("type")), "text")
    if "items" in part:
        words = f"{words} of {_type_words(part['items'])}s"
    low, high = part.get("minimum"), part.get("maximum")
    above, below = part.get("exclusiveMinimum"), part.get("exclusiveMaximum")
    bounds = [
        *([f"{toml_words(low)} to {toml_words(high)}"] if None not in (low, high) else []),
        *([f"at least {toml_words(low)}"] if low is not None and high is None else []),
        *([f"above {toml_words(above)}"] if above is not None else []),
        *([f"at most {toml_words(high)}"] if high is not None and low is None else []),
        *([f"below {toml_words(below)}"] if below is not None else []),
        *([f"at most {part['maxLength']} characters"] if "maxLength" in part else []),
        *([f"at most {part['maxItems']} of them"] if "maxItems" in part else []),
    ]
    return ", ".join([words, *bounds])


def _docstrings(section: type[BaseModel]) -> dict[str, str]:
    """Read the strings below the fields of a model and of those that it is made from."""
    found: dict[str, str] = {}
    for one in reversed(section.__mro__):
        if not (issubclass(one, BaseModel) and one.__module__ != BaseModel.__module__):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
        except (OSError, SyntaxError, TypeError):
            continue
        body = cast("ast.ClassDef", tree.body[0]).body
        for statement, following in pairwise(body):
            match statement, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
                case _:
                    pass
    return found


def field_words(model: type[BaseModel], name: str) -> str:
    """Return type and bounds of a field for a person; the model need not be one of settings."""
    schema = model.model_json_schema()
    part: Mapping[str, Any] = schema["properties"][name]
    reference = str(part.get("$ref", ""))
    if reference:
        part = schema["$defs"][reference.rpartition("/")[2]]
    return _type_words(part)
