"""Pictures in chats of a real host, whose worker sees them with a tiny projector."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from luci_tui.chat.turn_events import TurnDone, TurnFailed
from luci_tui.errors import ChatError
from luci_tui.host.api.messages import SentMedium
from luci_tui.host.chat_client import HostChats
from luci_tui.host.lifecycle import Launcher
from luci_tui.tui.draft import Attachment
from luci_tui.tui.host_conversation import HostConversation
from tests.e2e.conftest import Luci
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.hosts import running_host
from tests.support.projectors import TinyProjector, png, write_projector
from tests.support.tiny_vocab import CHATML_TEMPLATE

pytestmark = pytest.mark.native

REAL = Launcher(arguments=("--idle-exit-s", "60"))
OPTIONS = {"seed": 1, "max_tokens": 8, "sampling": {"temperature": 0}}


def write_models(home: Path) -> None:
    """Put a model that sees, and one that does not, where the host looks for models."""
    folder = home / "models" / "custom_models"
    folder.mkdir(parents=True)
    path = folder / "sees.gguf"
    write_arch_model(TinyArch.LLAMA, path, chat_template=CHATML_TEMPLATE)
    write_projector(TinyProjector.LLAVA, folder / "mmproj-sees.gguf")
    write_arch_model(TinyArch.LLAMA, folder / "blind.gguf", chat_template=CHATML_TEMPLATE)


def sent(content: bytes) -> tuple[SentMedium, ...]:
    return (SentMedium(name="cat.png", content=base64.b64encode(content).decode()),)


async def test_picture_in_a_chat_is_seen_kept_and_exported(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    home = Path(luci_env["LUCI_HOME"])
    write_models(home)
    assert luci("llm", "enable", "sees", "blind").returncode == 0
    async with running_host(home, REAL) as client:
        chats = HostChats(client)
        answers: list[str] = []
        for seed in (1, 2):
            chat = await chats.create({"model": "sees"})
            turn = chats.send(
                chat.id, "what is it?", parent_id=None, options=OPTIONS, media=sent(png(seed=seed))
            )
            events = [event async for event in turn]
            assert isinstance(events[-1], TurnDone), events[-1]
            opened = await chats.get(chat.id)
            answers.append(opened.messages[1].text)
        assert answers[0] != answers[1]
        (loaded,) = (await client.models()).loaded
        assert (loaded.takes_images, loaded.takes_audio) == (True, False)
        user = opened.messages[0]
        assert [medium.kind for medium in user.media] == ["image/png"]
        assert await chats.medium(chat.id, user.id, 0) == png(seed=2)
        with pytest.raises(ChatError, match="no picture or sound 1"):
            await chats.medium(chat.id, user.id, 1)
        events = [
            event
            async for event in chats.send(
                chat.id, "and now?", parent_id=None, options={**OPTIONS, "model": "blind"}
            )
        ]
        assert isinstance(events[-1], TurnDone), events[-1]
        whole = json.loads(luci("chat", "export", chat.id, "--format", "json").stdout)
        assert base64.b64decode(whole["media"][0]["content"]) == png(seed=2)


async def test_model_without_a_projector_says_so_and_a_file_that_is_none_is_refused(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    home = Path(luci_env["LUCI_HOME"])
    write_models(home)
    assert luci("llm", "enable", "blind").returncode == 0
    async with running_host(home, REAL) as client:

        async def find_host() -> object:
            return client

        conversation = HostConversation(find_host, model="blind", label="blind")  # type: ignore[arg-type]
        chats = HostChats(client)
        chat = await chats.create({"model": "blind"})
        turn = chats.send(chat.id, "what?", parent_id=None, options={}, media=sent(png()))
        events = [event async for event in turn]
        assert isinstance(events[-1], TurnFailed)
        assert events[-1].code == "media_not_supported"
        assert [event async for event in conversation.load()] == []  # it is in memory
        picture = Attachment("cat.png", "cat.png 1 B", content=b"x", width=1, height=1)
        assert conversation.cannot_take(picture) == "pictures"
        note = Attachment("a.txt", "a.txt 1 B", content=b"x")
        with pytest.raises(ChatError, match="is none of image/png"):
            _ = [event async for event in conversation.answer("what?", media=(note,))]
