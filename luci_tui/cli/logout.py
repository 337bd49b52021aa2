"""`luci logout`: forget the token for the hub."""

from __future__ import annotations

import typer

from luci_tui.cli.output import narrate

EPILOG = """\b
Examples:
  luci logout
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=EPILOG)
def logout() -> None:
    """Remove the stored token for the hub.

    It stays valid until it is deleted at the hub's settings page.
    """
    from luci_tui.config import hub_environment
    from luci_tui.download.hub_token import remove_token

    environment = hub_environment()
    if remove_token(environment):
        narrate(f"The token in {environment.token_file} is removed.")
    else:
        narrate(f"There was no token in {environment.token_file}.")
    if environment.token_file.with_name("stored_tokens").exists():
        narrate("`hf auth logout` also removes the tokens that the hf program keeps by name.")
    if environment.token:
        narrate(f"{environment.token_variable} is still set in the environment.")
