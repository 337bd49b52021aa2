"""`luci unload`: take a model out of memory."""

from __future__ import annotations

from typing import Annotated

import typer

from luci_tui.cli.host_link import running_host
from luci_tui.cli.output import print_line
from luci_tui.cli.session import run_async
from luci_tui.host.wiring import name_for_host

EPILOG = """\b
Examples:
  luci unload builtin
  luci unload some-7b --force
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=EPILOG)
def unload(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As `luci ps` shows it.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also when it is in use; its answers break off.")
    ] = False,
) -> None:
    """Take MODEL out of the host's memory; one that is not there is no error."""
    run_async(_unload(name_for_host(model), force=force))
    print_line(f"{model} is not in memory.")


async def _unload(name: str, *, force: bool) -> None:
    async with running_host() as client:
        await client.unload_model(name, force=force)
