"""What stands in the transcript: the person's messages, the model's replies, and notices.

Text of a model is sanitised before it becomes part of a widget, and no widget here reads markup
from it: "[red]" stays "[red]", and "<b>" stays "<b>".
"""

from __future__ import annotations

import asyncio

from markdown_it import MarkdownIt
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Size
from textual.message import Message
from textual.reactive import Reactive
from textual.timer import Timer
from textual.widgets import Markdown, Static

from luci_tui.chat.sanitize import Sanitizer, sanitize
from luci_tui.tui.chat.shown import Shown
from luci_tui.tui.widgets.redraw_pace import RedrawPace
from luci_tui.tui.widgets.reply_markdown import ReplyMarkdown
from luci_tui.tui.widgets.short_blocks import ShortBlocks

REDRAW_S = 0.1
"""Least time between two redraws of a growing reply; see also redraw_pace.py."""

REDRAW_SLOW_S = 0.2
"""The same where every byte goes through a network."""

MAX_CHARACTERS = 4000
MAX_LINES = 40
"""A longer message of the person is shown in part until more is wanted."""
MAX_UNFOLDED = 100_000
"""Characters that are drawn of it then; what is copied or exported is whole."""
MAX_MARKDOWN = 40_000
"""A longer reply is drawn as plain text once it is whole: each of its blocks is a widget."""
TAIL_CHARACTERS = 600
"""What is seen of the thinking while it grows."""


def markdown_parser() -> MarkdownIt:
    """Return a parser that shows HTML as text; Textual's own drops it without a word."""
    return MarkdownIt("gfm-like", {"html": False})


class UserMessage(Static):
    """What the person sent.

    Args:
        text: All of it.
        facts: A line about it below, e.g. which version it is; empty = none.
        is_unfolded: A long message is shown with all of its lines.
    """

    def __init__(self, text: str, facts: str = "", *, is_unfolded: bool = False) -> None:
        self._text = text
        self._facts = facts
        super().__init__(self._words(is_unfolded=is_unfolded), markup=False)

    def show(self, facts: str, *, is_unfolded: bool) -> None:
        """Show other facts, or more or less of the text."""
        self._facts = facts
        self.update(self._words(is_unfolded=is_unfolded))

    def _words(self, *, is_unfolded: bool) -> str:
        shown, n_left = cut_text(self._text, is_unfolded=is_unfolded)
        lines = [f"> {sanitize(shown)}"]
        if n_left:
            hint = "y copies them, x exports them" if is_unfolded else "Space shows them"
            lines.append(f"  … {n_left:,} more characters ({hint})")
        if self._facts:
            lines += [f"  {fact}" for fact in self._facts.splitlines()]
        return "\n".join(lines)


def cut_text(text: str, *, is_unfolded: bool) -> tuple[str, int]:
    """Give what is shown of a message of the person, and how many characters are not."""
    if is_unfolded:
        shown = text[:MAX_UNFOLDED]
    else:
        shown = text[:MAX_CHARACTERS]
        lines = shown.split("\n", MAX_LINES)
        shown = "\n".join(lines[:MAX_LINES])
    return shown, len(text) - len(shown)


class Notice(Static):
    """One sentence of the app itself, with a next step."""

    def __init__(self, text: str, *, is_error: bool = False) -> None:
        mark = "Error: " if is_error else ""
        super().__init__(f"{mark}{sanitize(text)}", markup=False)
        self.set_class(is_error, "-error")


class Fold(Vertical):
    """A title with a text below it that can be hidden."""

    class Asked(Message):
        """The title was clicked."""

    def __init__(self, *, classes: str) -> None:
        super().__init__(classes=classes)
        self._title = Static(classes="fold-title", markup=False)
        self._text = Static(classes="fold-text", markup=False)
        self._text.display = False

    @property
    def is_open(self) -> bool:
        """The text is shown."""
        return self._text.display

    def compose(self) -> ComposeResult:
        """Lay out title and text."""
        yield self._title
        yield self._text

    def say(self, title: str, text: str, *, is_open: bool) -> None:
        """Show this."""
        self._title.update(title)
        self._text.update(text)
        self._text.display = is_open

    def on_click(self, event: events.Click) -> None:
        """Ask for the text, or for its end."""
        if event.widget is self._title:
            event.stop()
            self.post_message(self.Asked())


class Reply(Vertical):
    """One answer of the model while it grows and after.

    Args:
        is_plain: It is no Markdown.
        redraw_s: Least time between two redraws.
        whole: What is drawn where the answer is there already.
    """

    virtual_size: Reactive[Size] = Reactive(Size(0, 0))  # as in ReplyMarkdown

    def __init__(
        self, *, is_plain: bool, redraw_s: float = REDRAW_S, whole: Shown | None = None
    ) -> None:
        super().__init__()
        self._whole = whole
        self._redraw_s = redraw_s
        self._sanitizers = (Sanitizer(), Sanitizer())
        self._pending: list[str] = []
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._has_new_thoughts = False
        self.is_thinking_open: bool | None = None
        """Whether the thinking is shown; None = as is best while the answer grows."""
        self._drawing = asyncio.Lock()
        self._blocks = ShortBlocks()
        self._timer: Timer | None = None
        self.pace = RedrawPace()
        """When it is drawn again while it grows."""
        self._thinking = Fold(classes="thinking")
        is_plain = is_plain or (whole is not None and len(whole.text) > MAX_MARKDOWN)
        self._body: Static | Markdown = (
            Static(classes="plain", markup=False)
            if is_plain
            else ReplyMarkdown(parser_factory=markdown_parser, open_links=False, classes="markdown")
        )
        self._calls = Static(classes="calls", markup=False)
        self._truth = Static(classes="truth", markup=False)
        self._marks = Static(classes="marks", markup=False)
        self._facts = Static(classes="facts", markup=False)
        for part in (self._thinking, self._calls, self._marks, self._truth, self._facts):
            part.display = False
        self.is_settled = False
        """All that is known of it has been drawn."""

    @property
    def text(self) -> str:
        """The answer so far, sanitised."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The thinking so far, sanitised."""
        return "".join(self._thoughts)

    def compose(self) -> ComposeResult:
        """Lay out thinking, answer, calls of tools, marks and the truth line."""
        yield self._thinking
        yield self._body
        yield self._calls
        yield self._marks
        yield self._truth
        yield self._facts

    async def on_mount(self) -> None:
        """Draw what is there already."""
        if (whole := self._whole) is not None:
            self._text = [sanitize(whole.text)]
            self._thoughts = [sanitize(whole.reasoning)] if whole.reasoning else []
            await self._body_update(self.text)
            self._show_thinking()
        self.is_settled = True
        self.refresh(layout=True)

    def add(self, text: str, reasoning: str) -> None:
        """Take a piece of the answer; it is drawn at once or with the next redraw."""
        answer_filter, thinking_filter = self._sanitizers
        if shown := answer_filter.feed(text):
            # With the answer's first piece the thinking is folded.
            self._has_new_thoughts |= bool(self._thoughts) and not self._text
            self._pending.append(shown)
            self._text.append(shown)
        if thought := thinking_filter.feed(reasoning):
            self._thoughts.append(thought)
            self._has_new_thoughts = True
        if self._timer is None:
            self._timer = self.set_interval(self._redraw_s, self._redraw_in_turn, name="redraw")
            self.call_later(self._redraw_in_turn)

    async def finish(self) -> None:
        """Draw what is left; nothing may be added after it."""
        if self._timer is not None:
            self._timer.stop()
        await self._redraw()
        if self._blocks.has_split and len(self.text) <= MAX_MARKDOWN:
            await self._body_update(self.text)

    def show_facts(self, truth: str, marks: list[str], facts: str = "") -> None:
        """Show other lines below the answer."""
        _say(self._marks, "\n".join(sanitize(mark) for mark in marks))
        _say(self._truth, sanitize(truth))
        _say(self._facts, facts)

    def show_calls(self, lines: list[str]) -> None:
        """Show which tools the model asks for."""
        _say(self._calls, "\n".join(sanitize(line) for line in lines))

    def toggle_thinking(self) -> bool:
        """Show or hide the model's thinking, if there is any; gives whether it is shown."""
        self.is_thinking_open = not self._thinking.is_open
        self._show_thinking()
        return self.is_thinking_open

    def on_fold_asked(self, event: Fold.Asked) -> None:
        """Show or hide the thinking."""
        event.stop()
        self.toggle_thinking()

    def _show_thinking(self) -> None:
        thoughts = self.reasoning
        self._thinking.display = bool(thoughts)
        if not thoughts:
            return
        is_growing = self._whole is None and not self._text
        is_open = self.is_thinking_open
        if is_open is None:
            is_open = is_growing
            thoughts = thoughts[-TAIL_CHARACTERS:]
        verb = "hides" if is_open else "shows"
        title = f"Thinking ({len(self.reasoning)} characters, Ctrl-T {verb} them)"
        self._thinking.say(title, thoughts, is_open=is_open)

    async def _redraw_in_turn(self) -> None:
        """Redraw, unless that would cost the model too much yet."""
        if self.pace.is_due():
            self.pace.begin()
            await self._redraw()

    async def _redraw(self) -> None:
        """Draw what came since the last time; what is being drawn is waited for."""
        # An answer that is stopped ends the task that waits here; what is drawn is drawn wholly.
        await asyncio.shield(self._draw_pending())

    async def _draw_pending(self) -> None:
        # The timer and the end of the answer may both want to draw. Textual's MarkdownStream is
        # for this, but what it was given last is lost if it is stopped before its task began.
        async with self._drawing:
            if self._has_new_thoughts:
                self._has_new_thoughts = False
                self._show_thinking()
            if not self._pending:
                return
            text = "".join(self._pending)
            self._pending.clear()
            if isinstance(self._body, Markdown):
                await self._body.append(self._blocks.feed(text))
            else:
                self._body.update(self.text)

    async def _body_update(self, text: str) -> None:
        async with self._drawing:
            if isinstance(self._body, Markdown):
                await self._body.update(text)
            else:
                self._body.update(text)


def _say(line: Static, text: str) -> None:
    line.display = bool(text)
    line.update(text)
