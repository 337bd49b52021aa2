"""Draw the README's picture: `python -m tests.support.picture docs/images/screen.svg`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from luci_tui.host.wiring import BUILTIN, EngineKind, connect
from luci_tui.tui.app import ChatApp
from luci_tui.tui.conversation import OwnConversation
from tests.support.screen import prompt_of, shown_text, wait_until

PROMPTS = (
    "list the files in src",
    "find all python files bigger than 2 megabytes",
    "which process is listening on port 8080",
    "write me a poem about the sea",
)
SIZE = (96, 26)
"""Columns and lines."""


async def draw() -> str:
    """Ask the built-in model the prompts and return what the screen shows as SVG."""
    app = ChatApp(lambda: OwnConversation(connect(BUILTIN, EngineKind.WORKER)))
    async with app.run_test(size=SIZE) as pilot:
        await wait_until(pilot, lambda: "ready" in shown_text(app))
        for n_answered, prompt in enumerate(PROMPTS, start=1):
            prompt_of(app).text = prompt
            await pilot.press("enter")
            await wait_until(pilot, lambda n=n_answered: shown_text(app).count("TTFT") >= n)
        picture = app.export_screenshot(title="luci")
        await app.close_engine()
        app.exit()
    return picture


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(asyncio.run(draw()), encoding="utf-8")
