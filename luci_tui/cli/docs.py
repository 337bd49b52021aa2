"""Keep docs/cli.md equal to the help of the commands: `python -m luci_tui.cli.docs --write`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import typer

from luci_tui.cli.main import COMMANDS, app

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
"""Only a source tree has it."""

WIDTH = 100

HEADER = """\
# The command line

`luci` (or `python -m luci_tui`) opens the [screen](screen.md); every other use is a command.

- What a command finds goes to standard output, what it has to say about it to standard error.
  Progress is shown only where standard error is a terminal.
- Exit codes: 0 ok, 1 a negative result, 2 wrong usage or a failure (one sentence says which), 130
  interrupted with Ctrl-C.
- Text of a model goes into a pipe as it is. On a terminal, control characters are taken out of it.
- `LUCI_HOME` names the folder for logs and models; without it, it is `~/.luciferai`.

This page is written by `python -m luci_tui.cli.docs --write`; a test compares it with the program.
"""


def render() -> str:
    """Return the page as the commands' help makes it today."""
    group = cast("Any", typer.main.get_command(app))
    parts = [HEADER, _section(group, "luci")]
    for name in COMMANDS:
        command = group.get_command(typer.Context(group), name)
        parts.append(_section(command, f"luci {name}"))
    return "\n".join(parts)


def _section(command: Any, name: str) -> str:
    context = typer.Context(
        command, info_name=name, terminal_width=WIDTH, help_option_names=["-h", "--help"]
    )
    return f"## {name}\n\n```text\n{command.get_help(context).strip()}\n```\n"


def main(arguments: list[str]) -> int:
    """Write or check the page; 1 = it differs."""
    if arguments == ["--write"]:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(render(), encoding="utf-8")
        return 0
    if arguments == ["--check"]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == render():
            return 0
        sys.stderr.write(f"{PAGE} differs: run python -m luci_tui.cli.docs --write\n")
        return 1
    sys.stderr.write("usage: python -m luci_tui.cli.docs --check|--write\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
