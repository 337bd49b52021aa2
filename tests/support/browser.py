"""A headless Chromium, driven by its own protocol over a web socket.

Source: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
WAIT_S = 60.0
_BINARY = 2
"""The opcode of a frame."""
_PORT_FILE = "DevToolsActivePort"
_MAX_BYTES = 64 * 1024 * 1024


def chromium() -> str:
    """Return where Chromium is; empty = there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), "")


class Page:
    """One page of the browser.

    Args:
        socket: To the page.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.said: list[str] = []
        """What the page wrote to its console, and requests of it that failed."""
        self.received = b""
        """What came through its web sockets; a terminal in a page draws no text to look for."""

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(WAIT_S):
            while True:
                message = await self._socket.receive_json()
                self._note(message)
                if message.get("id") == number:
                    assert "error" not in message, message
                    return message["result"]

    def _note(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "Runtime.exceptionThrown" | "Network.loadingFailed":
                self.said.append(str(message["params"]))
            case "Log.entryAdded" if message["params"]["entry"]["source"] != "rendering":
                self.said.append(str(message["params"]))
            case "Network.webSocketFrameReceived":
                frame = message["params"]["response"]
                if frame["opcode"] == _BINARY:
                    self.received += base64.b64decode(frame["payloadData"])
            case _:
                pass

    async def open(self, url: str, width: int, height: int) -> None:
        """Go to an address in a window of that size."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        await self.call("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:  # pyright: ignore[reportExplicitAny]
        """Return the value of a piece of JavaScript."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def wait_for(self, expression: str) -> None:
        """Wait until a piece of JavaScript is true; raises as `wait_until` does."""
        async with asyncio.timeout(WAIT_S):
            while True:
                if await self.evaluate(expression):
                    return

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds.

        Raises:
            TimeoutError: it does not; the message is what the page said.
        """
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition():
                    # An answer brings what came before it.
                    await self.evaluate("1")
        except TimeoutError as error:
            raise TimeoutError(f"{self.said} {self.received[-2000:]!r}") from error

    async def type(self, text: str) -> None:
        """Type a text; a line break is the Enter key."""
        for part in text.splitlines(keepends=True):
            if line := part.rstrip("\n"):
                await self.call("Input.insertText", text=line)
            if part.endswith("\n"):
                key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
                await self.call("Input.dispatchKeyEvent", type="keyDown", **key)
                await self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    async def screenshot(self, path: Path) -> None:
        """Write what is seen as a PNG file."""
        found = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(found["data"]))


@asynccontextmanager
async def browser(folder: Path) -> AsyncGenerator[Page]:
    """Run a browser and give its page.

    Args:
        folder: For what it keeps; a new one.
    """
    process = await asyncio.create_subprocess_exec(
        chromium(),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port = await _port(folder / _PORT_FILE)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [one for one in await answer.json() if one["type"] == "page"]
            url = pages[0]["webSocketDebuggerUrl"]
            async with session.ws_connect(url, max_msg_size=_MAX_BYTES) as socket:
                yield Page(socket)
    finally:
        process.kill()
        await process.wait()


async def _port(path: Path) -> int:
    async with asyncio.timeout(WAIT_S):
        while True:
            if lines := await asyncio.to_thread(_lines, path):
                return int(lines[0])
            await asyncio.sleep(0.1)


def _lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []
