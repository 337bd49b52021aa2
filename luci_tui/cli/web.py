"""`luci web`: the full-screen app in a browser on this machine."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from luci_tui.cli.main import Invocation
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.host.wiring import BUILTIN, EngineKind

EPILOG = """\b
Examples:
  luci web
  luci web --port 0 --model my-model
  ssh -L 8000:127.0.0.1:8000 HOST luci web
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=EPILOG)
def web(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free port.")] = 8000,
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="MODEL", help="Model of the chat.")
    ] = BUILTIN,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Serve the full-screen app to a browser until Ctrl-C.

    Only this machine can reach it, and only with the address that is printed: it holds a key that
    is made anew each time. From elsewhere, forward the port with `ssh -L`. What is closed in the
    browser goes on in the host, as with a terminal.
    """
    shared = cast("Invocation", ctx.obj)
    arguments = ["--model", model]
    if shared.engine is not EngineKind.WORKER:
        arguments = ["--engine", shared.engine.value, *arguments]

    def tell(url: str, real_port: int) -> None:
        if json_output:
            print_json({"url": url, "port": real_port})
        else:
            print_line(url)
        narrate("Open this address in a browser on this machine. From elsewhere, first:")
        narrate(f"  ssh -L {real_port}:127.0.0.1:{real_port} HOST")
        narrate("Ctrl-C ends it; answers, jobs and downloads go on in the host.")

    shared.open_web(arguments, port, tell)
