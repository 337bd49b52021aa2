"""`luci chat`: the chats that are kept, and a chat in the shell."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from luci_tui.cli.chat_link import open_chats
from luci_tui.cli.main import Invocation
from luci_tui.cli.output import name_columns, narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import ConfigError
from luci_tui.host.chat_backend import ExportFormat
from luci_tui.host.wiring import EngineKind
from luci_tui.units import format_count

if TYPE_CHECKING:
    from luci_tui.chat.cost import Spent
    from luci_tui.chat.records import (
        ChatRow,
        ChatSession,
        ImportedChat,
        Message,
        OpenedChat,
        SearchHit,
    )
    from luci_tui.host.chat_backend import ChatBackend

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci chat list
  luci chat search "sky blue"
  luci chat show k3m9
  luci chat export k3m9 sky.md
  luci chat --inline --model some.gguf
"""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ChatId = Annotated[
    str,
    typer.Argument(metavar="ID", help='A chat\'s id, or its beginning; "last" = used last.'),
]
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


@app.callback(invoke_without_command=True, epilog=EPILOG)
def chat(
    ctx: typer.Context,
    inline: Annotated[
        bool, typer.Option("--inline", help="Chat line by line, without a full screen.")
    ] = False,
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="MODEL", help="Model of --inline.")
    ] = None,
    chat_id: Annotated[
        str, typer.Option("--chat", "-c", metavar="ID", help="Go on in this chat with --inline.")
    ] = "",
) -> None:
    """List, read, search and move chats, or chat in the shell."""
    if ctx.invoked_subcommand is not None:
        if inline:
            msg = f"--inline and {ctx.invoked_subcommand} exclude each other. Give one of them."
            raise ConfigError(msg)
        return
    if not inline:
        print_line(ctx.get_help())
        raise typer.Exit
    from luci_tui.cli.chat_inline import chat_inline

    chat_inline(cast("Invocation", ctx.obj).engine, model, chat_id)


@app.command("list")
def list_chats(
    ctx: typer.Context,
    archived: Annotated[bool, typer.Option("--archived", help="Those that are put away.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json_output: Json = False,
) -> None:
    """List the chats, the one that was used last first."""

    async def work() -> tuple[tuple[ChatRow, ...], tuple[Spent, ...]]:
        async with open_chats(_engine(ctx)) as chats:
            rows = await chats.list(limit=limit, archived=archived)
            ids = [row.session.id for row in rows] if json_output else []
            return rows, await chats.spent(ids)

    rows, spent = run_async(work())
    if json_output:
        print_json(_with_costs(rows, spent))
        return
    if rows:
        name_columns(f"{'id':<10}  {'used':<16}  {'texts':>5}  {'model':<16}  title")
    elif archived:
        narrate("No chat is put away.")
    else:
        narrate("There are no chats yet. `luci ask` begins one; so does the screen.")
    for row in rows:
        session = row.session
        print_line(
            f"{session.id}  {_day(session.updated_ms)}  {row.n_messages:>5}  {session.model:<16}"
            f"  {session.title}"
        )


@app.command()
def show(
    ctx: typer.Context,
    chat_id: ChatId,
    watts: Annotated[
        float | None, typer.Option(min=0, help="Power while a model computes, not that of [cost].")
    ] = None,
    price_per_kwh: Annotated[
        float | None, typer.Option(min=0, help="Price of energy, not that of [cost].")
    ] = None,
    json_output: Json = False,
) -> None:
    """Print a chat as Markdown, and what it has cost on stderr."""
    from luci_tui.chat.cost import cost_of, spent_on
    from luci_tui.chat.markdown import export_markdown
    from luci_tui.host.rates import load_rates

    async def work() -> tuple[OpenedChat, tuple[Message, ...]]:
        async with open_chats(_engine(ctx)) as chats:
            opened = await chats.get(await _id_of(chats, chat_id))
            return opened, await chats.messages(opened.session.id)

    opened, messages = run_async(work())
    rates_of = load_rates(watts=watts, price_per_kwh=price_per_kwh)
    cost = cost_of(spent_on(messages), rates_of)
    if json_output:
        print_json({**opened.model_dump(mode="json"), "cost": cost.model_dump(mode="json")})
        return
    for line in export_markdown(opened.session, messages).splitlines():
        print_line(line)
    narrate(
        f"{format_count(cost.n_answers, 'answer')}, {cost.prompt_tokens} prompt tokens"
        f" ({cost.cached_tokens} cached), {cost.completion_tokens} answer tokens,"
        f" {cost.compute_s.value or 0:.1f} s of compute"
    )
    for noun, figure in cost.estimates():
        amount = f"{figure.value:.4g} {figure.unit}".rstrip()
        narrate(f"{noun}: {amount} ({figure.source})")


@app.command()
def search(
    ctx: typer.Context,
    query: Annotated[list[str], typer.Argument(metavar="WORDS...", help="All of them.")],
    newest: Annotated[bool, typer.Option("--newest", help="The newest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    json_output: Json = False,
) -> None:
    """Find words in titles and messages.

    The exit code is 1 if nothing was found.
    """
    words = " ".join(query)

    async def work() -> tuple[SearchHit, ...]:
        async with open_chats(_engine(ctx)) as chats:
            return await chats.search(words, limit=limit, newest=newest)

    hits = run_async(work())
    if json_output:
        print_json([hit.model_dump(mode="json") for hit in hits])
    else:
        for hit in hits:
            _print_hit(hit)
    if not hits:
        narrate("Nothing was found.")
        raise typer.Exit(1)


@app.command()
def export(
    ctx: typer.Context,
    chat_id: ChatId,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Nothing = stdout; must not exist.")
    ] = None,
    form: Annotated[
        ExportFormat | None, typer.Option("--format", "-f", help="[json for *.json; markdown]")
    ] = None,
    branches: Annotated[
        bool, typer.Option("--branches", help="In Markdown: all branches.")
    ] = False,
) -> None:
    """Write a chat as Markdown, or without loss as JSON."""
    is_json = file is not None and file.suffix == ".json"
    chosen = form or (ExportFormat.JSON if is_json else ExportFormat.MARKDOWN)
    if branches and chosen is ExportFormat.MARKDOWN:
        chosen = ExportFormat.BRANCHES

    async def work() -> bytes:
        async with open_chats(_engine(ctx)) as chats:
            data, _ = await chats.export(await _id_of(chats, chat_id), chosen.value)
            return data

    data = run_async(work())
    if file is None:
        sys.stdout.buffer.write(data)
        return
    _write_new(file, data)
    narrate(f"{file} has {format_count(len(data), 'byte')}.")


@app.command("import")
def import_chat(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help='"-" is stdin.')],
    json_output: Json = False,
) -> None:
    """Take in exports of luci, or JSON arrays of OpenAI's messages."""

    async def work() -> list[ImportedChat]:
        made: list[ImportedChat] = []
        async with open_chats(_engine(ctx)) as chats:
            for file in files:
                made += await chats.import_chats(_read(file))
        return made

    made = run_async(work())
    for one in made:
        if one.note:
            narrate(f"luci: {one.session.id}: {one.note}")
    if json_output:
        print_json([one.model_dump(mode="json") for one in made])
        return
    for one in made:
        print_line(f"{one.session.id}  {one.session.title}")


@app.command()
def delete(
    ctx: typer.Context,
    chat_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Chats' ids.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove chats with all their messages and session logs."""

    async def look() -> list[ChatSession]:
        async with open_chats(_engine(ctx)) as chats:
            return [(await chats.get(chat_id)).session for chat_id in chat_ids]

    sessions = run_async(look())
    if not yes:
        _confirm(sessions)

    async def work() -> None:
        async with open_chats(_engine(ctx)) as chats:
            for session in sessions:
                await chats.delete(session.id)

    run_async(work())
    narrate(f"{format_count(len(sessions), 'chat')} removed.")


@app.command()
def rename(
    ctx: typer.Context,
    chat_id: ChatId,
    title: Annotated[
        str, typer.Argument(metavar="TITLE", help='"" = the first words of the first prompt.')
    ],
    json_output: Json = False,
) -> None:
    """Give a chat another title."""

    async def work() -> ChatSession:
        async with open_chats(_engine(ctx)) as chats:
            return await chats.update(await _id_of(chats, chat_id), {"title": title})

    session = run_async(work())
    if json_output:
        print_json(session.model_dump(mode="json"))
    else:
        print_line(f"{session.id}  {session.title}")


def _with_costs(rows: Sequence[ChatRow], spent: Sequence[Spent]) -> list[object]:
    from luci_tui.chat.cost import cost_of
    from luci_tui.host.rates import load_rates

    rates_of = load_rates()
    by_chat: dict[str, list[Spent]] = {}
    for one in spent:
        by_chat.setdefault(one.chat_id, []).append(one)
    return [
        {
            **row.model_dump(mode="json"),
            "cost": cost_of(by_chat.get(row.session.id, []), rates_of).model_dump(mode="json"),
        }
        for row in rows
    ]


def _engine(ctx: typer.Context) -> EngineKind:
    return cast("Invocation", ctx.obj).engine


def _day(time_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(time_ms / 1000))


async def _id_of(chats: ChatBackend, text: str) -> str:
    """Give the id that is meant by "last", where there is a chat; else the text itself."""
    if text != "last":
        return text
    rows = await chats.list(limit=1, archived=False)
    return rows[0].session.id if rows else text


def _print_hit(hit: SearchHit) -> None:
    from luci_tui.chat.sanitize import sanitize

    if not sys.stdout.isatty():
        print_line(f"{hit.chat_id}  {hit.message_id or '-'}  {hit.title}: {hit.snippet}")
        return
    shown, end = "", 0
    for start, stop in hit.marks:
        found = sanitize(hit.snippet[start:stop])
        shown += f"{sanitize(hit.snippet[end:start])}{_BOLD}{found}{_PLAIN}"
        end = stop
    shown += sanitize(hit.snippet[end:])
    sys.stdout.write(f"{hit.chat_id}  {sanitize(hit.title)}\n    {shown}\n")


def _confirm(sessions: Sequence[ChatSession]) -> None:
    if not sys.stdin.isatty():
        msg = "Nobody can be asked here. Give --yes to remove the chats."
        raise ConfigError(msg)
    for session in sessions:
        narrate(f"{session.id}  {session.title}")
    if not typer.confirm("Remove them for good?", default=False, err=True):
        raise typer.Exit(1)


def _read(file: Path) -> bytes:
    from luci_tui.chat.transfer import MAX_BYTES

    if str(file) == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        with file.expanduser().open("rb") as opened:
            # One byte more than is allowed is enough to know.
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        msg = f"{file} cannot be read ({error.strerror}). Check its name and permissions."
        raise ConfigError(msg) from error


def _write_new(file: Path, data: bytes) -> None:
    """Write a file that is whole or not there; one that exists is left alone."""
    file = file.expanduser()
    part = file.with_name(f".{file.name}.part-{os.getpid()}")
    try:
        with part.open("xb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        # A link, unlike a rename, refuses a name that is taken.
        os.link(part, file)
    except FileExistsError as error:
        msg = f"{file} exists already. Name another file, or remove it first."
        raise ConfigError(msg) from error
    except OSError as error:
        msg = f"{file} cannot be written ({error.strerror}). Choose another folder."
        raise ConfigError(msg) from error
    finally:
        part.unlink(missing_ok=True)
