"""`luci help`: the command line's help, and the pages that ship with luci."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, cast

import typer

from luci_tui import paths
from luci_tui.cli.output import print_line
from luci_tui.errors import ConfigError

EPILOG = """\b
Examples:
  luci help
  luci help custom-models
"""

PAGES = {
    "custom-models": "CUSTOM_MODELS.md",
    "model-tiers": "MODEL_TIERS.md",
    "model-development": "MODEL_DEVELOPMENT.md",
    "models": "models.md",
    "catalogue": "catalogue.md",
    "commands": "cli.md",
}
"""What can be read, and the file of it below docs/."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=EPILOG)
def help_(
    ctx: typer.Context,
    topic: Annotated[
        str | None, typer.Argument(metavar="[TOPIC]", help="A page, or a command.")
    ] = None,
) -> None:
    """Show the help of luci or of a command, or a page about a topic."""
    top = ctx.find_root()
    if topic is None:
        print_line(top.get_help())
        print_line("")
        print_line(f"Pages: {', '.join(_there())}.")
        print_line("`luci help TOPIC` shows one, and `luci help COMMAND` the help of a command.")
        return
    if topic in PAGES:
        print_page(topic)
        return
    command = cast("Any", top.command).get_command(top, topic)
    if command is None:
        near = difflib.get_close_matches(topic, _there(), 3, 0.4)
        hint = f"Did you mean {', '.join(near)}?" if near else f"There are {', '.join(_there())}."
        msg = f"There is no page and no command {topic[:80]!r}. {hint}"
        raise ConfigError(msg)
    print_line(command.get_help(typer.Context(command, info_name=f"luci {topic}")))


def print_page(topic: str) -> None:
    """Print one page as it is.

    Raises:
        ConfigError: this installation lacks it.
    """
    path = paths.docs_folder() / PAGES[topic]
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}). Install luci again to get its pages."
        raise ConfigError(msg) from error
    for line in text.splitlines():
        print_line(line)


def _there() -> list[str]:
    folder = paths.docs_folder()
    return [topic for topic, file in PAGES.items() if (folder / file).is_file()]
