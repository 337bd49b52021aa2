"""What can be done with a message of a chat."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from luci_tui.errors import LuciError
from luci_tui.tui.chat.asking import Ask
from luci_tui.tui.chat.entries import MessageEntry, UserEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import App

    from luci_tui.tui.chat.messages import ChatTranscript
    from luci_tui.tui.chat.shown import Shown
    from luci_tui.tui.conversation import Keeper

_FORMS = (
    ("markdown", "Markdown, what is shown"),
    ("markdown-branches", "Markdown with all branches"),
    ("json", "JSON, without loss, for another import"),
)


class Desk(Protocol):
    """What the actions need of the chat."""

    @property
    def transcript(self) -> ChatTranscript:
        """The messages."""
        ...

    @property
    def keeper(self) -> Keeper | None:
        """Whoever keeps the chat; None = nobody."""
        ...

    @property
    def is_busy(self) -> bool:
        """Nothing can be answered now."""
        ...

    def ask(self, asked: Ask) -> None:
        """Begin an answer."""
        ...

    def edit(self, entry: UserEntry) -> None:
        """Let the person write another version of a message."""
        ...

    def insert(self, text: str) -> None:
        """Put text into the prompt, and go there."""
        ...

    async def show_branch(self, messages: Sequence[Shown]) -> None:
        """Show another branch."""
        ...


class MessageActions:
    """Does what is asked for with a message."""

    def __init__(self, desk: Desk, app: App[object]) -> None:
        self._desk = desk
        self._app = app

    async def do(self, verb: str, entry: MessageEntry) -> str:
        """Do it; gives text for the clipboard, or nothing.

        What fails is told in one sentence.
        """
        try:
            return await self._do(verb, entry)
        except LuciError as error:
            self._app.notify(error.message, severity="error", markup=False)
        return ""

    async def _do(self, verb: str, entry: MessageEntry) -> str:
        if verb == "copy":
            return entry.shown.text.strip()
        if verb == "block":
            return await self._block(entry, "Copy which block?")
        await {
            "save": self._save,
            "quote": self._quote,
            "edit": self._edit,
            "again": self._again,
            "before": partial(self._turn, step=-1),
            "after": partial(self._turn, step=1),
            "pin": self._pin,
            "good": partial(self._rate, rating=1),
            "bad": partial(self._rate, rating=-1),
            "note": self._note,
            "fold": self._fold,
            "about": self._about,
            "export": self._export,
        }[verb](entry)
        return ""

    # ---- branches

    async def _edit(self, entry: MessageEntry) -> None:
        if self._is_free() and isinstance(entry, UserEntry):
            self._desk.edit(entry)

    async def _again(self, entry: MessageEntry) -> None:
        if self._is_free():
            self._desk.ask(Ask(again=entry))

    def _is_free(self) -> bool:
        if self._desk.is_busy:
            self._app.notify("The model is busy. Esc in the prompt stops the answer.")
        return not self._desk.is_busy

    async def _turn(self, entry: MessageEntry, step: int) -> None:
        """Show the version before or after, with the newest branch that follows it."""
        shown, keeper = entry.shown, self._desk.keeper
        if not self._is_free():
            return
        place = shown.version - 1 + step
        if keeper is None or not 0 <= place < len(shown.siblings):
            which = "first" if step < 0 else "last"
            self._app.notify(f"This is the {which} version.")
            return
        wanted = shown.siblings[place]
        self._desk.transcript.bring(entry)
        await self._desk.show_branch(await keeper.select(wanted))
        found = (one for one in self._messages() if one.shown.id == wanted)
        self._desk.transcript.stand_on(next(found, None))

    # ---- pins and ratings

    async def _pin(self, entry: MessageEntry) -> None:
        shown, keeper = entry.shown, self._desk.keeper
        if keeper is not None:
            await keeper.pin(shown.id, is_pinned=not shown.is_pinned)
            entry.change(replace(entry.shown, is_pinned=not shown.is_pinned))

    async def _rate(self, entry: MessageEntry, rating: int) -> None:
        shown = entry.shown
        wanted = 0 if shown.rating == rating else rating
        await self._set_rating(entry, wanted, shown.rating_note if wanted else "")

    async def _note(self, entry: MessageEntry) -> None:
        from luci_tui.tui.screens.ask import AskScreen

        shown = entry.shown
        if not shown.rating:
            self._app.notify("Rate it first: + is good, - is bad.")
            return
        question = "Why? The note is kept with the rating."
        note = await self._app.push_screen_wait(AskScreen(question, shown.rating_note))
        if note:
            await self._set_rating(entry, shown.rating, note)

    async def _set_rating(self, entry: MessageEntry, rating: int, note: str) -> None:
        if (keeper := self._desk.keeper) is not None:
            await keeper.rate(entry.shown.id, rating, note)
            entry.change(replace(entry.shown, rating=rating, rating_note=note))

    # ---- texts and files

    async def _quote(self, entry: MessageEntry) -> None:
        self._desk.insert(_quoted(entry.shown.text))

    async def _fold(self, entry: MessageEntry) -> None:
        entry.fold()

    async def _block(self, entry: MessageEntry, question: str) -> str:
        from luci_tui.tui.chat.blocks import blocks_of
        from luci_tui.tui.screens.choose import ChooseScreen, Option

        blocks = blocks_of(entry.shown.text)
        if len(blocks) <= 1:
            if not blocks:
                self._app.notify("There is no code block in this message. y copies all of it.")
            return blocks[0].text if blocks else ""
        options = [Option(str(place), block.title) for place, block in enumerate(blocks)]
        chosen = await self._app.push_screen_wait(ChooseScreen(question, options))
        return blocks[int(chosen[0])].text if chosen else ""

    async def _save(self, entry: MessageEntry) -> None:
        from luci_tui.tui.chat.blocks import blocks_of, file_name
        from luci_tui.tui.chat.files import save_as

        text = await self._block(entry, "Save which block?")
        block = next((one for one in blocks_of(entry.shown.text) if one.text == text), None)
        if text and block is not None:
            question = "Save the block to which file?"
            await save_as(self._app, question, file_name(block), text + "\n")

    async def _about(self, entry: MessageEntry) -> None:
        from luci_tui.tui.chat.about import AboutScreen, about_lines

        messages = self._messages()
        if entry.shown.about is not None:
            title = f"Message {messages.index(entry) + 1} of {len(messages)}"
            lines = about_lines(entry.shown.about(), messages)
            self._app.push_screen(AboutScreen(title, lines))

    async def _export(self, _: MessageEntry) -> None:
        await self.export()

    async def export(self) -> None:
        """Write the chat to a file."""
        from luci_tui.tui.chat.files import name_of_title, save_as
        from luci_tui.tui.screens.choose import ChooseScreen, Option

        keeper, messages = self._desk.keeper, self._messages()
        if keeper is None or not messages:
            self._app.notify("There is nothing to export yet.")
            return
        options = [Option(key, words) for key, words in _FORMS]
        chosen = await self._app.push_screen_wait(ChooseScreen("Export this chat as", options))
        if not chosen:
            return
        (form,) = chosen
        data = await keeper.export(form)
        suffix = "json" if form == "json" else "md"
        name = f"{name_of_title(messages[0].shown.text[:200])}.{suffix}"
        await save_as(self._app, "Export the chat to which file?", name, data.decode())

    def _messages(self) -> list[MessageEntry]:
        entries = self._desk.transcript.entries
        return [one for one in entries if isinstance(one, MessageEntry)]


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip().split("\n")) + "\n\n"
