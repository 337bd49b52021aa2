"""How settings are written into the list and the details; no widget is known here."""

from __future__ import annotations

from luci_tui.tui.modes.settings.reading import Entry, Page
from luci_tui.tui.widgets.rows import Column, Row
from luci_tui.tui.widgets.text import one_line

COLUMNS = (
    Column("setting", least=22),
    Column("value", least=10),
    Column("from", 17),
    Column("host", 7, rank=1),
)
MAX_MISTAKES = 3
"""Sentences that stand above the list; `luci config validate` has all of them."""
EMPTY = "Nothing is set: every setting has its default. m shows all of them."
_UNTIL_NEXT_START = {
    "screen": "The screen reads it when it starts.",
    "keys": "The screen reads its keys when it starts.",
}


def row_of(entry: Entry) -> Row:
    """Make the row of a setting."""
    cells = (
        one_line(entry.title),
        one_line(entry.value) or "-",
        one_line(entry.source),
        "restart" if entry.in_host else "",
    )
    return Row(entry.key, cells, "" if entry.is_set else "muted")


def status_of(page: Page, in_use: str) -> str:
    """Say in one line which file it is, and how much is set.

    Args:
        page: What is shown.
        in_use: The profile that this luci was started with; empty = none.
    """
    words = [f"{page.path}{'' if page.exists else ' (not there yet)'}"]
    if page.profile or in_use:
        which = f"profile {page.profile}" if page.profile else "no profile"
        words.append(which if page.profile == in_use else f"{which}, which is not in use")
    words.append(f"{sum(one.is_set for one in page.entries)} set")
    n_waiting = sum(bool(one.in_host) for one in page.entries)
    if n_waiting:
        verb = "waits" if n_waiting == 1 else "wait"
        words.append(f"{n_waiting} {verb} for a restart of the host")
    return " · ".join(one_line(part) for part in words)


def mistakes_of(page: Page) -> str:
    """Say what cannot be used of the file and the environment."""
    lines = [f"Error: {one_line(one)}" for one in page.mistakes[:MAX_MISTAKES]]
    n_more = len(page.mistakes) - MAX_MISTAKES
    return "\n".join(
        [*lines, *([f"and {n_more} more: luci config validate"] if n_more > 0 else [])]
    )


def details_of(entry: Entry) -> str:
    """Say everything about one setting."""
    has_value = f"= {entry.value}" if entry.value else "has no value"
    facts = [entry.type_words, f"default {entry.default}", entry.variable]
    lines = [
        f"{entry.title} {has_value} · {entry.source}",
        entry.meaning,
        " · ".join(one for one in facts if one),
    ]
    if entry.in_host:
        option = f" ({entry.host_option})" if entry.host_option else ""
        lines.append(f"The host that runs goes by {entry.in_host}{option}. h restarts it.")
    elif entry.section in _UNTIL_NEXT_START:
        lines.append(_UNTIL_NEXT_START[entry.section])
    return "\n".join(one_line(line) for line in lines if line)


def question_of(entry: Entry, profile: str) -> str:
    """Ask for another value."""
    where = f" in profile {profile}" if profile else ""
    lines = [f"{entry.title}{where}: {entry.type_words}.", entry.meaning]
    if entry.is_stronger:
        lines.append(f"{entry.source} has the last word over what is set here.")
    return "\n".join(line for line in lines if line)


def changed_words(before: Entry, after: Entry | None) -> str:
    """Say what became of a setting that was edited."""
    if after is None:
        return f"{before.title} is no longer set."
    if after.is_stronger:
        return f"What counts is {after.value}, from {after.source}."
    words = f"{after.title} = {after.value}" if after.value else f"{after.title} has no value."
    if after.in_host:
        return f"{words}. The host goes by {after.in_host} until it is restarted (h)."
    if after.section in _UNTIL_NEXT_START:
        return f"{words}. {_UNTIL_NEXT_START[after.section]}"
    return words
