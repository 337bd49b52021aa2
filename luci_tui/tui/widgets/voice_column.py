"""One of several columns: who answers, how far it is, and what was said."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll

from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.message import Notice, Reply, UserMessage
from luci_tui.tui.widgets.text import one_line


class VoiceColumn(Vertical):
    """See `columns.VoiceView` for what its methods are for.

    Args:
        title: Who answers.
        redraw_s: Least time between two redraws of its answer.
        note: A sentence that stands above all that is said; empty = none.
    """

    def __init__(self, title: str, redraw_s: float, note: str = "") -> None:
        super().__init__(classes="voice")
        self._who = one_line(title)
        self.redraw_s = redraw_s
        self._title = Block(classes="voice-title")
        notes = [Notice(note)] if note else []
        self._said = VerticalScroll(*notes, can_focus=False, classes="voice-said")
        self._reply: Reply | None = None
        self._follows = False
        """It has begun to follow the last answer."""

    def compose(self) -> ComposeResult:
        """Lay out title and what is said."""
        yield self._title
        yield self._said

    def on_mount(self) -> None:
        """Show the name, and watch what is said grow."""
        self.say("")
        self.watch(self._said, "virtual_size", self.on_resize, init=False)

    def on_resize(self) -> None:
        """Follow what grows, once it is laid out."""
        self.call_after_refresh(self._follow)

    @property
    def reply(self) -> Reply | None:
        """The last answer; None = there is none."""
        return self._reply

    def say(self, words: str) -> None:
        """Say how far it is."""
        self._title.say(f"{self._who} · {words}" if words else self._who)

    async def begin(self, prompt: str) -> None:
        """Show the prompt."""
        await self._said.mount(UserMessage(prompt))
        self._said.scroll_end(animate=False)
        self._follows = False

    async def open_reply(self, *, is_plain: bool) -> None:
        """Begin an answer."""
        self._reply = Reply(is_plain=is_plain, redraw_s=self.redraw_s)
        await self._said.mount(self._reply)

    def add(self, text: str, reasoning: str) -> None:
        """Take a piece of the answer."""
        if self._reply is not None:
            self._reply.add(text, reasoning)

    async def end(self, truth: str, marks: list[str]) -> None:
        """End the answer."""
        if self._reply is not None:
            await self._reply.finish()
            self._reply.show_facts(truth, marks)

    async def tell(self, sentence: str, *, is_error: bool) -> None:
        """Say why there is no answer, or no whole one."""
        await self._said.mount(Notice(sentence, is_error=is_error))

    def _follow(self) -> None:
        """Stay at the end of what grows, from when on it is taller than the column.

        A short text stands at the top, beside the others; who scrolls up stays there.
        """
        height = self._said.size.height  # 0 = the column is not seen
        if not self._follows and 0 < height < self._said.virtual_size.height:
            self._follows = True
            self._said.anchor()

    def page(self, direction: int) -> None:
        """Scroll by a page."""
        if direction < 0:
            self._said.scroll_page_up(animate=False)
        else:
            self._said.scroll_page_down(animate=False)
