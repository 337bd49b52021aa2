"""What stands in the transcript: the person's messages, the model's replies, and notices.

Text of a model is sanitised before it becomes part of a widget, and no widget here reads markup
from it: "[red]" stays "[red]", and "<b>" stays "<b>".
"""

from __future__ import annotations

from markdown_it import MarkdownIt
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.timer import Timer
from textual.widgets import Collapsible, Markdown, Static
from textual.widgets.markdown import MarkdownStream

from luci_tui.chat.sanitize import Sanitizer, sanitize
from luci_tui.tui.draft import shortened

REDRAW_S = 0.1
"""Least time between two redraws of a growing reply: each costs the model time on a small CPU."""

REDRAW_SLOW_S = 0.2
"""The same where every byte goes through a network."""


def markdown_parser() -> MarkdownIt:
    """Return a parser that shows HTML as text; Textual's own drops it without a word."""
    return MarkdownIt("gfm-like", {"html": False})


class UserMessage(Static):
    """What the person sent."""

    def __init__(self, text: str) -> None:
        super().__init__(f"> {sanitize(shortened(text))}", markup=False)


class Notice(Static):
    """One sentence of the app itself, with a next step."""

    def __init__(self, text: str, *, is_error: bool = False) -> None:
        mark = "Error: " if is_error else ""
        super().__init__(f"{mark}{sanitize(text)}", markup=False)
        self.set_class(is_error, "-error")


class Reply(Vertical):
    """One answer of the model while it grows and after."""

    def __init__(self, *, is_plain: bool, redraw_s: float = REDRAW_S) -> None:
        super().__init__()
        self._is_plain = is_plain
        self._redraw_s = redraw_s
        self._sanitizers = (Sanitizer(), Sanitizer())
        self._pending: list[str] = []
        self._text: list[str] = []
        self._thoughts = ""
        self._has_new_thoughts = False
        self._stream: MarkdownStream | None = None
        self._timer: Timer | None = None
        self._thinking_text = Static(markup=False)
        self._thinking = Collapsible(self._thinking_text, title="Thinking", classes="thinking")
        self._body: Static | Markdown = (
            Static(classes="plain", markup=False)
            if is_plain
            else Markdown(parser_factory=markdown_parser, open_links=False, classes="markdown")
        )
        self._truth = Static(classes="truth", markup=False)
        self._marks = Static(classes="marks", markup=False)

    @property
    def text(self) -> str:
        """The answer so far, sanitised."""
        return "".join(self._text)

    def compose(self) -> ComposeResult:
        """Lay out thinking, answer, marks and the truth line."""
        yield self._thinking
        yield self._body
        yield self._marks
        yield self._truth

    def on_mount(self) -> None:
        """Hide what has nothing to show."""
        self._thinking.display = False
        self._marks.display = False
        self._truth.display = False

    def add(self, text: str, reasoning: str) -> None:
        """Take a piece of the answer; it is drawn at once or with the next redraw."""
        answer_filter, thinking_filter = self._sanitizers
        if shown := answer_filter.feed(text):
            self._pending.append(shown)
            self._text.append(shown)
        if thought := thinking_filter.feed(reasoning):
            self._thoughts += thought
            self._has_new_thoughts = True
        if self._timer is None:
            self._timer = self.set_interval(self._redraw_s, self._redraw, name="redraw")
            self.call_later(self._redraw)

    async def finish(self, truth: str, marks: list[str]) -> None:
        """Draw what is left, the marks and the truth line; nothing may be added after it."""
        if self._timer is not None:
            self._timer.stop()
        await self._redraw()
        if self._stream is not None:
            await self._stream.stop()
        self._show(self._marks, "\n".join(sanitize(mark) for mark in marks))
        self._show(self._truth, truth)

    def toggle_thinking(self) -> None:
        """Show or hide the model's thinking, if there is any."""
        self._thinking.collapsed = not self._thinking.collapsed

    async def _redraw(self) -> None:
        if self._has_new_thoughts:
            self._has_new_thoughts = False
            self._thinking.display = True
            self._thinking.title = f"Thinking ({len(self._thoughts)} characters, Ctrl-T shows them)"
            self._thinking_text.update(self._thoughts)
        if not self._pending:
            return
        text = "".join(self._pending)
        self._pending.clear()
        if isinstance(self._body, Markdown):
            if self._stream is None:
                self._stream = Markdown.get_stream(self._body)
            await self._stream.write(text)
        else:
            self._body.update(self.text)

    @staticmethod
    def _show(line: Static, text: str) -> None:
        line.display = bool(text)
        line.update(text)
