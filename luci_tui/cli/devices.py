"""`luci devices`: what this build of the native core can compute on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from luci_tui.cli.output import print_json, print_line
from luci_tui.engine import native
from luci_tui.units import format_bytes

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci devices
  luci devices --json
"""


@app.command(epilog=EPILOG)
def devices(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the CPU and the GPUs that luci can use."""
    build = native.system_info()
    found = native.devices()
    if json_output:
        print_json({**asdict(build), "devices": [asdict(device) for device in found]})
        return
    print_line(f"accelerator: {build.accelerator}, llama.cpp {build.llama_commit}")
    for device in found:
        free, total = format_bytes(device.free_bytes), format_bytes(device.total_bytes)
        print_line(f"{device.name}: {device.description} ({device.kind}), {free} free of {total}")
