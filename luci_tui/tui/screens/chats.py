"""All chats: open, rename, export, delete, and look for words in their messages."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Input

from luci_tui.errors import ChatError, LuciError
from luci_tui.tui.keymap import binding
from luci_tui.tui.messages import ChatGone, ChatWanted
from luci_tui.tui.mode_list import TABS
from luci_tui.tui.screens.ask import AskScreen
from luci_tui.tui.screens.live import NO_HOST, LiveScreen
from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.filter_line import FilterLine
from luci_tui.tui.widgets.key_footer import KeyFooter
from luci_tui.tui.widgets.modebar import ModeBar
from luci_tui.tui.widgets.rows import Column, Row, Rows
from luci_tui.tui.widgets.search_line import SearchLine
from luci_tui.tui.widgets.status import StatusLine
from luci_tui.tui.widgets.text import clock, one_line
from luci_tui.units import format_count

if TYPE_CHECKING:
    from luci_tui.chat.records import ChatRow, SearchHit
    from luci_tui.host.client import HostClient
    from luci_tui.tui.services import Services

MAX_CHATS = 10_000
N_NEWEST = 100
"""Chats that are asked for again and again; reading ten thousand would keep keys waiting."""
MAX_HITS = 200
REFRESH_S = 10.0
"""So often while the chats are looked at; they change seldom."""
GONE_S = 0.2
"""Chats that go within this time go together; somebody may delete a thousand."""
TYPING_S = 0.15
"""The host is asked when nothing was typed for so long."""
EMPTY = "No chat is kept yet. The first prompt begins one."
TYPE = "Type what to look for."
NO_HIT = "No message has all of these words."
CHAT_COLUMNS = (
    Column("last used", 11),
    Column("model", 16, rank=2),
    Column("messages", 8, is_number=True, rank=1),
    Column("title"),
)
HIT_COLUMNS = (
    Column("said", 11),
    Column("by", 9, rank=2),
    Column("chat", 24, rank=1),
    Column("text"),
)
_NO_NAME = re.compile(r"[^\w-]+")


class ChatsScreen(LiveScreen):
    """The chats, or the places where some words stand.

    Args:
        services: What the app hands to its screens.
        words: What to look for; empty = the chats are shown.
    """

    NAME: ClassVar = "chats"
    HELP: ClassVar = (
        "Every chat that is kept. Enter goes on with one. A search looks for all words, the last "
        "of them as the beginning of a word."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("chats.search", "search"),
        binding("chats.rename", "rename"),
        binding("chats.export", "export"),
        binding("chats.delete", "delete"),
        binding("chats.close", "close"),
    ]

    def __init__(self, services: Services, words: str = "") -> None:
        super().__init__(services)
        self._words = words
        self._chats: dict[str, ChatRow] = {}
        self._lines: dict[str, Row] = {}
        """How each of them is shown."""
        self._hits: list[SearchHit] = []
        self._asked_at_s = float("-inf")
        self._is_whole = False
        """All chats were read, so that only the newest are to be asked for."""
        self._gone: set[str] = set()
        """What went since the chats were asked for last."""
        self._takes_away = False
        """They will be taken from the list in a moment."""

    # ---- what is seen

    def compose(self) -> ComposeResult:
        """Lay out the frame of a mode, which this is not: one comes from the chat and goes back."""
        yield ModeBar(TABS, "chat")
        yield StatusLine()
        with Container(id="body", classes="chats"):
            yield Rows(CHAT_COLUMNS, id="all-chats")
            yield Rows(HIT_COLUMNS, id="hits")
            yield Block(id="chat-details", classes="details")
        yield SearchLine()
        yield FilterLine()
        yield KeyFooter()

    def on_mount(self) -> None:
        """Show the chats, or look for the words that were given."""
        self.query_one("#hits").display = False
        if self._words:
            self.query_one(SearchLine).open(self._words)

    @property
    def _is_searching(self) -> bool:
        return self.query_one(SearchLine).display

    @property
    def list(self) -> Rows:
        """The list that is seen."""
        return self.query_one("#hits" if self._is_searching else "#all-chats", Rows)

    async def look(self, client: HostClient | None) -> None:
        """See `LiveScreen`."""
        if client is None:
            self.set_status(NO_HOST)
            return
        now_s = asyncio.get_running_loop().time()
        if now_s - self._asked_at_s < REFRESH_S:
            return
        # It imports the chats' records, which the first frame does not wait for.
        from luci_tui.host.chat_client import HostChats

        gone = frozenset(self._gone)
        limit = N_NEWEST if self._is_whole else MAX_CHATS
        came = await HostChats(client).list(limit=limit, archived=False)
        self._asked_at_s = now_s
        self._gone -= gone
        known = list(self._chats.values())
        kept = [row for row in known if row.session.id not in gone]
        rows = with_newest(kept, came) if self._is_whole else list(came)
        if self._is_whole and rows == known:
            return
        self._is_whole = True
        self._list_chats(rows)
        self._show()

    def on_chat_gone(self, message: ChatGone) -> None:
        """Take a chat away that somebody has deleted or put away."""
        self._gone.add(message.chat_id)
        if not self._takes_away:
            self._takes_away = True
            self.set_timer(GONE_S, self._take_gone_away)

    def _take_gone_away(self) -> None:
        self._takes_away = False
        if self._gone.isdisjoint(self._chats):
            return
        self._list_chats(list(self._chats.values()))
        if self._is_searching:
            self._search(self._words)
        self._show()

    def _list_chats(self, rows: Sequence[ChatRow]) -> None:
        known, now_s = self._chats, self.services.now_s()
        lines = self._lines
        self._chats = {row.session.id: row for row in rows if row.session.id not in self._gone}
        self._lines = {
            name: lines[name] if name in lines and known[name] == row else _chat_row(row, now_s)
            for name, row in self._chats.items()
        }
        self.query_one("#all-chats", Rows).set_rows(list(self._lines.values()), EMPTY)

    def poke(self) -> None:
        """Ask for all chats at once."""
        self._ask_for_all()
        super().poke()

    def action_reload(self) -> None:
        """Ask again, and start a host where none runs."""
        self._ask_for_all()
        super().action_reload()

    def _ask_for_all(self) -> None:
        self._asked_at_s = float("-inf")
        self._is_whole = False

    def _show(self) -> None:
        is_searching = self._is_searching
        self.query_one("#hits").display = is_searching
        self.query_one("#all-chats").display = not is_searching
        if is_searching and self._words.strip():
            n_hits = len(self._hits)
            places = f"{format_count(n_hits, 'place')} {'has' if n_hits == 1 else 'have'}"
            at_least = "at least " if n_hits >= MAX_HITS else ""
            self.set_status(f"{at_least}{places} “{self._words.strip()}”")
        else:
            self.set_status(format_count(len(self._chats), "chat"))
        self.show_filter_count()
        self._show_details()
        self.offer_keys()

    def _show_details(self) -> None:
        chat, hit = self._chosen(), self._hit()
        lines: list[str] = []
        if hit is not None:
            lines.append(_marked(hit))
        if chat is not None:
            began = clock(chat.session.created_ms / 1000, self.services.now_s())
            parts = (chat.session.id, chat.session.model or "no model", f"begun {began}")
            lines.append(" · ".join(parts))
        details = self.query_one("#chat-details", Block)
        details.display = bool(lines)
        details.say("\n".join(lines))

    def _hit(self) -> SearchHit | None:
        key = self.list.key if self._is_searching else ""
        return self._hits[int(key)] if key else None

    def _chosen(self) -> ChatRow | None:
        """The chat that the cursor is on, in either list."""
        hit = self._hit()
        return self._chats.get(hit.chat_id if hit is not None else self.list.key)

    def on_rows_moved(self) -> None:
        """Show the details of another chat."""
        self._show_details()
        self.offer_keys()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what can be done to a chat only where there is one."""
        if action in ("rename", "export", "delete"):
            return self._chosen() is not None
        if action == "filter":
            return not self._is_searching
        return super().check_action(action, parameters)

    # ---- looking for words

    def action_search(self) -> None:
        """Type words to look for in all messages."""
        words = self.query_one(FilterLine)
        with words.prevent(FilterLine.Left, FilterLine.Changed):
            words.action_clear()
        self.query_one("#all-chats", Rows).set_filter("")
        self.query_one(SearchLine).open(self._words)
        self._show()

    def on_search_line_changed(self, message: SearchLine.Changed) -> None:
        """Look for other words."""
        self._words = message.text
        self._search(message.text)

    @work(exclusive=True, group="search", exit_on_error=False)
    async def _search(self, words: str) -> None:
        await asyncio.sleep(TYPING_S)
        from luci_tui.host.chat_client import HostChats

        try:
            hits = []
            if words.strip():
                hits = await HostChats(await self.client()).search(words, limit=MAX_HITS)
        except LuciError as error:
            self.set_status(f"Error: {error.message}")
            return
        self._hits = [*hits]
        now_s = self.services.now_s()
        rows = [_hit_row(place, hit, now_s) for place, hit in enumerate(self._hits)]
        found = self.query_one("#hits", Rows)
        found.set_rows(rows, NO_HIT if words.strip() else TYPE)
        found.action_first()
        self._show()

    def on_search_line_left(self, message: SearchLine.Left) -> None:
        """Go to what was found, or back to the chats."""
        if message.is_closed:
            self._hits = []
            self._words = ""
            # A row of an old search would stand for a hit that is no longer there.
            self.query_one("#hits", Rows).set_rows([], TYPE)
        self._show()
        self.list.focus()

    # ---- what keys do

    def action_unfilter(self) -> None:
        """Take the filter away, then the search, then the page."""
        if self.query_one(FilterLine).text:
            super().action_unfilter()
        else:
            self.action_close()

    def action_close(self) -> None:
        """Leave the search, or go back to the chat."""
        if self._is_searching:
            self.query_one(SearchLine).close()
        else:
            self.dismiss()

    def on_rows_chosen(self) -> None:
        """Go on with the chat."""
        self._open()

    @work(group="act", exit_on_error=False)
    async def _open(self) -> None:
        chat, hit = self._chosen(), self._hit()
        if chat is None:
            return
        if hit is not None and hit.message_id is not None:
            await self._go_to_branch(chat.session.id, hit.message_id)
        wanted = ChatWanted(chat.session.id, chat.session.model)
        self.app.post_message(wanted)  # pyright: ignore[reportUnknownMemberType]
        self.dismiss()

    async def _go_to_branch(self, chat_id: str, message_id: str) -> None:
        """Make the branch the active one that has a message, if it is another."""
        from luci_tui.host.chat_client import HostChats

        try:
            chats = HostChats(await self.client())
            opened = await chats.get(chat_id)
            if all(message.id != message_id for message in opened.messages):
                await chats.update(chat_id, {"active_leaf_id": message_id})
        except LuciError as error:
            self.tell_failure(error)

    @work(group="act", exit_on_error=False)
    async def action_rename(self) -> None:
        """Ask for another title."""
        if (chat := self._chosen()) is None:
            return
        from luci_tui.host.chat_client import HostChats

        title = await self.asked(AskScreen("The title of the chat:", chat.session.title))
        if not title or title == chat.session.title:
            return
        try:
            await HostChats(await self.client()).update(chat.session.id, {"title": title})
        except LuciError as error:
            self.tell_failure(error)
        self.poke()

    @work(group="act", exit_on_error=False)
    async def action_delete(self) -> None:
        """Ask, then remove the chat."""
        if (chat := self._chosen()) is None:
            return
        from luci_tui.host.chat_client import HostChats

        messages = format_count(chat.n_messages, "message")
        question = (
            f"Delete “{one_line(chat.session.title)}” and its {messages}?\n"
            "It cannot be brought back."
        )
        if not await self.confirmed(question, "Delete"):
            return
        try:
            await HostChats(await self.client()).delete(chat.session.id)
        except LuciError as error:
            self.tell_failure(error)
            return
        if self._is_searching:
            self._search(self._words)
        self.poke()

    @work(group="act", exit_on_error=False)
    async def action_export(self) -> None:
        """Ask for a file, and write the chat to it."""
        if (chat := self._chosen()) is None:
            return
        from luci_tui.host.chat_client import HostChats

        start = f"{_NO_NAME.sub('-', chat.session.title)[:40].strip('-') or chat.session.id}.md"
        name = await self.asked(
            AskScreen("Write it to which file? *.md is for people, *.json without loss.", start)
        )
        if not name:
            return
        format_name = "json" if name.endswith(".json") else "markdown"
        try:
            chats = HostChats(await self.client())
            data, _ = await chats.export(chat.session.id, format_name)
            path = await asyncio.to_thread(_write_anew, name, data)
        except LuciError as error:
            self.tell_failure(error)
            return
        self.notify(one_line(f"Written to {path}."), markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep Enter in the lines from reaching anything else."""
        event.stop()


def with_newest(known: Sequence[ChatRow], newest: Sequence[ChatRow]) -> list[ChatRow]:
    """Put chats that were read again before those that are known.

    What is as new as they are and not among them is gone. Of older chats the loss shows only when
    all are read again.

    Args:
        known: The newest first.
        newest: The same, at most `N_NEWEST`; fewer = there are no others.
    """
    if len(newest) < N_NEWEST:
        return list(newest)
    ids = {row.session.id for row in newest}
    since_ms = newest[-1].session.updated_ms
    older = (row for row in known if row.session.updated_ms <= since_ms)
    return [*newest, *(row for row in older if row.session.id not in ids)][:MAX_CHATS]


def _chat_row(row: ChatRow, now_s: float) -> Row:
    session = row.session
    return Row(
        session.id,
        (
            clock(session.updated_ms / 1000, now_s),
            one_line(Path(session.model).name),
            f"{row.n_messages:,}",
            one_line(session.title) or "(without a prompt)",
        ),
    )


def _hit_row(place: int, hit: SearchHit, now_s: float) -> Row:
    who = {"user": "you", None: "title"}.get(hit.role, str(hit.role))
    return Row(
        str(place),
        (
            clock(hit.created_ms / 1000, now_s),
            who,
            one_line(hit.title),
            one_line(hit.snippet),
        ),
    )


def _marked(hit: SearchHit) -> str:
    """Put brackets around the words that were found; colour alone would say nothing."""
    text = hit.snippet
    for start, end in sorted(hit.marks, reverse=True):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return one_line(text)


def _write_anew(name: str, data: bytes) -> Path:
    """Write a file that is not there yet.

    Raises:
        ChatError: it is there, or cannot be written.
    """
    path = Path(name).expanduser().absolute()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except FileExistsError as error:
        msg = f"{path.name} is there already and is left as it is. Choose another name."
        raise ChatError(msg, code="export") from error
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", "") or str(error)
        msg = f"{path} cannot be written ({reason}). Choose another name."
        raise ChatError(msg, code="export") from error
    return path
