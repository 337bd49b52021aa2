"""`luci unload`: take a model out of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui.cli.host_link import running_host
from luci_tui.cli.output import print_line
from luci_tui.cli.session import run_async
from luci_tui.host.wiring import name_for_host

if TYPE_CHECKING:
    from luci_tui.host.client import HostClient

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
    """Take MODEL out of the host's memory.

    One that is not there is no error.
    """
    was_there = run_async(_unload(name_for_host(model), force=force))
    print_line(f"{model} {'is unloaded' if was_there else 'was not in memory'}.")


async def _unload(name: str, *, force: bool) -> bool:
    """Take it out; False = nothing was there to be taken out."""
    async with running_host() as client:
        before = await _n_loaded(client)
        await client.unload_model(name, force=force)
        return await _n_loaded(client) < before


async def _n_loaded(client: HostClient) -> int:
    return len((await client.models()).loaded)
