"""`luci presets`: system prompts and parameters under a name."""

from __future__ import annotations

from typing import Annotated

import typer

from luci_tui.chat.presets import Panel, Preset, Presets, read_presets
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.settings_schema import toml_words

EPILOG = """\b
Examples:
  luci presets list
  luci presets show newton
  luci ask --preset newton "Why does a spinning top stand?"
"""

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    epilog=EPILOG,
    help="""Show the presets: a system prompt and parameters under a name.

    Eleven perspectives and two more come with luci; your own stand in LUCI_HOME/presets.toml. In
    the screen they are given to a chat (F3, then p), or asked together as a panel (F9).""",
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("list")
def list_presets(json_output: JsonOption = False) -> None:
    """List presets and panels, your own first.

    The exit code is 1 if some of a file cannot be used.
    """
    found = read_presets()
    if json_output:
        print_json(
            {
                "presets": [_facts(one) for one in found.presets.values()],
                "panels": [_facts(one) for one in found.panels.values()],
                "problems": list(found.problems),
            }
        )
    else:
        for line in _lines(found):
            print_line(line)
    _tell_problems(found)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or title of a preset.")],
    json_output: JsonOption = False,
) -> None:
    """Print a preset as it stands in a presets.toml."""
    preset = read_presets().find(name)
    if json_output:
        print_json(_facts(preset))
        return
    for line in _toml(preset):
        print_line(line)


def _facts(one: Preset | Panel) -> dict[str, object]:
    return one.model_dump(mode="json")


def _lines(found: Presets) -> list[str]:
    names = [*found.presets, *found.panels]
    width = max(map(len, names), default=0)
    lines = [
        f"{one.name:<{width}}  {'own ' if one.is_own else '    '}  {one.about or one.words}"
        for one in found.presets.values()
    ]
    lines += ["", "Panels:"]
    lines += [
        f"{one.name:<{width}}  {'own ' if one.is_own else '    '}  {', '.join(one.presets)}"
        for one in found.panels.values()
    ]
    return lines


def _toml(preset: Preset) -> list[str]:
    fields = preset.model_dump(mode="json", exclude={"name", "is_own"}, exclude_defaults=True)
    return [
        f"[preset.{preset.name}]",
        *(f"{key} = {toml_words(one)}" for key, one in fields.items()),
    ]


def _tell_problems(found: Presets) -> None:
    for problem in found.problems:
        narrate(f"luci: {problem}")
    if found.problems:
        raise typer.Exit(1)
