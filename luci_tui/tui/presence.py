"""Who looks at the screen since when, what ended meanwhile, and how the person is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from luci_tui.errors import LuciError
from luci_tui.tui.attention import Attention
from luci_tui.tui.seen import Seen
from luci_tui.tui.watch import HostWatch

if TYPE_CHECKING:
    from luci_tui.host.client import HostClient
    from luci_tui.tui.away import Ended
    from luci_tui.tui.services import Services

OPENING_S = 3.0
"""What ended meanwhile stands below the chat that is gone on with, if that opens so quickly."""


class Presence:
    """Joins the terminal's focus, the host's events and the file of the last look.

    Args:
        services: What the app hands to its screens.
        write: Takes escape sequences to the terminal.
        say: Shows one sentence for some seconds; True = it tells of a failure.
        show: Puts a text into the transcript.
        chat_gone: Called with the id of a chat that was deleted or put away.
    """

    def __init__(
        self,
        services: Services,
        write: Callable[[str], None],
        say: Callable[[str, bool], None],
        show: Callable[[str], Awaitable[None]],
        chat_gone: Callable[[str], None],
    ) -> None:
        terminal = services.terminal
        self._services = services
        self._write_out = write
        self._say = say
        self._show = show
        self._chat_gone = chat_gone
        self._is_lost = False
        self._seen = Seen(services.home)
        self._since_s = self._seen.read()
        self.is_first = self._seen.is_first
        """No screen was ever opened here."""
        self._looked_s = services.now_s()
        """When somebody looked last, seconds since 1970."""
        self._chat_opened = asyncio.Event()
        self._looking_back: asyncio.Task[None] | None = None
        self.attention = Attention(
            self._write,
            has_title=terminal is not None and terminal.has_title,
            rings=terminal is not None and services.preferences.bell,
        )

    async def run(self) -> None:
        """Follow the host until this is cancelled; nothing of it is started."""
        link = self._services.link
        if link is None:
            return
        watch = HostWatch(link, self._ended, self._chat_gone, self._attached, self._services.now_s)
        try:
            await watch.run()
        finally:
            if self._looking_back is not None:
                self._looking_back.cancel()

    def chat_opened(self) -> None:
        """The chat stands, with what it goes on with."""
        self._chat_opened.set()

    def answer_began(self) -> None:
        """An answer is being given."""
        self.attention.set_work("at work")

    def answer_ended(self, took_s: float) -> None:
        """An answer came to its end."""
        self.attention.set_work("")
        self.attention.ended(took_s)

    def touch(self) -> None:
        """Somebody pressed a key or used the mouse."""
        self._looked_s = self._services.now_s()
        self.attention.touch()

    def quiet_s(self) -> float:
        """Return for how long nobody has done anything."""
        return self._services.now_s() - self._looked_s

    def focus(self, has_focus: bool) -> None:
        """Take what the terminal says about its focus."""
        if has_focus or self.attention.is_looked_at:
            self._looked_s = self._services.now_s()
        self.attention.focus(has_focus)

    def leave(self) -> None:
        """The screen is left: keep when somebody looked last, and give the title back."""
        now_s = self._services.now_s()
        # A line that broke may have been dead for a while before anybody noticed.
        is_here = self.attention.is_looked_at and not self._is_lost
        self._seen.mark(now_s if is_here else min(self._looked_s, now_s))
        self.attention.close()

    def lose_terminal(self) -> None:
        """Nothing may be written any more: it might block for ever."""
        self._is_lost = True

    def _write(self, sequence: str) -> None:
        if not self._is_lost:
            self._write_out(sequence)

    def _ended(self, ended: Ended) -> None:
        if self.attention.is_looked_at:
            self._looked_s = self._services.now_s()
        self.attention.ended(ended.took_s)
        words = ended.words
        self._say(f"{words[0].upper()}{words[1:]}.", ended.is_failure)

    def _attached(self, client: HostClient) -> None:
        if self._looking_back is None:
            self._looking_back = asyncio.create_task(self._look_back(client), name="look back")

    async def _look_back(self, client: HostClient) -> None:
        """Tell once what ended before this screen was there."""
        from luci_tui.tui.away import away_text, look_back

        now_s = self._services.now_s()
        if self._since_s is not None:
            since_s = min(self._since_s, now_s)
            try:
                text = away_text(await look_back(client, since_s), since_s, now_s)
            except LuciError:
                # It is told the next time, for the last look stays what it was.
                return
            if text:
                try:
                    async with asyncio.timeout(OPENING_S):
                        await self._chat_opened.wait()
                except TimeoutError:
                    pass  # a large model may load for minutes
                await self._show(text)
        self._seen.mark(now_s)
