"""`luci custom model info`: how a person's own model files are used."""

from __future__ import annotations

import typer

from luci_tui.cli.pages import print_page

EPILOG = """\b
Examples:
  luci custom model info
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
model_app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
app.add_typer(model_app, name="model")


@app.callback(epilog=EPILOG)
def custom() -> None:
    """Read about model files of your own."""


@model_app.callback(epilog=EPILOG)
def model() -> None:
    """Read about model files of your own."""


@model_app.command(epilog=EPILOG)
def info() -> None:
    """Show where to put model files and how they become usable.

    It is docs/CUSTOM_MODELS.md.
    """
    print_page("custom-models")
