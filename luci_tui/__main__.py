"""The entry point of `luci` and `python -m luci_tui`: join the command line and the screen.

It imports as little as it can before it knows what was asked for: `--version` imports nothing,
and the screen does not wait for the command line's parser.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from luci_tui.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Run what the command line asks for and return the exit code."""
    try:
        return _run(sys.argv[1:])
    except KeyboardInterrupt:
        # Ctrl-C before a command has begun; once it runs, it ends itself in order.
        return 130


def _run(arguments: list[str]) -> int:
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"luci {VERSION}\n")
        return 0
    if not arguments:
        return open_screen("builtin", "worker")
    from luci_tui.cli.main import run_command_line

    return run_command_line(arguments, open_screen, open_web)


def open_screen(model: str, engine: str, resume: str | None = None) -> int:
    """Open the full-screen app on a model and return the exit code when it is left."""
    from luci_tui.tui.start import run_screen

    return run_screen(model, engine, resume)


def open_web(arguments: list[str], port: int, tell: Callable[[str, int], None]) -> None:
    """Serve the app to a browser until Ctrl-C; see `luci web`."""
    from luci_tui.tui.web.server import serve_web

    serve_web(arguments, port, tell)


if __name__ == "__main__":
    sys.exit(main())
