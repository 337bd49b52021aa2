"""The file models.toml: read with the line of each fault, written whole or not at all."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, ValidationError

from luci_tui.errors import ConfigError
from luci_tui.manager.entries import BUILTIN, ModelEntry
from luci_tui.toml_lines import Place, line_of
from luci_tui.whole_file import locked, write_whole

MAX_FILE_BYTES = 4 * 1024 * 1024
"""A longer file is not one that a person wrote."""
_KEY = "model"
"""Each entry is a `[[model]]` table."""


@dataclass(frozen=True)
class Document:
    """What models.toml says."""

    entries: tuple[ModelEntry, ...] = ()
    problems: tuple[str, ...] = ()
    """One sentence for each thing that cannot be used; an entry with a fault is left out."""


def read(path: Path) -> Document:
    """Read the file; one that is missing is empty, and one that is broken says so in `problems`."""
    try:
        text = _read_text(path)
        data = _parse(path, text)
    except ConfigError as error:
        return Document(problems=(error.message,))
    entries: list[ModelEntry] = []
    problems = [
        f"{_where(path, text, (key,))}: {key} is not known here. Write each model as [[{_KEY}]]."
        for key in data
        if key != _KEY
    ]
    tables = data.get(_KEY, [])
    if not isinstance(tables, list):
        problems.append(
            f"{_where(path, text, (_KEY,))}: {_KEY} must be a list. Write [[{_KEY}]] above each."
        )
        tables = []
    taken = {BUILTIN}
    for index, table in enumerate(tables):
        try:
            entry = ModelEntry.model_validate(table)
        except ValidationError as error:
            problems.append(_complaint(path, text, index, table, error))
            continue
        names = (entry.name, *entry.aliases)
        double = next((n for n in names if n in taken or names.count(n) > 1), None)
        if double is not None:
            where = _where(path, text, (_KEY, index, "name"))
            problems.append(f'{where}: the name "{double}" is taken. Choose another one.')
            continue
        taken.update(names)
        entries.append(_with_whole_path(entry, path.parent))
    return Document(tuple(entries), tuple(problems))


def replace_entry(path: Path, name: str, entry: ModelEntry | None) -> None:
    """Put `entry` in the place of the one called `name`, or take that one out if it is None.

    Comments and order of the other entries stay.

    Raises:
        ConfigError: the file is broken or cannot be written.
    """
    # Only who writes needs it, and it takes a while to import.
    import tomlkit

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            text = _read_text(path)
            _parse(path, text)
            document = tomlkit.parse(text)
            tables = document.setdefault(_KEY, tomlkit.aot())
            names = [str(table.get("name")) for table in tables]
            if name in names:
                del tables[names.index(name)]
            if entry is not None:
                fields = entry.model_dump(mode="json", exclude_defaults=True)
                tables.insert(names.index(name) if name in names else len(tables), fields)
            if not tables:
                del document[_KEY]
            write_whole(path, tomlkit.dumps(document))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}). Check its folder and the disk."
        ) from error


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}), so its models are missing. "
            "Check its permissions."
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(
            f"{path} is larger than {MAX_FILE_BYTES // 1024**2} MiB, so its models are missing. "
            "Shorten it."
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path}, line {line}: this is no UTF-8, so its models are missing. Save it as UTF-8."
        ) from error


def _parse(path: Path, text: str) -> dict[str, JsonValue]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{path} is no valid TOML, so its models are missing: {str(error).lower()}. Correct it."
        ) from error


def _complaint(path: Path, text: str, index: int, table: JsonValue, error: ValidationError) -> str:
    """Turn the first complaint about an entry into a sentence."""
    first = error.errors(include_url=False)[0]
    name = table.get("name") if isinstance(table, dict) else None
    label = f'model "{name}"' if isinstance(name, str) and name.isprintable() else "a model"
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "is not known here"
    elif first["type"] == "missing":
        message = "is missing"
    where = _where(path, text, (_KEY, index, *first["loc"]))
    what = f"{field} {message[0].lower()}{message[1:]}" if field else message
    return f"{where}: {label} is left out, because {what.strip()}. Correct it."


def _where(path: Path, text: str, place: Place) -> str:
    return f"{path}, line {line_of(text, place)}"


def _with_whole_path(entry: ModelEntry, folder: Path) -> ModelEntry:
    """Read the paths of an entry as relative to the file that it stands in; `~` is the home."""

    def whole(value: str) -> str:
        try:
            return str(folder / Path(value).expanduser()) if value else ""
        except RuntimeError:  # "~nobody": a user who does not exist
            return value

    endpoints = tuple(
        endpoint.model_copy(update={"api_key_file": whole(endpoint.api_key_file)})
        for endpoint in entry.endpoints
    )
    loras = tuple(
        lora.model_copy(update={"path": whole(lora.path)}) for lora in entry.load.loras or ()
    )
    files = {"mmproj_path": entry.load.mmproj_path, "draft_model_path": entry.load.draft_model_path}
    load = entry.load.model_copy(
        update={"loras": loras} | {name: whole(path) for name, path in files.items()}
    )
    return entry.model_copy(
        update={"path": whole(entry.path), "endpoints": endpoints, "load": load}
    )
