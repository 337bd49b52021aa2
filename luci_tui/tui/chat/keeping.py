"""A chat that the host keeps: its branches, pins, ratings, and the chat as a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.tui.chat.showing import Showing
from luci_tui.tui.chat.shown import Shown


@dataclass(frozen=True)
class HostKeeper:
    """Implements `conversation.Keeper`."""

    reach: Callable[[], Awaitable[HostClient]]
    chat_id: str
    showing: Showing

    async def messages(self) -> tuple[Shown, ...]:
        """Give the active branch."""
        return self.showing.chat(await (await self._chats()).get(self.chat_id))

    async def select(self, message_id: str) -> tuple[Shown, ...]:
        """Make the newest branch through a message the active one, and give it."""
        await self._update({"active_leaf_id": message_id})
        return await self.messages()

    async def pin(self, message_id: str, *, is_pinned: bool) -> None:
        """Keep a message in every prompt, or no longer."""
        await self._update({"pin" if is_pinned else "unpin": message_id})

    async def rate(self, message_id: str, rating: int, note: str) -> None:
        """Rate a message: 1 = good, -1 = bad, 0 = not rated."""
        await self._update({"rate": {"message_id": message_id, "rating": rating, "note": note}})

    async def export(self, form: str) -> bytes:
        """Give the chat as a file."""
        data, _ = await (await self._chats()).export(self.chat_id, form)
        return data

    async def medium(self, message_id: str, place: int) -> bytes:
        """Give what a picture or sound of a message holds."""
        return await (await self._chats()).medium(self.chat_id, message_id, place)

    async def _update(self, fields: Mapping[str, object]) -> None:
        await (await self._chats()).update(self.chat_id, fields)

    async def _chats(self) -> HostChats:
        return HostChats(await self.reach())
