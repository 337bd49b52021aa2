"""`luci uninstall`: remove a model that luci has installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, cast

import typer

from luci_tui.cli.host_link import host_client
from luci_tui.cli.output import print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import ConfigError, LuciError
from luci_tui.units import format_bytes

if TYPE_CHECKING:
    from luci_tui.cli.main import Invocation
    from luci_tui.host.api.download_messages import Uninstalled
    from luci_tui.host.wiring import EngineKind

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci uninstall smollm2-360m
  luci uninstall smollm2-360m --yes
"""


@app.command(epilog=EPILOG)
def uninstall(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of an installed model.")],
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing; also take it out of memory.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Remove an installed model and its files.

    A model that is in memory is taken out of it if you say so, and one that is answering stays.
    Files that luci did not install are left alone.
    """
    kind = cast("Invocation", ctx.obj).engine
    if not yes:
        _ask(name, f"Remove {name} and its files?")
    try:
        removed = run_async(_uninstall(kind, name, unload=yes))
    except LuciError as error:
        if error.code != "in_use" or not sys.stdin.isatty():
            raise
        _ask(name, f"{name} is in memory. Take it out and remove it?")
        removed = run_async(_uninstall(kind, name, unload=True))
    if json_output:
        print_json(removed.model_dump(mode="json"))
    else:
        print_line(f"{removed.name} is removed; {format_bytes(removed.freed_bytes)} are free.")


def _ask(name: str, question: str) -> None:
    if not sys.stdin.isatty():
        msg = f"{name} is only removed without a question if you give --yes."
        raise ConfigError(msg, code="needs_yes")
    if not typer.confirm(question, default=False, err=True):
        raise typer.Exit(1)


async def _uninstall(kind: EngineKind, name: str, *, unload: bool) -> Uninstalled:
    from luci_tui.host.download_client import HostDownloads

    async with host_client(kind) as client:
        return await HostDownloads(client).uninstall(name, unload=unload)
