"""What ended while nobody looked: asked of the host once, written in a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luci_tui.chat.records import Message, MessageState, Role
from luci_tui.download.records import ItemState
from luci_tui.errors import LuciError
from luci_tui.host.api.download_messages import DownloadRecord
from luci_tui.host.api.messages import JobRecord, JobState
from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.host.download_client import HostDownloads
from luci_tui.tui.widgets.text import clock, one_line
from luci_tui.units import format_count

MAX_LINES = 6
"""Things that are named; the rest is counted."""
MAX_CHATS = 8
"""Chats whose last answer is looked at, those used last first."""
MAX_TITLE = 40
_BAD_JOBS = (JobState.FAILED, JobState.INTERRUPTED)
_ENDED_DOWNLOADS = (ItemState.DONE, ItemState.FAILED)


@dataclass(frozen=True)
class Ended:
    """Something that ended."""

    what: str
    """"download", "job" or "answer"."""
    words: str
    """What it was and how it ended, on one line."""
    at_s: float
    """Seconds since 1970."""
    took_s: float
    is_failure: bool = False


def of_job(job: JobRecord) -> Ended | None:
    """Describe a job; None = it runs, or its end is no news."""
    if job.ended_at is None or job.state is JobState.CANCELLED:
        return None
    is_bad = job.state in _BAD_JOBS
    if job.kind == "load" and not is_bad:
        return None
    reason = f", {_reason(job.error.message)}" if job.error is not None else ""
    words = f"job {job.id}, {one_line(job.title)}: {job.state.value}{reason}{_doubt(job)}"
    return Ended("job", words, job.ended_at, max(0.0, job.ended_at - job.created_at), is_bad)


def _doubt(job: JobRecord) -> str:
    """Say what is not as it should be about a job that is done; empty = nothing."""
    check = (job.result or {}).get("check") if job.kind == "convert" else None
    if not isinstance(check, dict) or not check.get("n_different"):
        return ""
    n_different, n_strings = check["n_different"], check.get("n_strings", "?")
    return f", but {n_different} of {n_strings} texts give other tokens than its source"


def of_download(one: DownloadRecord) -> Ended | None:
    """Describe a download; None = it goes on, or a person ended it."""
    if one.state not in _ENDED_DOWNLOADS or one.ended_at is None:
        return None
    reason = f", {_reason(one.error.message)}" if one.error is not None else ""
    words = f"download {one_line(one.name)}: {one.state.value}{reason}"
    is_bad = one.state is ItemState.FAILED
    return Ended("download", words, one.ended_at, max(0.0, one.ended_at - one.created_at), is_bad)


def of_answer(message: Message, title: str, chat_id: str) -> Ended | None:
    """Describe the last message of a chat; None = it is no answer, or is being given."""
    if message.role is not Role.ASSISTANT or message.finished_ms is None:
        return None
    if message.state in (MessageState.STREAMING, MessageState.CANCELLED):
        return None
    reason = f", {_reason(message.failure)}" if message.failure else ""
    name = one_line(title)
    name = name if len(name) <= MAX_TITLE else f"{name[: MAX_TITLE - 1]}…"
    words = f'answer in "{name}": {message.state.value}{reason}; luci --resume {chat_id} opens it'
    took_s = max(0, message.finished_ms - message.created_ms) / 1000
    is_bad = message.state is not MessageState.COMPLETE
    return Ended("answer", words, message.finished_ms / 1000, took_s, is_bad)


async def look_back(client: HostClient, since_s: float) -> list[Ended]:
    """Ask the host what has ended since a moment, failures first, then the youngest first.

    Args:
        client: The way to the host.
        since_s: Seconds since 1970.

    Raises:
        LuciError: the host does not say.
    """
    found = [of_job(job) for job in await client.jobs()]
    found += [of_download(one) for one in (await HostDownloads(client).list()).downloads]
    found += await _answers(HostChats(client), since_s)
    fresh = [one for one in found if one is not None and one.at_s > since_s]
    return sorted(fresh, key=lambda one: (not one.is_failure, -one.at_s))


async def _answers(chats: HostChats, since_s: float) -> list[Ended | None]:
    found: list[Ended | None] = []
    for row in await chats.list(limit=MAX_CHATS, archived=False):
        session = row.session
        if session.updated_ms / 1000 <= since_s:
            continue
        try:
            opened = await chats.get(session.id)
        except LuciError:  # it was deleted in this moment
            continue
        if opened.messages:
            found.append(of_answer(opened.messages[-1], session.title, session.id))
    return found


def away_text(ended: Sequence[Ended], since_s: float, now_s: float) -> str:
    """Write what ended; empty = nothing did."""
    if not ended:
        return ""
    counts = [
        format_count(n, what)
        for what in ("download", "job", "answer")
        if (n := sum(one.what == what for one in ended))
    ]
    lines = [f"While you were away, since {clock(since_s, now_s)}: {', '.join(counts)}."]
    lines += [f"  {one.words}" for one in ended[:MAX_LINES]]
    if len(ended) > MAX_LINES:
        lines.append(f"Downloads (3) and Jobs (4) have the other {len(ended) - MAX_LINES}.")
    return "\n".join(lines)


def _reason(text: str) -> str:
    """Make a sentence the end of another one."""
    return one_line(text).removesuffix(".")
