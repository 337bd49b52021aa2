"""The chat screen as the actions on messages see it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from luci_tui.errors import LuciError
from luci_tui.tui.chat.asking import Ask
from luci_tui.tui.chat.entries import UserEntry
from luci_tui.tui.chat.shown import Shown
from luci_tui.tui.widgets.prompt import PromptInput
from luci_tui.tui.widgets.status import EmptyState

if TYPE_CHECKING:
    from luci_tui.tui.chat.messages import ChatTranscript
    from luci_tui.tui.conversation import Keeper
    from luci_tui.tui.screens.chat import ChatScreen

EDIT_TITLE = "Another version of your message; Esc leaves it as it is"


class MessageDesk:
    """Implements `actions.Desk`, and remembers which message is being edited."""

    def __init__(self, screen: ChatScreen) -> None:
        self._screen = screen
        self.edited: UserEntry | None = None
        """The message of which another version stands in the prompt."""
        self._draft = ""
        """What stood there before."""

    @property
    def transcript(self) -> ChatTranscript:
        """The messages."""
        return self._screen.transcript

    @property
    def keeper(self) -> Keeper | None:
        """Whoever keeps the chat; None = nobody, or it has not begun."""
        conversation = self._screen.conversation
        return None if conversation is None else conversation.keeper

    @property
    def is_busy(self) -> bool:
        """No answer can be begun now."""
        return self._screen.is_busy

    def ask(self, asked: Ask) -> None:
        """Begin an answer."""
        self._screen.ask(asked)

    def edit(self, entry: UserEntry) -> None:
        """Open a message in the prompt; sending it makes another version."""
        prompt = self._prompt
        self._draft = prompt.text if self.edited is None else self._draft
        self.edited = entry
        prompt.border_title = EDIT_TITLE
        self._put(entry.shown.text)
        prompt.focus()

    def end_edit(self) -> UserEntry | None:
        """Give the prompt back what stood in it; returns what was being edited."""
        edited, self.edited = self.edited, None
        if edited is not None:
            self._prompt.border_title = ""
            self._put(self._draft)
        return edited

    def insert(self, text: str) -> None:
        """Put text at the end of the prompt, and go there."""
        prompt = self._prompt
        prompt.move_cursor(prompt.document.end)
        prompt.insert(text)
        prompt.focus()

    async def show_branch(self, messages: Sequence[Shown]) -> None:
        """Show another branch of the chat."""
        from luci_tui.tui.chat.answering import show_branch

        if messages:
            self._screen.query_one(EmptyState).display = False
        await show_branch(self.transcript, messages, self._screen.entries_of)

    async def show_kept(self) -> None:
        """Show the branch as it is kept, where a change of it failed."""
        if self.keeper is not None:
            with suppress(LuciError):
                await self.show_branch(await self.keeper.messages())

    @property
    def _prompt(self) -> PromptInput:
        return self._screen.query_one(PromptInput)

    def _put(self, text: str) -> None:
        self._prompt.text = text
        self._prompt.move_cursor(self._prompt.document.end)
