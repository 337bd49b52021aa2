import asyncio
from contextlib import aclosing
from pathlib import Path

from luci_tui.host.api.messages import ChatGone
from luci_tui.host.chat_client import HostChats
from tests.support.kept_chats import kept_chats
from tests.support.scripted_engine import ScriptedEngine

WAIT_S = 10.0


async def test_chats_that_are_deleted_or_put_away_then_attached_front_ends_are_told(
    tmp_path: Path,
) -> None:
    async with kept_chats(tmp_path, ScriptedEngine()) as host:
        client = await host.find()
        chats = HostChats(client)
        kept, deleted, put_away = [await chats.create({"title": name}) for name in "abc"]
        await chats.update(kept.id, {"title": "other"})
        await chats.delete(deleted.id[:6])  # as the command line names it
        await chats.update(put_away.id, {"is_archived": True})
        told: list[str] = []
        async with asyncio.timeout(WAIT_S), aclosing(client.events()) as events:
            async for event in events:
                assert event.kind == "chat_gone"
                told.append(ChatGone.model_validate_json(event.data).chat_id)
                if len(told) == 2:
                    break
        await client.close()
    assert told == [deleted.id, put_away.id]
