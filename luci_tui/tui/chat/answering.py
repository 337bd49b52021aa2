"""One answer from the question to its end, in the transcript."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from luci_tui.tui.chat.asking import Ask
from luci_tui.tui.chat.entries import (
    MessageEntry,
    PictureEntry,
    ReplyEntry,
    UserEntry,
    pictures_of,
)
from luci_tui.tui.chat.shown import PictureShown, Shown
from luci_tui.tui.conversation import (
    AnswerBegun,
    AnswerDone,
    AnswerEvent,
    CallsShown,
    Conversation,
    PromptShown,
    TextAdded,
)
from luci_tui.tui.draft import Draft
from luci_tui.tui.widgets.picture import PictureView
from luci_tui.tui.widgets.transcript import Entry, Transcript


@dataclass
class Answering:
    """Puts a prompt and its reply into the transcript and lets the reply grow.

    Args:
        asked: None = the answer that is being given already.
        reply: Where it grows; not yet in the transcript.
    """

    transcript: Transcript
    conversation: Conversation
    asked: Ask | None
    reply: ReplyEntry
    prompt: UserEntry | None = None
    has_begun: bool = False
    """The prompt is stored."""
    shows_pictures: bool = True
    """False = they cost too much, where all is sent far."""

    async def begin(self) -> AsyncGenerator[AnswerEvent]:
        """Lay out question and answer, and give what will come."""
        asked = self.asked
        if asked is None:
            events = self.conversation.follow()
        elif asked.again is not None:
            events = self.conversation.again(asked.again.shown.id)
            await self._make_room(_reply_to(self.transcript, asked.again))
        else:
            draft = asked.draft or Draft("")
            self.prompt = UserEntry(_shown(draft, asked.instead_of))
            after, media_of = None, ""
            if (old := asked.instead_of) is not None:
                after, media_of = _id_before(self.transcript, old), old.shown.id
                await self.transcript.cut(old.place)
            events = self.conversation.answer(draft.text, after, draft.media, media_of)
            await self.transcript.add(self.prompt, *self._pictures(draft, old))
        await self.transcript.add(self.reply)
        self.transcript.follow()
        return events

    def _pictures(self, draft: Draft, old: UserEntry | None) -> list[PictureEntry | PictureView]:
        """Make what shows the pictures of a prompt, those of the version before it first."""
        if not self.shows_pictures:
            return []
        kept = [] if old is None else pictures_of(old.shown, self.conversation.keeper)
        return [*kept, *(PictureView(one.content) for one in draft.media if one.width)]

    @property
    def is_branch(self) -> bool:
        """It takes the place of something that was shown."""
        asked = self.asked
        return asked is not None and (asked.instead_of is not None or asked.again is not None)

    async def take(self, event: AnswerEvent) -> str:
        """Show what came; gives what the model does now, in words, or nothing."""
        match event:
            case AnswerBegun():
                self.has_begun = True
                self._name(self.reply, event.reply_id)
                if self.prompt is not None:
                    self._name(self.prompt, event.prompt_id)
            case PromptShown(n_done, n_total):
                return f"reading the prompt {n_done}/{n_total}"
            case TextAdded(text, reasoning):
                self.reply.add(text, reasoning)
                return "answering" if text else "thinking"
            case CallsShown(calls):
                self.reply.change(replace(self.reply.shown, calls=calls))
            case AnswerDone():
                await self.reply.finish(event.truth, event.marks, event.about)
            case _:
                assert_never(event)
        return ""

    async def _make_room(self, old: MessageEntry | None) -> None:
        """Take an old answer away, with all that follows it."""
        if old is None:
            return
        self.reply.change(replace(self.reply.shown, siblings=_versions(old)))
        await self.transcript.cut(old.place)

    @staticmethod
    def _name(entry: MessageEntry, message_id: str) -> None:
        shown = entry.shown
        siblings = (*shown.siblings, message_id) if shown.siblings else ()
        entry.change(replace(shown, id=message_id, siblings=siblings))


async def show_branch(
    transcript: Transcript,
    messages: Sequence[Shown],
    entries_of: Callable[[Shown], Iterable[Entry]],
) -> None:
    """Make the transcript show these messages; those that it shows already stay."""
    entries = [one for one in transcript.entries if isinstance(one, MessageEntry)]
    n_same = 0
    for entry, shown in zip(entries, messages, strict=False):
        if entry.is_kept or (entry.shown.id, entry.shown.text) != (shown.id, shown.text):
            break
        entry.change(shown)
        n_same += 1
    is_longer = n_same < len(entries)
    new: list[Entry] = []
    await transcript.cut(entries[n_same].place if is_longer else len(transcript.entries))
    for shown in messages[n_same:]:
        new += entries_of(shown)
    transcript.extend(new)


def _shown(draft: Draft, old: MessageEntry | None) -> Shown:
    """Show a prompt; another version of one has what was attached to that, too."""
    before = Shown(is_user=True, text="") if old is None else old.shown
    first = len(before.attached)
    pictures = (
        PictureShown(place, one.width, one.height)
        for place, one in enumerate(draft.media, start=first)
        if one.width
    )
    return Shown(
        is_user=True,
        text=draft.text,
        siblings=() if old is None else _versions(old),
        attached=(*before.attached, *(one.words for one in draft.media)),
        pictures=(*before.pictures, *pictures),
    )


def _versions(old: MessageEntry) -> tuple[str, ...]:
    return old.shown.siblings or (old.shown.id,)


def _reply_to(transcript: Transcript, entry: MessageEntry) -> MessageEntry | None:
    """Give the answer that another one is wanted beside; None = there is none."""
    if not entry.shown.is_user:
        return entry
    below = transcript.entries[entry.place + 1 :]
    found = next((one for one in below if isinstance(one, MessageEntry)), None)
    return found if found is not None and not found.shown.is_user else None


def _id_before(transcript: Transcript, entry: MessageEntry) -> str:
    """Give the message above; one that could not be stored does not count."""
    above = transcript.entries[: entry.place]
    ids = (one.shown.id for one in reversed(above) if isinstance(one, MessageEntry))
    return next((one for one in ids if one), "")
