"""Find words in titles and messages; any text is a valid query."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from luci_tui.chat.records import Role, SearchHit

MAX_WORDS = 32
"""Words of a query that are looked for; more make no search sharper."""
MAX_RANKED = 5000
"""The newest matches among which the best ones are chosen; ranking costs time for each match."""
_SNIPPET_TOKENS = 14
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
"""Noncharacters, which no text for people contains."""

Fetch = Callable[[str, tuple[object, ...]], list[Any]]
"""(SQL, its values) -> rows."""


class SearchOrder(StrEnum):
    """Which hits come first."""

    BEST = "best"
    """Those in which the words are rare and dense (BM25), among the newest MAX_RANKED matches."""
    NEWEST = "newest"
    """Those that were stored last."""


def match_expression(query: str) -> str:
    """Turn any text into an FTS5 expression: all words, the last one as the start of a word.

    Every word is quoted, so that operators, quotes and brackets are only text.
    Source: https://www.sqlite.org/fts5.html#fts5_strings

    Returns:
        The expression; empty = there is nothing in the text that could be looked for.
    """
    words = [
        word.replace('"', '""')
        for word in query.replace("\0", " ").encode("utf-8", "replace").decode().split()
        if any(char.isalnum() for char in word)
    ][:MAX_WORDS]
    if not words:
        return ""
    quoted = [f'"{word}"' for word in words]
    # Who typed a space or a sign after the last word has finished it.
    return " ".join(quoted) + ("*" if query[-1].isalnum() else "")


def search(fetch: Fetch, query: str, order: SearchOrder, limit: int) -> list[SearchHit]:
    """Return hits in titles, then hits in messages, at most `limit` of them."""
    expression = match_expression(query)
    if not expression:
        return []
    hits = _titles(fetch, expression, order, limit)
    if len(hits) < limit:
        hits += _texts(fetch, expression, order, limit - len(hits))
    return hits


_ORDERS = {SearchOrder.BEST: "rank", SearchOrder.NEWEST: "found.rowid DESC"}


def _titles(fetch: Fetch, expression: str, order: SearchOrder, limit: int) -> list[SearchHit]:
    rows = fetch(
        "SELECT chats.id, chats.title, snippet(found_titles, 0, ?, ?, '…', ?), chats.updated_ms"
        " FROM found_titles AS found JOIN chats ON chats.n = found.rowid"
        f" WHERE found_titles MATCH ? ORDER BY {_ORDERS[order]} LIMIT ?",
        (_OPEN, _CLOSE, _SNIPPET_TOKENS, expression, limit),
    )
    return [_hit(str(row[0]), str(row[1]), None, None, str(row[2]), int(row[3])) for row in rows]


def _texts(fetch: Fetch, expression: str, order: SearchOrder, limit: int) -> list[SearchHit]:
    first_n = 0
    if order is SearchOrder.BEST:
        oldest = fetch(
            "SELECT rowid FROM found_texts WHERE found_texts MATCH ?"
            " ORDER BY rowid DESC LIMIT 1 OFFSET ?",
            (expression, MAX_RANKED - 1),
        )
        first_n = int(oldest[0][0]) if oldest else 0
    rows = fetch(
        "SELECT messages.chat_id, chats.title, messages.id, messages.role,"
        " snippet(found_texts, 0, ?, ?, '…', ?), messages.created_ms"
        " FROM found_texts AS found JOIN messages ON messages.n = found.rowid"
        " JOIN chats ON chats.id = messages.chat_id"
        " WHERE found_texts MATCH ? AND found.rowid >= ? AND messages.kind = 'text'"
        f" ORDER BY {_ORDERS[order]} LIMIT ?",
        (_OPEN, _CLOSE, _SNIPPET_TOKENS, expression, first_n, limit),
    )
    return [
        _hit(str(row[0]), str(row[1]), str(row[2]), Role(row[3]), str(row[4]), int(row[5]))
        for row in rows
    ]


def _hit(
    chat_id: str, title: str, message_id: str | None, role: Role | None, marked: str, created: int
) -> SearchHit:
    snippet, marks = _unmark(marked)
    return SearchHit(
        chat_id=chat_id,
        title=title,
        message_id=message_id,
        role=role,
        snippet=snippet,
        marks=marks,
        created_ms=created,
    )


def _unmark(marked: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Take the marks out of a snippet and say where they were."""
    text, marks, start = "", list[tuple[int, int]](), 0
    for char in " ".join(marked.split()):
        if char == _OPEN:
            start = len(text)
        elif char == _CLOSE:
            marks.append((start, len(text)))
        else:
            text += char
    return text, tuple(marks)
