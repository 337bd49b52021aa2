from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import typer

from luci_tui.cli.main import app

INDENT = 8
"""What stands before and between name and summary."""


def cut_off(group: Any, context: click.Context) -> Iterator[str]:
    """Name the commands whose summary a list of 80 columns has no room for."""
    commands = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    room = 80 - INDENT - max(len(name) for name, _ in commands)
    for name, command in commands:
        if command.get_short_help_str(room).endswith("..."):
            yield f"{context.command_path} {name}"
        if hasattr(command, "list_commands"):
            inside = click.Context(command, info_name=name, parent=context)
            yield from cut_off(command, inside)


def test_summary_of_each_command_fits_its_line() -> None:
    top = typer.main.get_command(app)
    assert list(cut_off(top, click.Context(top, info_name="luci"))) == []
