"""`luci config`: what the settings are and where each is from; change and check them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui import paths
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import ConfigError, LuciError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from luci_tui.setting_sources import Reading
    from luci_tui.settings import Settings
    from luci_tui.settings_rows import HostValues, SettingRow

EPILOG = """\b
Examples:
  luci config show host
  luci config set host.max_jobs 4
  luci config set profile.laptop.host.model_ttl_s 60
  luci --profile laptop config show
  luci config validate
"""

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    epilog=EPILOG,
    help="""Show, change and check the settings.

    They stand in LUCI_HOME/config.toml. A profile in it (`luci --profile NAME`, LUCI_PROFILE) comes
    before the rest of the file, and a variable LUCI_SECTION_NAME before both. docs/settings.md
    lists all of them.""",
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY", help="SECTION.NAME, or profile.PROFILE.SECTION.NAME.")
]


@app.command()
def show(
    section: Annotated[
        str | None, typer.Argument(metavar="[SECTION]", help="One section alone.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Say of each setting its value, where that is from, its meaning.

    What a running host still goes by is said as well. With a mistake in the file or the environment
    the exit code is 1; what can be used is shown.
    """
    from luci_tui.settings import read_settings
    from luci_tui.settings_rows import setting_rows

    reading = read_settings(paths.luci_home())
    rows = setting_rows(reading, run_async(_in_host()))
    if section is not None:
        rows = [row for row in rows if row.setting.section == section]
        if not rows:
            msg = f"There is no section {section!r}. `luci config show` lists all of them."
            raise ConfigError(msg, code="settings")
    if json_output:
        _print_as_json(reading, rows)
    else:
        for line in _lines(reading, rows):
            print_line(line)
    for mistake in reading.mistakes:
        narrate(f"luci: {mistake.sentence}")
    if reading.mistakes:
        raise typer.Exit(1)


@app.command()
def get(key: Annotated[str, typer.Argument(metavar="KEY", help="SECTION.NAME")]) -> None:
    """Print one value; exit code 1 if it has none."""
    from luci_tui.settings import load_settings
    from luci_tui.settings_file import no_such, place_of
    from luci_tui.settings_schema import toml_words

    if len(place_of(key)) > 2:
        raise no_such(key)  # a profile's value counts where the profile is chosen
    value = _value_of(load_settings(paths.luci_home()), key)
    if value is None:
        raise typer.Exit(1)
    print_line(value if isinstance(value, str) else toml_words(value))


@app.command(name="set", context_settings={"ignore_unknown_options": True})
def set_(
    key: KeyArgument,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="A number, true or false, a text, a TOML list.")
    ],
) -> None:
    """Write one setting into the file, if it can have that value.

    Comments and the order of the file stay; the file is replaced at once or not at all.
    """
    from luci_tui.settings_file import set_value
    from luci_tui.settings_schema import toml_words

    written = set_value(paths.luci_home(), key, value)
    narrate(f"{key} = {toml_words(written)}")
    _tell_what_counts(key, written)


@app.command()
def unset(key: KeyArgument) -> None:
    """Take one setting out of the file.

    The exit code is 1 if it is not there.
    """
    from luci_tui.settings_file import unset_value

    if not unset_value(paths.luci_home(), key):
        narrate(f"{key} is not in the file.")
        raise typer.Exit(1)
    narrate(f"{key} is no longer in the file.")
    _tell_what_counts(key, None)


@app.command()
def validate(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Another file, without the environment."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Print every mistake in the settings, with its line.

    The exit code is 1 if there is one.

    Without FILE it is the file in use, all its profiles, and the environment.
    """
    from luci_tui.setting_sources import read_sources
    from luci_tui.settings import Settings, read_settings

    if file is not None and not file.exists():
        msg = f"There is no file {file}. Without FILE the file in use is checked."
        raise ConfigError(msg, code="settings")
    reading = read_settings(paths.luci_home()) if file is None else read_sources(Settings, file, {})
    if json_output:
        mistakes = [asdict(mistake) for mistake in reading.mistakes]
        found = {"file": str(reading.path), "valid": not mistakes, "mistakes": mistakes}
        print_json({**found, "profiles": list(reading.profiles)})
    else:
        for mistake in reading.mistakes:
            print_line(mistake.sentence)
    if reading.mistakes:
        raise typer.Exit(1)
    if reading.path.exists():
        narrate(f"{reading.path} is fine.")
    else:
        narrate(f"There is no {reading.path}, so every setting has its default.")


@app.command()
def schema() -> None:
    """Print a JSON Schema of the file, for editors that check TOML."""
    from luci_tui.settings_schema import json_schema

    print_json(json_schema())


@app.command()
def edit() -> None:
    """Open a copy of the file in $VISUAL or $EDITOR.

    It is taken over if it is in order.

    A copy with a mistake is offered again; without a terminal, or if you say so, it is kept beside
    the file, and the exit code is 1.
    """
    from luci_tui.cli.config_edit import edit_settings

    if not edit_settings(paths.luci_home()):
        raise typer.Exit(1)


@app.command()
def path() -> None:
    """Print where the file is; it need not exist."""
    from luci_tui.settings import SETTINGS_FILE

    print_line(str(paths.luci_home() / SETTINGS_FILE))


async def _in_host() -> HostValues:
    """Ask the host that runs what it goes by; nothing = none runs, or it does not say."""
    from luci_tui.host.lifecycle import find_host
    from luci_tui.settings_rows import NO_HOST, HostValues

    try:
        found = await find_host()
        if found is None:
            return NO_HOST
        try:
            said = await found.client.settings()
        finally:
            await found.client.close()
    except LuciError:
        return NO_HOST  # `luci host status` says what is wrong with it
    return NO_HOST if said is None else HostValues(said.values, said.options)


def _lines(reading: Reading[Settings], rows: list[SettingRow]) -> list[str]:
    from luci_tui.settings_schema import toml_words

    profile = f", profile {reading.profile}" if reading.profile else ""
    lines = [f"{reading.path}{'' if reading.path.exists() else ' (not there)'}{profile}"]
    texts = {row.setting.key: row.text for row in rows}
    width = min(44, max(map(len, texts.values())))
    section = ""
    for row in rows:
        if row.setting.section != section:
            section = row.setting.section
            lines += ["", f"[{section}]"]
        lines.append(f"{texts[row.setting.key]:<{width}}  {row.source.words()}")
        if row.setting.meaning:
            lines.append(f"    {row.setting.meaning}")
        if row.differs:
            option = f" ({row.host_option})" if row.host_option else ""
            lines.append(f"    ! The running host has {toml_words(row.in_host)}{option}.")
    if any(row.differs for row in rows):
        lines += ["", "`luci host restart` lets the host read the values marked with !."]
    return lines


def _print_as_json(reading: Reading[Settings], rows: list[SettingRow]) -> None:
    settings = [
        {
            "key": row.setting.key,
            "value": row.value,
            "source": {**asdict(row.source), "kind": row.source.kind.value},
            "default": row.setting.default,
            "variable": row.setting.variable,
            "type": row.setting.type_words,
            "description": row.setting.meaning,
            "running_host": row.in_host,
            "needs_restart": row.differs,
        }
        for row in rows
    ]
    print_json(
        {
            "file": str(reading.path),
            "profile": reading.profile,
            "profiles": list(reading.profiles),
            "settings": settings,
            "mistakes": [asdict(mistake) for mistake in reading.mistakes],
        }
    )


def _tell_what_counts(key: str, written: JsonValue) -> None:
    """Say where something stronger than the file has the last word, and where the host waits."""
    from luci_tui.setting_sources import PROFILES, Kind
    from luci_tui.settings import read_settings
    from luci_tui.settings_rows import setting_rows

    reading = read_settings(paths.luci_home())
    of_profile = key.split(".")[1] if key.startswith(f"{PROFILES}.") else ""
    plain_key = key.removeprefix(f"{PROFILES}.{of_profile}.") if of_profile else key
    rows = setting_rows(reading, run_async(_in_host()))
    row = next((row for row in rows if row.setting.key == plain_key), None)
    if row is None or (of_profile and of_profile != reading.profile):
        return
    strongest = {Kind.ENVIRONMENT} if of_profile else {Kind.ENVIRONMENT, Kind.PROFILE}
    if row.source.kind in strongest and row.value != written:
        narrate(f"What counts is {row.text}, from {row.source.words()}.")
    if row.differs:
        narrate("The running host goes by another value until `luci host restart`.")


def _value_of(settings: Settings, key: str) -> JsonValue:
    section, name = key.split(".", 1)
    return settings.model_dump(mode="json").get(section, {}).get(name)
