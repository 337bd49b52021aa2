"""Pictures of a chat that is gone on with: read from the host when they come near the view."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from luci_tui.chat.media import checked_media
from luci_tui.chat.store import ChatStore
from luci_tui.tui.app import ChatApp
from luci_tui.tui.chat.entries import PictureEntry
from luci_tui.tui.services import Services
from tests.support.chats import finished, told
from tests.support.kept_chats import MODEL, KeptChats, kept_chats
from tests.support.projectors import png
from tests.support.screen import (
    chat_app,
    chat_screen,
    opened_screen,
    prompt_of,
    shown_text,
    wait_for_text,
    wait_until,
)
from tests.support.screen_texts import check_in_both_themes
from tests.support.scripted_engine import MODEL_INFO, Gate, ScriptedEngine, Step, done, text
from tests.tui.test_messages import stand
from tests.tui.test_prompt_box import paste

SIZE = (80, 24)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
LARGE = MODEL_INFO.model_copy(update={"n_ctx": 4096})
PICTURE_LINE = "▀" * 40


def keep_pictures(home: Path, n_later: int = 0) -> str:
    """Put a chat on the disk whose first prompt carries two pictures and a sound."""
    store = ChatStore(home / "chats.db")
    chat = store.create(model=MODEL)
    media = checked_media([("cat.png", png(60, 30)), ("purr.wav", WAV), ("tail.png", png(8, 4))])
    _, reply = store.begin_turn(chat.id, "what?", parent_id=None, model=MODEL, media=media)
    finished(store, chat, reply, "A cat.")
    told(store, chat, *((f"question {n}", f"answer {n}") for n in range(n_later)))
    store.close()
    return chat.id


@asynccontextmanager
async def opened(
    home: Path,
    *script: Step,
    n_later: int = 0,
    services: Services | None = None,
    size: tuple[int, int] = SIZE,
) -> AsyncIterator[tuple[KeptChats, ChatApp, Pilot[int]]]:
    chat_id = keep_pictures(home, n_later)
    async with kept_chats(home, ScriptedEngine(list(script)), LARGE) as chats:
        app = chats.app(chat_id, services)
        async with opened_screen(app, size) as pilot:
            yield chats, app, pilot


def pictures(app: ChatApp) -> list[PictureEntry]:
    entries = chat_screen(app).transcript.entries
    return [one for one in entries if isinstance(one, PictureEntry)]


@pytest.mark.parametrize("size", [SIZE, (120, 40)])
async def test_resumed_chat_then_its_pictures_are_drawn(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with opened(tmp_path, size=size) as (_, app, pilot):
        await wait_for_text(pilot, PICTURE_LINE)
        assert "[attached purr.wav 16 B]" in shown_text(app)
        await wait_until(
            pilot,
            lambda: [one.widget and one.widget.size.height for one in pictures(app)] == [10, 2],
        )
        await check_in_both_themes(pilot, "chat-picture")


async def test_picture_far_from_the_view_then_it_is_read_when_it_is_scrolled_to(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, n_later=60) as (_, app, pilot):
        await wait_for_text(pilot, "answer 59")
        assert [one.widget for one in pictures(app)] == [None, None]
        await stand(pilot, "home")
        await wait_for_text(pilot, PICTURE_LINE)


async def test_resumed_chat_in_low_bandwidth_then_the_words_alone_are_shown(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, services=Services(is_slow=True)) as (_, app, pilot):
        await wait_for_text(pilot, "[attached cat.png")
        assert not pictures(app)


async def test_picture_that_the_host_cannot_give_then_the_words_alone_are_shown(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, n_later=60) as (chats, app, pilot):
        await wait_for_text(pilot, "answer 59")
        await chats.end()
        await stand(pilot, "home")
        await wait_for_text(pilot, "A cat.")
        await wait_until(
            pilot,
            lambda: [one.widget and one.widget.size.height for one in pictures(app)] == [0, 0],
        )
        assert "▀" not in shown_text(app)


async def test_edited_prompt_with_pictures_then_both_versions_show_theirs(tmp_path: Path) -> None:
    file = tmp_path / "dog.png"
    file.write_bytes(png(40, 40, seed=2))
    async with opened(tmp_path, text("A dog."), done(), size=(80, 60)) as (chats, app, pilot):
        await wait_for_text(pilot, PICTURE_LINE)
        await stand(pilot, "home", "e")
        paste(app, f"'{file}' ")
        await wait_for_text(pilot, "attached  dog.png")
        await pilot.press(*" now", "enter")
        await wait_for_text(pilot, "A dog.")
        await wait_for_text(pilot, "▀" * 24)
        assert len(pictures(app)) == 2
        assert len((await chats.stored())[0].media) == 4
        await stand(pilot, "home", "<")
        await wait_for_text(pilot, "A cat.")
        assert len(pictures(app)) == 2
        await pilot.press(">")
        await wait_for_text(pilot, "A dog.")
        await wait_until(pilot, lambda: len(pictures(app)) == 3)


# ---- before they are sent


@pytest.mark.parametrize("size", [SIZE, (120, 40)])
async def test_picture_for_a_model_that_takes_none_then_it_is_said_and_the_line_goes_on(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "cat.png").write_bytes(png(60, 30))
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "ready")
        paste(app, f"{tmp_path}/cat.png")
        await wait_for_text(pilot, "This model takes no pictures")
        await pilot.press(*"what?")
        assert prompt_of(app).text == "what?"
        await check_in_both_themes(pilot, "prompt-not-taken")
        await pilot.press(*("backspace",) * 5, *"/detach", "escape", "enter")
        await wait_until(pilot, lambda: "takes no" not in shown_text(app))


@pytest.mark.parametrize(
    ("images", "audio", "said"),
    [
        (True, True, ""),
        (True, False, "This model takes no sounds, and refuses such a prompt."),
        (False, False, "This model takes no pictures and no sounds, and refuses"),
    ],
)
async def test_files_attached_while_a_model_is_loaded_then_what_it_takes_is_said_once_it_is_there(
    tmp_path: Path, images: bool, audio: bool, said: str
) -> None:
    (tmp_path / "cat.png").write_bytes(png(60, 30))
    (tmp_path / "purr.wav").write_bytes(WAV)
    (tmp_path / "notes.txt").write_text("remember")
    gate = Gate()
    engine = ScriptedEngine(load=[gate])
    engine.info = MODEL_INFO.model_copy(update={"takes_images": images, "takes_audio": audio})
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "loading")
        paste(app, " ".join(f"{tmp_path}/{name}" for name in ("cat.png", "purr.wav", "notes.txt")))
        await wait_for_text(pilot, "notes.txt 8 B")
        assert "takes no" not in shown_text(app)
        gate.opened.set()
        await wait_for_text(pilot, "ready")
        await wait_for_text(pilot, said)
        assert ("takes no" in shown_text(app)) == bool(said)
