"""`luci ps`: the models in memory, and what there is to load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui.cli.host_link import running_host
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import HostError
from luci_tui.units import format_bytes, format_duration

if TYPE_CHECKING:
    from luci_tui.host.api.messages import Models, ModelStatus

EPILOG = """\b
Examples:
  luci ps
  luci ps --json
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=EPILOG)
def ps(
    json_output: Annotated[bool, typer.Option("--json", help="Print one list.")] = False,
) -> None:
    """Show the models in the host's memory.

    Those that it is loading or had to give up are listed, too.
    """
    models = run_async(_models())
    loaded = () if models is None else models.loaded
    if json_output:
        print_json([one.model_dump(mode="json") for one in loaded])
        return
    if not loaded:
        narrate("No model is loaded. `luci load MODEL` loads one; so does whoever asks it.")
        return
    width = max(len(one.name) for one in loaded)
    for one in loaded:
        print_line(f"{one.name:<{width}}  {_words(one)}")


async def _models() -> Models | None:
    try:
        async with running_host() as client:
            return await client.models()
    except HostError as error:
        if error.code == "unreachable":
            return None
        raise


def _words(one: ModelStatus) -> str:
    parts = [one.state]
    if one.needed_bytes:
        parts.append(f"needs {format_bytes(one.needed_bytes)}")
    if one.pids or not one.needed_bytes:
        parts.append(f"{format_bytes(one.memory_bytes)} in RAM")
    if one.n_workers > 1:
        parts.append(f"{one.n_workers} workers")
    if one.is_own:
        parts.append("held by one client alone")
    elif one.n_leases:
        parts.append(f"in use by {one.n_leases}")
    elif one.idle_s is not None:
        parts.append(f"unused for {format_duration(one.idle_s)}")
    if one.pinned:
        parts.append("pinned")
    elif one.unloads_in_s is not None:
        parts.append(f"unloads in {format_duration(one.unloads_in_s)}")
    if one.n_restarts:
        parts.append(f"lost {one.n_restarts} times")
    return ", ".join(parts) + (f": {one.detail}" if one.detail else "")
