"""`luci chat --inline`: a chat in the shell, line by line, without a full screen."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from luci_tui.cli.chat_link import TurnSink, open_chats, tell_about
from luci_tui.cli.output import narrate
from luci_tui.errors import LuciError
from luci_tui.host.wiring import BUILTIN, EngineKind, name_for_host

if TYPE_CHECKING:
    from luci_tui.chat.records import ChatSession
    from luci_tui.chat.turn_events import TurnEvent
    from luci_tui.host.chat_backend import ChatBackend

PROMPT = "> "
HELP = """\
/new      begin another chat
/again    answer the last message once more
/title T  give the chat a title
/quit     leave, as Ctrl-D does
A line that ends with \\ goes on in the next one. Ctrl-C stops an answer."""


def chat_inline(kind: EngineKind, model: str | None, chat_id: str) -> None:
    """Read lines from stdin and answer each, until the input ends."""
    # Between two answers no loop runs, so the terminal's own line editing stays in charge.
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            chats = runner.run(stack.enter_async_context(open_chats(kind)))
            talk = _Talk(chats, model)
            runner.run(talk.begin(chat_id))
            while (line := _read_line()) is not None:
                if not _is_answered(runner, talk, line):
                    break
        finally:
            runner.run(stack.aclose())


def _is_answered(runner: asyncio.Runner, talk: _Talk, line: str) -> bool:
    """Do what a line says; False = it says to leave."""
    if line.strip() in {"/quit", "/exit"}:
        return False
    try:
        runner.run(talk.take(line))
    except KeyboardInterrupt:
        narrate("stopped; what came is kept")
    except LuciError as error:
        narrate(f"luci: {error.message}")
    return True


def _read_line() -> str | None:
    """Read one line, or several that are joined with a backslash; None = the input ended."""
    lines: list[str] = []
    while True:
        try:
            line = input(("  " if lines else PROMPT) if sys.stdin.isatty() else "")
        except EOFError:
            return "\n".join(lines) if lines else None
        except KeyboardInterrupt:
            # As in a shell: the line is thrown away.
            narrate("")
            lines.clear()
            continue
        if line.endswith("\\"):
            lines.append(line[:-1])
            continue
        return "\n".join([*lines, line])


class _Talk:
    """The chat that goes on."""

    def __init__(self, chats: ChatBackend, model: str | None) -> None:
        self._chats = chats
        self._model = None if model is None else name_for_host(model)
        self._session: ChatSession | None = None

    async def begin(self, chat_id: str) -> None:
        """Open a chat that is there, or be ready for a new one."""
        if not chat_id:
            return
        opened = await self._chats.get(chat_id)
        self._session = opened.session
        narrate(f"{opened.session.title or 'a chat without a title'} ({opened.session.id})")

    async def take(self, line: str) -> None:
        """Answer a line, or do what it asks for."""
        command, _, rest = line.strip().partition(" ")
        match command:
            case "":
                return
            case "/help" | "/?":
                narrate(HELP)
            case "/new":
                self._session = None
            case "/title" if self._session is not None:
                session = await self._chats.update(self._session.id, {"title": rest})
                narrate(f"{session.title} ({session.id})")
            case "/again":
                await self._again()
            case _ if command.startswith("/") and "/" not in command[1:]:
                narrate(f"There is no {command}. /help lists what there is.")
            case _:
                await self._send(line)

    async def _send(self, text: str) -> None:
        if self._session is None:
            # A chat without a message would only stand in the list.
            self._session = await self._chats.create({"model": self._model or BUILTIN})
        options = {"model": self._model} if self._model else {}
        events = self._chats.send(self._session.id, text, parent_id=None, options=options)
        await self._show(TurnSink(), events)

    async def _again(self) -> None:
        if self._session is None:
            narrate("There is no answer yet that could be made again.")
            return
        opened = await self._chats.get(self._session.id)
        if opened.messages:
            last = opened.messages[-1].id
            events = self._chats.regenerate(self._session.id, last, options={})
            await self._show(TurnSink(), events)

    async def _show(self, sink: TurnSink, events: AsyncGenerator[TurnEvent]) -> None:
        shown = await sink.read(events)
        if shown.done is not None:
            tell_about(shown.done)
