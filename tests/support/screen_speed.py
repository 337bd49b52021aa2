"""Measure the chat screen: `python -m tests.support.screen_speed`.

A chat of 5,000 messages is opened from a host of its own process; then keys are typed while an
answer streams below 500 turns. Times are from the key to the frame that shows it, without a
terminal.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from rich.console import RenderableType
from textual import events
from textual.pilot import Pilot
from textual.screen import Screen

from luci_tui.chat.store import ChatStore
from luci_tui.host.client import HostClient
from luci_tui.host.lifecycle import Launcher, ensure_host
from luci_tui.tui.app import ChatApp
from luci_tui.tui.host_conversation import HostConversation
from tests.support.chats import told
from tests.support.hosts import running_host
from tests.support.screen import (
    WAIT_S,
    chat_screen,
    prompt_of,
    shown_text,
    wait_for_text,
    wait_until,
)

PACED = Launcher(
    command=(sys.executable, "-m", "tests.support.paced_host"), arguments=("--idle-exit-s", "60")
)
N_MESSAGES = 5000
N_TURNS = 500
N_KEYS = 120
KEY_PAUSE_S = 0.02
"""Between two keys, about as fast as a key that is held."""
ANSWER = (
    "Use `ls -S`, which puts the **largest** first:\n\n```sh\nls -lS\n```\n\n"
    "- `-l` shows the sizes\n- `-r` turns the order around\n\nThat is all there is to it. "
)


class Frames:
    """Says when the app has drawn a frame."""

    def __init__(self, app: ChatApp) -> None:
        self.drawn = asyncio.Event()
        self._draw = cast(
            "Callable[[Screen[object], RenderableType | None], None]",
            app._display,  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
        )
        app._display = self._display  # pyright: ignore[reportPrivateUsage]

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        self._draw(screen, renderable)
        self.drawn.set()


def prepare(home: Path, n_messages: int) -> str:
    """Put a chat on the disk and return its id."""
    store = ChatStore(home / "chats.db")
    chat = store.create(model="builtin")
    pairs = (
        (f"question {n}", f"answer {n}. {ANSWER * (1 + n % 3)}") for n in range(n_messages // 2)
    )
    told(store, chat, *pairs)
    store.close()
    return chat.id


def screen(home: Path, resume: str) -> ChatApp:
    """Make the screen."""

    async def find() -> HostClient:
        return await ensure_host(home, PACED)

    return ChatApp(
        lambda: HostConversation(find, model="builtin", label="paced", resume_chat=resume)
    )


async def measure_opening(home: Path, resume: str) -> float:
    """Give the seconds from the model's being there to the last message's being shown."""
    app = screen(home, resume)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_until(pilot, lambda: "starting" not in shown_text(app))
        begun_s = time.perf_counter()
        await wait_for_text(pilot, "That is all there is to it.")
        took_s = time.perf_counter() - begun_s
    await app.close_engine()
    return took_s


async def measure_echo(home: Path, resume: str) -> list[float]:
    """Give the milliseconds from each key to the frame with it, while an answer streams."""
    app = screen(home, resume)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "That is all there is to it.")
        idle_ms = await _type(app, pilot)
        prompt_of(app).text = "a " * 900
        await pilot.press("enter")
        await wait_for_text(pilot, "answering")
        took_ms = await _type(app, pilot)
        assert chat_screen(app).is_busy, "the answer ended before the last key"
        await pilot.press("escape")
        print(f"  idle: {_words(idle_ms)}")
    await app.close_engine()
    return took_ms


async def _type(app: ChatApp, pilot: Pilot[int]) -> list[float]:
    prompt = prompt_of(app)
    prompt.clear()
    frames = Frames(app)
    took_ms: list[float] = []
    for number in range(N_KEYS):
        begun_s = time.perf_counter()
        app.post_message(events.Key("a", "a"))
        while len(prompt.text) <= number:
            # The frame with the key is the first that is drawn when the text has it.
            frames.drawn.clear()
            await asyncio.wait_for(frames.drawn.wait(), WAIT_S)
        took_ms.append((time.perf_counter() - begun_s) * 1000)
        await asyncio.sleep(KEY_PAUSE_S)
    prompt.clear()
    await pilot.pause()
    return took_ms


def _words(took_ms: list[float]) -> str:
    cuts = statistics.quantiles(took_ms, n=100)
    return f"p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms, worst {max(took_ms):.1f} ms"


async def main() -> None:
    """Measure and print."""
    for n_messages in (10, N_MESSAGES):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            chat_id = prepare(home, n_messages)
            async with running_host(home, PACED):
                took_s = await measure_opening(home, chat_id)
                print(f"a chat of {n_messages} messages opens in {took_s:.2f} s")
    for n_turns in (1, N_TURNS):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            chat_id = prepare(home, 2 * n_turns)
            async with running_host(home, PACED):
                print(f"a key while an answer streams, after {n_turns} turns:")
                print(f"  busy: {_words(await measure_echo(home, chat_id))}")


if __name__ == "__main__":
    asyncio.run(main())
