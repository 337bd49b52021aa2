"""Markdown that grows, laid out once for each piece.

A widget of Textual 8.2.8 asks for another layout of the whole screen when its size has changed,
since scrollbars may come or go. In a growing answer that is nearly each time, from the paragraph,
the Markdown and what is around them. These here never scroll by themselves, so they do without.
"""

from __future__ import annotations

from typing import cast

from textual.geometry import Size
from textual.reactive import Reactive
from textual.widgets import Markdown
from textual.widgets.markdown import MarkdownBlock

_GROWING = (
    *("h1", "h2", "h3", "h4", "h5", "h6", "paragraph_open", "blockquote_open"),
    *("bullet_list_open", "ordered_list_open"),
    *("list_item_ordered_open", "list_item_unordered_open"),
)
"""Blocks that do not scroll; code and tables may, sideways."""


def _block(kind: type[MarkdownBlock]) -> type[MarkdownBlock]:
    # The name stays, for the style sheet goes by it.
    made = type(kind.__name__, (kind,), {"virtual_size": Reactive(Size(0, 0))})
    return cast("type[MarkdownBlock]", made)


class ReplyMarkdown(Markdown):
    """The text of an answer."""

    virtual_size: Reactive[Size] = Reactive(Size(0, 0))
    BLOCKS = Markdown.BLOCKS | {name: _block(Markdown.BLOCKS[name]) for name in _GROWING}
