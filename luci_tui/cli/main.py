"""The command line: one module per command, imported when the command is used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from luci_tui import paths
from luci_tui.chat.sanitize import sanitize
from luci_tui.errors import ConfigError, LuciError
from luci_tui.host.wiring import BUILTIN, EngineKind
from luci_tui.version import VERSION

COMMANDS = (
    *("ask", "chat", "run", "embed", "inspect", "validate"),
    *("convert", "quantize", "imatrix", "compare"),
    *("load", "unload", "ps", "serve", "web", "host", "jobs"),
    *("catalog", "search", "install", "uninstall", "downloads"),
    *("llm", "models", "fit", "disk", "backup", "custom"),
    *("login", "logout", "whoami", "share"),
    *("presets", "config", "bench", "devices", "doctor", "help"),
)
"""Each is a module of luci_tui.cli with a Typer app named `app`."""
_MODULES = {
    "jobs": "job_list",
    "catalog": "catalog_list",
    "downloads": "download_list",
    "help": "pages",
}
"""Commands whose module has another name."""

EXIT_FAILURE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE, what a program gets from the system that does not catch the signal."""

OpenScreen = Callable[[str, str, str | None], int]
"""(model name, engine kind, chat to go on with) -> exit code."""
OpenWeb = Callable[[list[str], int, Callable[[str, int], None]], None]
"""(arguments of luci for each screen, port, called with address and port) -> when it is over."""


@dataclass(frozen=True)
class Invocation:
    """What all commands share."""

    engine: EngineKind
    open_screen: OpenScreen
    open_web: OpenWeb


_nothing = typer.Typer(add_completion=False)


@_nothing.command()
def _do_nothing() -> None:
    """Stand for a command that is not imported yet."""


def module_of(command: str) -> str:
    """Return the name of the module of one of COMMANDS."""
    return f"luci_tui.cli.{_MODULES.get(command, command)}"


class LazyGroup(TyperGroup):
    """A group whose commands are imported by name, and the one place where errors become exits."""

    def __init__(self, **attributes: Any) -> None:  # pyright: ignore[reportExplicitAny]
        super().__init__(**attributes)
        # Typer looks here for names that are spelt like a wrong one; nothing else reads it.
        self.commands = dict.fromkeys(COMMANDS, typer.main.get_command(_nothing))

    def list_commands(self, ctx: typer.Context) -> list[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the names in the order in which help shows them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride, reportExplicitAny]
        """Import the module of a command and return the command; None = there is no such one."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(module_of(cmd_name))
        return typer.main.get_command(cast("typer.Typer", module.app))

    def invoke(self, ctx: typer.Context) -> object:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run the command; a failure of the world becomes one sentence and an exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except LuciError as error:
            # Names of files and words of a model stand in messages; one sentence is one line.
            sentence = " ".join(sanitize(error.message).split())
            typer.echo(f"luci: {sentence}", err=True)
            raise typer.Exit(EXIT_FAILURE) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(EXIT_INTERRUPTED) from error
        except BrokenPipeError as error:
            # The interpreter flushes stdout once more at exit; it must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(EXIT_BROKEN_PIPE) from error


app = typer.Typer(
    cls=LazyGroup,
    name="luci",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _choose_profile(name: str) -> None:
    """Use a profile of the settings, here and in what this process starts."""
    from luci_tui.setting_sources import PROFILE_VARIABLE
    from luci_tui.settings import read_settings

    paths.choose_profile(name)
    mistakes = read_settings(paths.luci_home()).mistakes
    # Other mistakes are for those who need the settings.
    missing = next((one for one in mistakes if one.variable == PROFILE_VARIABLE), None)
    if missing is not None:
        raise ConfigError(missing.sentence, code="settings")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"luci {VERSION}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def luci(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="MODEL", help="Model for the screen.")
    ] = BUILTIN,
    resume: Annotated[
        str | None,
        typer.Option(metavar="CHAT", help='Go on with a chat; "last" = the one used last.'),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Profile of the settings. [LUCI_PROFILE]"),
    ] = None,
    engine: Annotated[EngineKind, typer.Option(hidden=True)] = EngineKind.WORKER,
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--version", "-V", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Talk to local GGUF models in a terminal.

    Without a command the full-screen app opens. MODEL is the path of a GGUF file, or "builtin"
    for the small model that comes with luci and turns requests into shell commands.

    Exit codes: 0 ok, 1 a negative result, 2 wrong usage or a failure, 130 interrupted.
    """
    shared = cast("Invocation", ctx.obj)
    if profile is not None:
        _choose_profile(profile)
    ctx.obj = replace(shared, engine=engine)
    if ctx.invoked_subcommand is None:
        raise typer.Exit(
            shared.open_screen(model, engine.value, "" if resume == "last" else resume)
        )


def no_web(arguments: list[str], port: int, tell: Callable[[str, int], None]) -> None:
    """Stand where there is no screen for a browser."""
    del arguments, port, tell
    msg = "This program has no screen for a browser."
    raise ConfigError(msg)


def run_command_line(
    arguments: list[str], open_screen: OpenScreen, open_web: OpenWeb = no_web
) -> int:
    """Parse and run a command line and return the exit code."""
    try:
        app(
            args=arguments,
            prog_name="luci",
            obj=Invocation(EngineKind.WORKER, open_screen, open_web),
        )
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else EXIT_FAILURE
    return 0
