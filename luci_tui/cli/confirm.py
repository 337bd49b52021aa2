"""Ask a person before something is done that cannot be undone, or takes long."""

from __future__ import annotations

import sys

import typer

from luci_tui.cli.output import narrate
from luci_tui.errors import ConfigError


def confirm(question: str, *, is_sure: bool) -> None:
    """Go on after a yes; a no ends the command with exit code 1.

    Args:
        question: Ends with a question mark.
        is_sure: `--yes` was given: nothing is asked.

    Raises:
        ConfigError: there is nobody to ask.
    """
    if is_sure:
        return
    if not sys.stdin.isatty():
        msg = f"{question} Nobody can be asked here: add --yes to go on."
        raise ConfigError(msg)
    if not typer.confirm(question, default=False, err=True):
        narrate("Nothing was done.")
        raise typer.Exit(1)
