"""`luci llm`: the models that are on this machine, and which of them can be used by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui.cli.llm_text import info_lines, list_head, list_rows
from luci_tui.cli.output import Progress, name_columns, narrate, print_json, print_line
from luci_tui.errors import CatalogError, ConfigError
from luci_tui.library import own_settings
from luci_tui.library.records import LibraryModel, ModelKind, ModelState
from luci_tui.library.store import Library
from luci_tui.units import format_count

if TYPE_CHECKING:
    from luci_tui.catalog.entries import CatalogEntry

EPILOG = """\b
Examples:
  luci llm list
  luci llm list all --tier 1 --fits
  luci llm enable my-model
  luci llm disable tier 3
  luci llm set my-model --tier 1 --alias mine --note "Good at German."
  luci llm info my-model
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name or alias of the model.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
WhichArgument = Annotated[
    list[str], typer.Argument(metavar="NAME...|tier N|all", help="Which models.")
]


@app.callback(epilog=EPILOG)
def llm() -> None:
    """List the models on this machine and enable them.

    Installed models and files in the models folder can be used at once; a person's own files
    (models/custom_models) and those of other programs when they are enabled.
    """


@app.command("list", epilog=EPILOG)
def list_models(
    what: Annotated[
        str | None, typer.Argument(metavar="[all]", help='"all" = those of the catalogue, too.')
    ] = None,
    tier: Annotated[
        int | None, typer.Option(min=0, max=3, help="0 basic, 1 general, 2 advanced, 3 expert.")
    ] = None,
    fits: Annotated[
        bool, typer.Option("--fits", help="Only those that fit into the memory that is free.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """List the models.

    A line has: on or off, tier and who says so, name, size, parameters, quant type, context in
    training, where it is from.
    """
    if what not in (None, "all"):
        msg = f'"{what}" cannot be listed. `luci llm list` and `luci llm list all` can.'
        raise ConfigError(msg)
    library = load_library()
    models = [one for one in library.models if tier in (None, one.tier)]
    missing = _missing(library, tier) if what == "all" else []
    if fits:
        models, missing = _fitting(models, missing)
    if json_output:
        rows: list[object] = [one.to_json() for one in models]
        if missing:
            from luci_tui.library.lookup import entry_facts

            rows += [entry_facts(entry) for entry in missing]
        print_json(rows)
        return
    if models or missing:
        name_columns(list_head(models, missing))
    for line in list_rows(models, missing):
        print_line(line)
    if not models and not missing:
        narrate("There is no such model. `luci catalog list` has those that can be installed.")
    _narrate_problems(library)


@app.command(epilog=EPILOG)
def info(name: NameArgument, json_output: JsonOption = False) -> None:
    """Show everything that is known about one model."""
    library = load_library()
    found = library.get(name)
    if found is None:
        _catalogue_info(library, name, as_json=json_output)
        return
    if json_output:
        print_json(found.to_json())
        return
    for line in info_lines(found):
        print_line(line)
    _narrate_problems(library)


@app.command(epilog=EPILOG)
def enable(which: WhichArgument, json_output: JsonOption = False) -> None:
    """Let models be used by name.

    "all" and "tier N" stand for luci's own models; those of other programs are enabled by name.
    """
    library = load_library()
    models = _chosen(library, which, with_foreign=False)
    is_named = which[0] != "all" and which[0] != "tier"
    for one in models:
        if one.state is not ModelState.OK and is_named:
            msg = f"{one.name} is {one.state.value} and stays disabled: {one.problem}"
            raise ConfigError(msg)
    usable = [one for one in models if one.state is ModelState.OK]
    _set_enabled(library, usable, True, as_json=json_output)


@app.command(epilog=EPILOG)
def disable(which: WhichArgument, json_output: JsonOption = False) -> None:
    """Let models be used by name no longer; their files stay."""
    library = load_library()
    models = _chosen(library, which, with_foreign=True)
    _set_enabled(library, models, False, as_json=json_output)


@app.command("set", epilog=EPILOG)
def set_model(
    name: NameArgument,
    tier: Annotated[int | None, typer.Option(min=0, max=3, help="The tier it has for you.")] = None,
    no_tier: Annotated[bool, typer.Option("--no-tier", help="Take your tier back.")] = False,
    alias: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="One more name for it; repeatable.")
    ] = None,
    remove_alias: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="One name less; repeatable.")
    ] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="What you know of it.")] = None,
    no_note: Annotated[bool, typer.Option("--no-note", help="Take the note back.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Give a model a tier, other names, a note.

    They stand in library.toml.
    """
    if not any((tier is not None, no_tier, alias, remove_alias, note is not None, no_note)):
        msg = "Nothing is to be set. Give --tier, --alias, --remove-alias or --note."
        raise ConfigError(msg)
    if (tier is not None and no_tier) or (note is not None and no_note):
        msg = "--tier and --no-tier, --note and --no-note exclude each other. Give one of them."
        raise ConfigError(msg)
    library = load_library()
    model = library.find(name)
    file = library.places.settings_file
    if alias or remove_alias:
        aliases = _new_aliases(library, model, alias or [], remove_alias or [])
        own_settings.set_aliases(model.name, aliases, file)
    if tier is not None or no_tier:
        own_settings.set_tier(model.name, tier, file)
    if note is not None or no_note:
        own_settings.set_notes(model.name, note or "", file)
    changed = load_library().find(model.name)
    if json_output:
        print_json(changed.to_json())
        return
    for line in info_lines(changed):
        print_line(line)


def load_library() -> Library:
    """Look through all folders, with a line of progress where headers have to be read."""
    line = Progress()
    try:
        return Library(on_progress=lambda done, total: line.show(f"looking at {done}/{total}"))
    finally:
        line.clear()


def _narrate_problems(library: Library) -> None:
    for problem in library.problems:
        narrate(f"luci: {problem}")


def _missing(library: Library, tier: int | None) -> list[CatalogEntry]:
    # The catalogue takes longer to load than the list of models.
    from luci_tui.library.lookup import missing_entries

    return missing_entries(library, tier)


def _fitting(
    models: list[LibraryModel], entries: list[CatalogEntry]
) -> tuple[list[LibraryModel], list[CatalogEntry]]:
    from luci_tui.engine.memory import available_bytes
    from luci_tui.library.guess import needed_bytes

    free = available_bytes()
    return (
        [one for one in models if 0 < one.header.needed_bytes + one.found.mmproj_bytes <= free],
        [entry for entry in entries if entry.is_runnable and needed_bytes(entry) <= free],
    )


def _catalogue_info(library: Library, name: str, *, as_json: bool) -> None:
    """Show what the catalogue says about a model that is not here, or that nobody knows it."""
    from luci_tui.catalog.catalog import load_catalog
    from luci_tui.library.lookup import entry_facts

    try:
        entry = load_catalog(*library.places.catalogs).resolve(name)
    except CatalogError as error:
        raise CatalogError(library.unknown(name), code="unknown_model") from error
    if as_json:
        print_json(entry_facts(entry))
        return
    for key, value in entry.model_dump(mode="json").items():
        if value not in (None, "", [], ()):
            print_line(f"{key:<19} {value}")
    narrate(f"It is not on this machine. `luci install {entry.name}` fetches it.")


def _chosen(library: Library, which: list[str], *, with_foreign: bool) -> list[LibraryModel]:
    own = [one for one in library.models if with_foreign or one.found.kind is not ModelKind.FOREIGN]
    match which:
        case ["all"]:
            return own
        case ["tier", number]:
            if number not in {"0", "1", "2", "3"}:
                msg = f"There is no tier {number[:20]}. Give 0, 1, 2 or 3."
                raise ConfigError(msg)
            return [one for one in own if one.tier == int(number)]
        case _:
            return [library.find(name) for name in which]


def _set_enabled(
    library: Library, models: list[LibraryModel], enabled: bool, *, as_json: bool
) -> None:
    changed = [one for one in models if one.is_enabled is not enabled]
    if changed:
        names = [one.name for one in changed]
        own_settings.set_all_enabled(names, enabled, library.places.settings_file)
    if as_json:
        print_json([{"name": one.name, "enabled": enabled} for one in models])
        return
    word = "enabled" if enabled else "disabled"
    for one in changed:
        print_line(f"{one.name} is {word}.")
    n_same = len(models) - len(changed)
    if n_same:
        verb = "was" if n_same == 1 else "were"
        narrate(f"{format_count(n_same, 'model')} {verb} {word} already.")
    elif not models:
        narrate("There is no such model.")


def _new_aliases(
    library: Library, model: LibraryModel, added: list[str], removed: list[str]
) -> tuple[str, ...]:
    own = list(library.gathered.settings.of(model.name).aliases)
    for alias in removed:
        if alias not in own:
            told = ", ".join(own) or "none"
            msg = f"{model.name} has no alias {alias[:100]!r} of yours; it has: {told}."
            raise ConfigError(msg)
        own.remove(alias)
    if added:
        from luci_tui.manager.aliases import check_free

        check_free(library, model, added)
    for alias in added:
        if alias != model.name and alias not in own:
            own.append(alias)
    return tuple(own)
