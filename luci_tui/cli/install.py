"""`luci install`: fetch models, check them and make them ready to use."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, cast

import typer

from luci_tui.cli.download_bars import Bars
from luci_tui.cli.host_link import host_client
from luci_tui.cli.install_names import Wished, wished
from luci_tui.cli.output import Progress, narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import ConfigError, HostError, LuciError
from luci_tui.units import format_bytes, format_count, format_duration

if TYPE_CHECKING:
    from luci_tui.cli.main import Invocation
    from luci_tui.download.plan import Plan
    from luci_tui.host.api.download_messages import DownloadRecord, InstallStarted
    from luci_tui.host.download_client import HostDownloads
    from luci_tui.host.wiring import EngineKind

LARGE_BYTES = 20_000_000_000
"""A single model beyond this is asked about."""
_SETTLED = ("done", "failed", "cancelled", "paused")

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci install smollm2-360m
  luci install core
  luci install tier 0 --yes --background
  luci install hf:bartowski/SmolLM2-135M-Instruct-GGUF
  luci install hf:owner/repo/model-Q4_K_M.gguf --name mine
  luci install https://example.org/model.gguf --no-enable
"""


@app.command(epilog=EPILOG)
def install(
    ctx: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT...",
            help="Names of the catalogue, hf:owner/repo, hf:owner/repo/FILE, a URL; or core, "
            "all, tier N.",
        ),
    ],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Under which the model is installed.")
    ] = "",
    mmproj: Annotated[
        bool, typer.Option("--mmproj", help="With the repository's projector, for images.")
    ] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Do not wait; see `luci downloads`.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    no_enable: Annotated[
        bool, typer.Option("--no-enable", help="Install, and leave it switched off.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one list.")] = False,
) -> None:
    """Download models, check them, and make them ready to use.

    The host fetches, and goes on when the terminal is closed. What has arrived is never fetched
    twice; a file is checked against the sum that the hub or the catalogue promises, and by luci's
    validator, before it is used. An old version stays in use until then. Ctrl-C asks whether to go
    on in the background, to pause or to discard.

    Exit codes: 0 all are installed, 1 some were paused or cancelled, 2 some failed.
    """
    kind = cast("Invocation", ctx.obj).engine
    models = wished(what)
    if name and len(models) > 1:
        msg = f"--name {name} is one name for {len(models)} models. Install them one by one."
        raise ConfigError(msg)
    plans = run_async(_plan(kind, models[0], name, mmproj)) if len(models) == 1 else []
    if not yes:
        _confirm(models, plans)
    try:
        started, problems = run_async(_begin(kind, models, plans, is_enabled=not no_enable))
    except KeyboardInterrupt:
        narrate("What was begun goes on: `luci downloads` shows it.")
        raise
    _tell_begun(started, problems, plans, is_waiting=not background)
    records = [one.download for one in started if one.download is not None]
    if not background and records:
        records = _wait(kind, [one.id for one in records])
    if json_output:
        print_json([one.model_dump(mode="json") for one in records])
    _leave(records, problems, is_waiting=not background, is_quiet=json_output)


def _confirm(models: Sequence[Wished], plans: Sequence[Plan]) -> None:
    if plans:
        size_bytes = plans[0].size_bytes
        words = f"{plans[0].name} takes {format_bytes(size_bytes)}."
    else:
        size_bytes = sum(one.size_bytes or 0 for one in models)
        is_partial = any(one.size_bytes is None for one in models)
        more = ", and what is not in the catalogue" if is_partial else ""
        words = f"{len(models)} models take {format_bytes(size_bytes)}{more}."
    if len(models) == 1 and size_bytes <= LARGE_BYTES:
        return
    if not sys.stdin.isatty():
        msg = f"{words} Give --yes to install that without being asked."
        raise ConfigError(msg, code="needs_yes")
    narrate(words)
    if not typer.confirm("Install?", default=False, err=True):
        raise typer.Exit(1)


@asynccontextmanager
async def _downloads(kind: EngineKind) -> AsyncGenerator[HostDownloads]:
    from luci_tui.host.download_client import HostDownloads

    async with host_client(kind) as client:
        yield HostDownloads(client)


async def _plan(kind: EngineKind, one: Wished, name: str, with_mmproj: bool) -> list[Plan]:
    async with _downloads(kind) as downloads:
        return [await downloads.plan(one.text, name, with_mmproj=with_mmproj)]


async def _begin(
    kind: EngineKind, models: Sequence[Wished], plans: Sequence[Plan], *, is_enabled: bool
) -> tuple[list[InstallStarted], list[LuciError]]:
    """Begin every install that can be begun; one alone that cannot is raised."""
    started: list[InstallStarted] = []
    problems: list[LuciError] = []
    line = Progress()
    async with _downloads(kind) as downloads:
        if plans:
            return [await downloads.add(plans[0], is_enabled=is_enabled)], []
        for number, one in enumerate(models, start=1):
            line.show(f"looking up {number} of {len(models)}: {one.text}")
            try:
                plan = await downloads.plan(one.text)
                started.append(await downloads.add(plan, is_enabled=is_enabled))
            except HostError:
                raise
            except LuciError as error:
                problems.append(error)
            finally:
                line.clear()
    return started, problems


def _tell_begun(
    started: Sequence[InstallStarted],
    problems: Sequence[LuciError],
    plans: Sequence[Plan],
    *,
    is_waiting: bool,
) -> None:
    for problem in problems:
        narrate(f"luci: {problem.message}")
    n_there = sum(one.download is None for one in started)
    if n_there:
        what = f"{plans[0].name} is" if plans else f"{n_there} of them are"
        narrate(f"{what} installed already.")
    going = [one.download for one in started if one.download is not None]
    if going and not is_waiting:
        count = format_count(len(going), "download")
        narrate(f"The host goes on with {count}. `luci downloads` shows how far it is.")


def _wait(kind: EngineKind, ids: Sequence[int]) -> list[DownloadRecord]:
    """Show the downloads until they end; Ctrl-C asks what shall become of them."""
    try:
        return run_async(_watch(kind, ids))
    except KeyboardInterrupt:
        verb = _ask()
        if verb != "keep":
            run_async(_end(kind, ids, verb))
        words = {
            "keep": "It goes on in the background: `luci downloads` shows how far it is.",
            "pause": "It is paused: `luci downloads resume` goes on with it.",
            "discard": "It is cancelled, and what had arrived is removed.",
        }
        narrate(words[verb])
        raise


def _ask() -> str:
    """Ask what Ctrl-C was meant to do; whoever cannot be asked, or asks again, wants to go on."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return "keep"
    sys.stderr.write("\n[k]eep going in the background, [p]ause, or [d]iscard? [k] ")
    sys.stderr.flush()
    try:
        answer = sys.stdin.readline().strip().lower()
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return "keep"
    return {"p": "pause", "d": "discard"}.get(answer[:1], "keep")


async def _watch(kind: EngineKind, ids: Sequence[int]) -> list[DownloadRecord]:
    from luci_tui.host.api.download_messages import DownloadChanged, DownloadsProgress

    bars = Bars()
    async with _downloads(kind) as downloads:
        listed = await downloads.list()
        known = {one.id: one for one in listed.downloads if one.id in ids}
        try:
            async with aclosing(downloads.events(listed.seq)) as events:
                while not all(one.state.value in _SETTLED for one in known.values()):
                    bars.show(one for one in known.values() if one.state.value not in _SETTLED)
                    event = await anext(events, None)
                    if event is None:
                        msg = "The host has left. What is not installed goes on at its next start."
                        raise HostError(msg, code="unreachable")
                    if isinstance(event, DownloadChanged):
                        changed = [event.download]
                    elif isinstance(event, DownloadsProgress):
                        changed = list(event.downloads)
                    else:
                        changed = list((await downloads.list()).downloads)
                    known |= {one.id: one for one in changed if one.id in known}
        finally:
            bars.clear()
    return list(known.values())


async def _end(kind: EngineKind, ids: Sequence[int], verb: str) -> None:
    async with _downloads(kind) as downloads:
        for one in ids:
            try:
                await (downloads.pause(one) if verb == "pause" else downloads.cancel(one))
            except HostError:
                raise
            except LuciError as error:
                narrate(f"luci: {error.message}")


def _leave(
    records: Sequence[DownloadRecord],
    problems: Sequence[LuciError],
    *,
    is_waiting: bool,
    is_quiet: bool,
) -> None:
    """Print how it ended, and leave with the exit code for it."""
    for one in records:
        if is_quiet:
            continue
        if not is_waiting:
            print_line(str(one.id))
        elif one.state.value == "done":
            print_line(f"{one.name} is installed ({format_bytes(one.size_bytes)}{_took(one)}).")
        elif one.error is None:
            print_line(f"{one.name} is {one.state.value}.")
    failed = [one for one in records if one.error is not None]
    if len(failed) == 1 and len(records) == 1 and not problems:
        from luci_tui.host.api.messages import to_error

        error = failed[0].error
        assert error is not None
        raise to_error(error)
    for one in failed:
        narrate(f"luci: {one.error.message if one.error else ''}")
    if failed or problems:
        raise typer.Exit(2)
    if is_waiting and any(one.state.value != "done" for one in records):
        raise typer.Exit(1)


def _took(one: DownloadRecord) -> str:
    took_s = (one.ended_at or time.time()) - one.created_at
    return f" in {format_duration(took_s)}"
