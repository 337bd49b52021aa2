"""`luci ask`: one turn of a chat that is kept."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import typer

from luci_tui.cli.chat_link import TurnSink, answer_as_json, open_chats, tell_about
from luci_tui.cli.main import Invocation
from luci_tui.cli.output import narrate, print_json
from luci_tui.cli.session import read_text, run_async
from luci_tui.errors import ChatError, ConfigError
from luci_tui.host.wiring import BUILTIN, name_for_host

if TYPE_CHECKING:
    from luci_tui.chat.records import ChatSession
    from luci_tui.chat.turn_events import TurnEvent
    from luci_tui.host.chat_backend import ChatBackend

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci ask "list the files in src"
  luci ask --model some.gguf "Why is the sky blue?"
  luci ask --last "And at sunset?"
  git diff | luci ask --new --system "Write a commit message."
  luci ask --resume
"""


@app.command(epilog=EPILOG)
def ask(
    ctx: typer.Context,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help='"-" or nothing reads stdin.')
    ] = None,
    chat: Annotated[
        str, typer.Option("--chat", "-c", metavar="ID", help="Go on in this chat.")
    ] = "",
    last: Annotated[
        bool, typer.Option("--last", "-l", help="Go on in the chat that was used last.")
    ] = False,
    new: Annotated[bool, typer.Option("--new", help="Begin a chat; this is the default.")] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="No prompt: read on in an answer, or make one that was broken off."
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="For this turn. [the chat's; builtin]"),
    ] = None,
    system: Annotated[str, typer.Option(help="System message of a new chat.")] = "",
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="Preset of a new chat; `luci presets list`.")
    ] = "",
    seed: Annotated[int | None, typer.Option(help="Seed of the sampler.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer.")] = None,
    summarise: Annotated[
        bool, typer.Option("--summarise", help="Sum up what no longer fits into the context.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask one thing, in a chat that is kept.

    The answer goes to stdout while it is written. Ctrl-C stops it and keeps what came.
    """
    if sum((bool(chat), last, new)) > 1:
        msg = "--chat, --last and --new exclude each other. Give one of them."
        raise ConfigError(msg)
    if resume and (prompt is not None or new):
        msg = "--resume takes no prompt and no --new. Leave them away."
        raise ConfigError(msg)
    if preset and (chat or last or resume):
        msg = "--preset is for a new chat. Leave it away, or --chat, --last and --resume."
        raise ConfigError(msg)
    text = "" if resume else read_text(prompt, "PROMPT")
    options: dict[str, object] = {
        "model": model and name_for_host(model),
        "seed": seed,
        "max_tokens": max_tokens,
        "policy": "summarise" if summarise else None,
    }
    turn = Turn(
        text=text,
        chat=chat,
        is_last=last or (resume and not chat),
        options={name: value for name, value in options.items() if value is not None},
        first={"model": name_for_host(model or BUILTIN), **_beginning(system, preset)},
        is_json=json_output,
    )
    run_async(_ask(cast("Invocation", ctx.obj), turn))


def _beginning(system: str, preset: str) -> dict[str, object]:
    """Say what a new chat begins with; a system message that was typed counts above a preset's."""
    if not preset:
        return {"system": system}
    from luci_tui.chat.presets import read_presets

    found = read_presets().find(preset)
    return {
        "system": system or found.system,
        "parameters": {"sampling_changes": found.sampling},
    }


@dataclass(frozen=True)
class Turn:
    """What one call of `luci ask` does."""

    text: str
    """Empty = resume."""
    chat: str
    is_last: bool
    options: dict[str, object]
    first: dict[str, object]
    """Fields of a new chat."""
    is_json: bool


async def _ask(invocation: Invocation, turn: Turn) -> None:
    async with open_chats(invocation.engine) as chats:
        session = await _session(chats, turn)
        sink = TurnSink(is_json=turn.is_json)
        if turn.text:
            events = chats.send(session.id, turn.text, parent_id=None, options=turn.options)
        else:
            events = await _resumed(chats, session, turn)
        shown = await sink.read(events)
    if shown.done is not None:
        tell_about(shown.done)
    if turn.is_json:
        print_json(answer_as_json(session.id, shown))
    elif not turn.chat and not turn.is_last:
        _tell_id(session)


def _tell_id(session: ChatSession) -> None:
    if sys.stderr.isatty():
        narrate(f"chat {session.id}; go on with `luci ask --last`")


async def _session(chats: ChatBackend, turn: Turn) -> ChatSession:
    if turn.chat:
        return (await chats.get(turn.chat)).session
    if turn.is_last:
        rows = await chats.list(limit=1, archived=False)
        if not rows:
            msg = "There is no chat yet. Begin one with `luci ask PROMPT`."
            raise ChatError(msg, code="chat_not_found")
        return rows[0].session
    return await chats.create(turn.first)


async def _resumed(
    chats: ChatBackend, session: ChatSession, turn: Turn
) -> AsyncGenerator[TurnEvent]:
    """Give the events of the answer that is missing."""
    opened = await chats.get(session.id)
    last = opened.messages[-1] if opened.messages else None
    if last is None or (last.role == "assistant" and last.state == "complete"):
        raise ChatError(
            f"There is nothing to resume: the last answer of the chat {session.id} is complete.",
            code="nothing_to_resume",
        )
    if last.state == "streaming":
        return chats.follow(session.id)
    return chats.regenerate(session.id, last.id, options=turn.options)
