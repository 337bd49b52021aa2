"""`luci serve`: the OpenAI- and Anthropic-compatible HTTP API on a port."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, cast

import typer

from luci_tui import paths
from luci_tui.cli.host_link import host_client, running_host
from luci_tui.cli.main import Invocation
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import ConfigError, HostError
from luci_tui.host.wiring import EngineKind, option_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from luci_tui.host.api.messages import Serving, StartServing
    from luci_tui.settings import ServeLimits

EPILOG = """\b
Examples:
  luci serve --port 8080
  luci serve --background && curl -H "Authorization: Bearer $(cat ~/.luciferai/api_key)" \\
      http://127.0.0.1:8080/v1/models
  luci serve --stop
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


# The signature is the list of options, which makes this function long.
@app.command(epilog=EPILOG)
def serve(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free port.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let HOST be one that other machines reach.")
    ] = False,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Ask for no API key; loopback only.")
    ] = False,
    host_name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Further value of the Host header; repeatable."),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Web page origin that may call; repeatable."),
    ] = None,
    log_prompts: Annotated[
        bool, typer.Option("--log-prompts", help="Write requests with their text to the log.")
    ] = False,
    max_body_bytes: Annotated[
        int | None, typer.Option(metavar="N", help="Longest body of a request. [33554432]")
    ] = None,
    max_connections: Annotated[
        int | None, typer.Option(metavar="N", help="Connections at once. [256]")
    ] = None,
    max_running: Annotated[
        int | None, typer.Option(metavar="N", help="Answers at once, over all models. [16]")
    ] = None,
    max_queued: Annotated[
        int | None, typer.Option(metavar="N", help="Requests that wait, over all clients. [128]")
    ] = None,
    max_queued_per_client: Annotated[
        int | None, typer.Option(metavar="N", help="Requests of one client that wait. [64]")
    ] = None,
    header_timeout_s: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="For the headers of a request. [10]")
    ] = None,
    body_timeout_s: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="For the body of a request. [30]")
    ] = None,
    queue_timeout_s: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="For a request's turn to come. [300]")
    ] = None,
    write_timeout_s: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="For a client to read what it was sent. [60]"),
    ] = None,
    keep_alive_s: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="For an idle connection. [30]")
    ] = None,
    background: Annotated[
        bool, typer.Option("--background", help="Leave it to the host and return.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End what is served.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Serve the models to OpenAI and Anthropic clients until Ctrl-C.

    Only this machine can reach it unless --allow-remote is given, and every request shows the key
    in LUCI_HOME/api_key, which is made with the first start. Limits that are not given are those of
    section [serve] in LUCI_HOME/config.toml. docs/api.md lists the endpoints.
    """
    from luci_tui.host.api.messages import StartServing

    asked = {
        "max_body_bytes": max_body_bytes,
        "max_connections": max_connections,
        "max_running": max_running,
        "max_queued": max_queued,
        "max_queued_per_client": max_queued_per_client,
        "header_timeout_s": header_timeout_s,
        "body_timeout_s": body_timeout_s,
        "queue_timeout_s": queue_timeout_s,
        "write_timeout_s": write_timeout_s,
        "keep_alive_s": keep_alive_s,
    }
    if stop:
        _stop(as_json=json_output)
        return
    if no_key and allow_remote:
        msg = "--no-key and --allow-remote exclude each other: other machines must show a key."
        raise ConfigError(msg)
    wanted = StartServing(
        host=host,
        port=port,
        allow_remote=allow_remote,
        require_key=not no_key,
        host_names=tuple(host_name or ()),
        origins=tuple(origin or ()),
        log_prompts=log_prompts,
        limits=_limits({name: value for name, value in asked.items() if value is not None}),
    )
    kind = cast("Invocation", ctx.obj).engine
    run_async(_serve(kind, wanted, in_background=background, as_json=json_output))


def _limits(asked: Mapping[str, float]) -> ServeLimits:
    """Take the limits of the settings file, but for those that were given."""
    from pydantic import ValidationError

    from luci_tui.settings import ServeLimits, load_settings

    set_down = load_settings(paths.luci_home()).serve
    try:
        return ServeLimits.model_validate({**set_down.model_dump(), **asked})
    except ValidationError as error:
        raise option_error(error) from error


def _stop(*, as_json: bool) -> None:
    served = run_async(_stop_serving())
    if as_json:
        print_json({"was_serving": served is not None, "url": served.url if served else None})
    else:
        print_line(f"{served.url} is closed." if served else "Nothing was served.")


async def _stop_serving() -> Serving | None:
    try:
        async with running_host() as client:
            return await client.stop_serving()
    except HostError as error:
        if error.code == "unreachable":
            return None
        raise


async def _serve(
    kind: EngineKind, wanted: StartServing, *, in_background: bool, as_json: bool
) -> None:
    async with host_client(kind) as client:
        serving = await client.start_serving(wanted)
        _print(serving, as_json=as_json)
        if in_background:
            narrate("The host goes on serving. `luci serve --stop` ends it.")
            return
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, asked.set)
        narrate("Ctrl-C ends it.")
        waiting = asyncio.create_task(asked.wait())

        async def watch() -> None:
            async with aclosing(client.events()) as events:
                async for _ in events:
                    pass

        watching = asyncio.create_task(watch())
        await asyncio.wait({waiting, watching}, return_when=asyncio.FIRST_COMPLETED)
        for task in (waiting, watching):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, HostError):
                await task
        if not asked.is_set():
            msg = "The host has left, and the port with it. `luci host logs` says why."
            raise HostError(msg, code="unreachable")
        await client.stop_serving()


def _print(serving: Serving, *, as_json: bool) -> None:
    if as_json:
        print_json(serving.model_dump(mode="json"))
        return
    print_line(serving.url)
    if serving.is_remote:
        narrate("Other machines can reach this address. There is no TLS: use a tunnel or a proxy.")
    if serving.needs_key:
        narrate(f"The API key is in {serving.key_file}.")
    else:
        narrate("No API key is asked for: every program on this machine can use it.")
