"""`luci downloads`: what is being installed, and what shall become of it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, cast

import typer

from luci_tui.cli.download_bars import Bars, line_of
from luci_tui.cli.host_link import host_client
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import ConfigError
from luci_tui.units import format_bytes, parse_rate

if TYPE_CHECKING:
    from luci_tui.cli.main import Invocation
    from luci_tui.host.api.download_messages import DownloadList, DownloadRecord
    from luci_tui.host.download_client import HostDownloads
    from luci_tui.host.wiring import EngineKind

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci downloads
  luci downloads list --watch
  luci downloads pause 3
  luci downloads resume
  luci downloads move 5 front
  luci downloads limit 5MB
  luci downloads limit none
  luci downloads forget ended
"""

Ids = Annotated[
    list[int] | None,
    typer.Argument(metavar="[ID]...", help="As `luci downloads` shows them; none = all."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Show it until all have ended.")]


class Place(StrEnum):
    """Where a download goes in the queue."""

    FRONT = "front"
    UP = "up"
    DOWN = "down"
    LAST = "last"


@app.callback(invoke_without_command=True, epilog=EPILOG)
def downloads(
    ctx: typer.Context, json_output: JsonOption = False, watch: WatchOption = False
) -> None:
    """Show and steer the host's downloads.

    The order of the list is the order in which they are fetched. A host that was killed goes on
    with them when it starts again.
    """
    if ctx.invoked_subcommand is None:
        _list(_kind(ctx), as_json=json_output, watch=watch)


@app.command("list", epilog=EPILOG)
def list_downloads(
    ctx: typer.Context, json_output: JsonOption = False, watch: WatchOption = False
) -> None:
    """List the downloads, in the order of their turns."""
    _list(_kind(ctx), as_json=json_output, watch=watch)


@app.command()
def pause(ctx: typer.Context, ids: Ids = None, json_output: JsonOption = False) -> None:
    """Stop downloads until they are resumed; what has arrived stays."""
    _print_changed(run_async(_each(_kind(ctx), "pause", ids)), as_json=json_output)


@app.command()
def resume(ctx: typer.Context, ids: Ids = None, json_output: JsonOption = False) -> None:
    """Go on with downloads that are paused or have failed."""
    _print_changed(run_async(_each(_kind(ctx), "resume", ids)), as_json=json_output)


@app.command()
def cancel(
    ctx: typer.Context,
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Which ones.")],
    json_output: JsonOption = False,
) -> None:
    """End downloads and remove what has arrived of them.

    A model that is installed stays.
    """
    _print_changed(run_async(_each(_kind(ctx), "cancel", ids)), as_json=json_output)


@app.command()
def move(
    ctx: typer.Context,
    download_id: Annotated[int, typer.Argument(metavar="ID", help="Which one.")],
    place: Annotated[Place, typer.Argument(help="Where to.")],
    json_output: JsonOption = False,
) -> None:
    """Change the turn of a download.

    What comes first is fetched first from now on.
    """
    _print_changed([run_async(_move(_kind(ctx), download_id, place))], as_json=json_output)


@app.command()
def forget(
    ctx: typer.Context,
    which: Annotated[
        list[str],
        typer.Argument(metavar="ID...|ended", help='Which ones; "ended" = all that have ended.'),
    ],
    json_output: JsonOption = False,
) -> None:
    """Leave downloads that have ended out of the list.

    No model is removed.
    """
    changed = run_async(_forget(_kind(ctx), _ended_ids(which)))
    if json_output:
        print_json([one.model_dump(mode="json") for one in changed])
        return
    for one in changed:
        print_line(f"Download {one.id} ({one.name}) is forgotten.")
    if not changed:
        narrate("There is no download that has ended.")


@app.command()
def limit(
    ctx: typer.Context,
    rate: Annotated[
        str,
        typer.Argument(
            metavar="RATE", help='Bytes per second: 5MB, 800k, 1.5MiB; "none"; "default".'
        ),
    ],
    json_output: JsonOption = False,
) -> None:
    """Limit the rate of all downloads together, from now on.

    "default" is what config.toml says.
    """
    listed = run_async(_limit(_kind(ctx), parse_rate(rate)))
    if json_output:
        print_json({"limit_bytes_per_s": listed.limit_bytes_per_s})
    else:
        print_line(_limit_words(listed))


def _kind(ctx: typer.Context) -> EngineKind:
    return cast("Invocation", ctx.obj).engine


def _list(kind: EngineKind, *, as_json: bool, watch: bool) -> None:
    listed = run_async(_watch(kind) if watch else _listed(kind))
    if as_json:
        print_json(listed.model_dump(mode="json", exclude={"seq"}))
        return
    for one in listed.downloads:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.created_at))
        print_line(f"{one.id:>4}  {one.state.value:<9}  {when}  {line_of(one)}")
        if one.error is not None:
            print_line(f"      {one.error.message}")
    if not listed.downloads:
        narrate("There are no downloads. `luci install NAME` begins one.")
    if listed.limit_bytes_per_s:
        narrate(_limit_words(listed))


def _limit_words(listed: DownloadList) -> str:
    if not listed.limit_bytes_per_s:
        return "Downloads have no limit."
    return f"All downloads together get {format_bytes(listed.limit_bytes_per_s)}/s."


def _print_changed(changed: list[DownloadRecord], *, as_json: bool) -> None:
    if as_json:
        print_json([one.model_dump(mode="json") for one in changed])
        return
    for one in changed:
        print_line(f"Download {one.id} ({one.name}) is {one.state.value}.")
    if not changed:
        narrate("There is no such download.")


@asynccontextmanager
async def _downloads(kind: EngineKind) -> AsyncGenerator[HostDownloads]:
    from luci_tui.host.download_client import HostDownloads

    async with host_client(kind) as client:
        yield HostDownloads(client)


async def _listed(kind: EngineKind) -> DownloadList:
    async with _downloads(kind) as client:
        return await client.list()


async def _watch(kind: EngineKind) -> DownloadList:
    """Show what is on its way until nothing is, and give the list."""
    going = ("queued", "running")
    bars = Bars()
    async with _downloads(kind) as client:
        listed = await client.list()
        try:
            async with aclosing(client.events(listed.seq)) as events:
                while any(one.state.value in going for one in listed.downloads):
                    bars.show(one for one in listed.downloads if one.state.value in going)
                    if await anext(events, None) is None:
                        break
                    listed = await client.list()
        finally:
            bars.clear()
    return listed


async def _each(kind: EngineKind, verb: str, ids: list[int] | None) -> list[DownloadRecord]:
    async with _downloads(kind) as client:
        chosen = ids or [one.id for one in (await client.list()).downloads if _can(one, verb)]
        do = {"pause": client.pause, "resume": client.resume, "cancel": client.cancel}[verb]
        return [await do(one) for one in chosen]


def _can(one: DownloadRecord, verb: str) -> bool:
    """Tell whether a download is meant where none is named."""
    states = {"pause": ("queued", "running"), "resume": ("paused", "failed")}
    return one.state.value in states.get(verb, ())


async def _move(kind: EngineKind, download_id: int, place: Place) -> DownloadRecord:
    from luci_tui.host.api.download_messages import MoveDownload

    async with _downloads(kind) as client:
        return await client.move(download_id, MoveDownload(place=place.value))


def _ended_ids(which: list[str]) -> list[int] | None:
    """Give the numbers; None = all that have ended."""
    if which == ["ended"]:
        return None
    wrong = next((one for one in which if not (one.isascii() and one.isdigit())), None)
    if wrong is not None:
        msg = f'{wrong!r} is no number of a download. Write numbers, or "ended" alone.'
        raise ConfigError(msg)
    return [int(one) for one in which]


async def _forget(kind: EngineKind, ids: list[int] | None) -> list[DownloadRecord]:
    async with _downloads(kind) as client:
        return list((await client.forget(ids)).downloads)


async def _limit(kind: EngineKind, bytes_per_s: int | None) -> DownloadList:
    async with _downloads(kind) as client:
        return await client.set_limit(bytes_per_s)
