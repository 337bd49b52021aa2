from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import pytest
from yarl import URL

from tests.support.browser import Page, browser, chromium

WAIT_S = 30.0
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


@dataclass(frozen=True)
class Served:
    """What `luci web` serves."""

    url: str
    """With the key."""
    port: int
    pid: int

    @property
    def plain(self) -> str:
        """The address without the key."""
        return f"http://127.0.0.1:{self.port}/"


@asynccontextmanager
async def served(
    env: dict[str, str], *, engine: str = "echo", is_killed: bool = False
) -> AsyncGenerator[Served]:
    """Run `luci web`; it is gone afterwards, ended in order unless the test kills it."""
    model = ("--model", "any.gguf") if engine == "echo" else ()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "luci_tui", "--engine", engine, "web", "--port", "0", "--json"),
        *model,
        stdout=subprocess.PIPE,
        env=env,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(WAIT_S):
            lines = b""
            while not lines.endswith(b"}\n"):
                lines += await process.stdout.readline()
        told = json.loads(lines)
        yield Served(told["url"], told["port"], process.pid)
        if not is_killed:
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(WAIT_S):
                assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def client() -> aiohttp.ClientSession:
    """Make a client that keeps cookies of an address without a name, as browsers do."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def text_until(socket: aiohttp.ClientWebSocketResponse, text: str) -> str:
    """Read what the screen draws until the text is in it."""
    drawn = ""
    async with asyncio.timeout(WAIT_S):
        while text not in ESCAPES.sub("", drawn):
            message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.BINARY, message
            drawn += message.data.decode("utf-8", "replace")
    return drawn


async def test_web_without_the_key_another_name_or_another_page_is_refused(
    luci_env: dict[str, str],
) -> None:
    async with served(luci_env) as web, client() as session:
        for url, headers in (
            (web.plain, {}),
            (f"{web.plain}?key=wrong", {}),
            (f"{web.plain}static/js/textual.js", {}),
            (web.url, {"Host": f"evil.example:{web.port}"}),
            (web.url, {"Origin": "http://evil.example"}),
        ):
            async with session.get(url, headers=headers) as answer:
                assert answer.status == 403, url
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        async with session.get(web.url) as page:
            assert page.status == 200
            assert "key=" not in str(page.url)
            assert f"ws://127.0.0.1:{web.port}/ws" in await page.text()
            cookie = page.history[0].headers["Set-Cookie"]
            assert "HttpOnly" in cookie
        for origin in ("http://evil.example", f"http://localhost:{web.port}", "null"):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await session.ws_connect(f"{web.plain}ws", origin=origin)
        assert psutil.Process(web.pid).children() == []
        connections = psutil.Process(web.pid).net_connections()
        assert {one.laddr.ip for one in connections if one.status == "LISTEN"} == {"127.0.0.1"}


async def test_web_page_has_a_screen_that_ends_with_it_and_leaves_the_host(
    luci_env: dict[str, str],
) -> None:
    async with served(luci_env, is_killed=True) as web, client() as session:
        async with session.get(web.url) as page:
            assert page.status == 200
        origin = web.plain.rstrip("/")
        socket = await session.ws_connect(f"{web.plain}ws?width=100&height=30", origin=origin)
        await text_until(socket, "ready")
        await socket.send_json(["focus"])
        await socket.send_json(["stdin", "say this back\r"])
        await text_until(socket, "TTFT")
        (screen,) = psutil.Process(web.pid).children()
        await socket.close()
        await asyncio.to_thread(screen.wait, WAIT_S)
        again = await session.ws_connect(f"{web.plain}ws", origin=origin)
        await text_until(again, "ready")
        (screen,) = psutil.Process(web.pid).children()
        os.kill(web.pid, signal.SIGKILL)
        await asyncio.to_thread(screen.wait, WAIT_S)
        assert not screen.is_running()


def test_web_on_a_port_that_is_taken_is_one_sentence(luci_env: dict[str, str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "luci_tui", "web", "--port", port],
            env=luci_env,
            capture_output=True,
            timeout=WAIT_S,
            check=False,
        )
    assert ended.returncode == 2
    assert f"Port {port} of 127.0.0.1".encode() in ended.stderr
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.native
@pytest.mark.timeout(180)
@pytest.mark.skipif(not chromium(), reason="there is no Chromium on this machine")
async def test_web_in_a_browser_answers_and_asks_nobody_else(
    luci_env: dict[str, str], tmp_path: Path
) -> None:
    shot = Path(os.environ.get("LUCI_WEB_SCREENSHOT") or tmp_path / "web.png")
    (Path(luci_env["LUCI_HOME"]) / "screen.json").write_text('{"seen_at": 0}')
    async with served(luci_env, engine="worker") as web, browser(tmp_path / "browser") as page:
        await page.open(web.url, 1000, 620)
        await page.wait_for("document.body.classList.contains('-first-byte')")
        await page.wait_until(lambda: "ready" in drawn(page))
        await page.evaluate("document.querySelector('.xterm-helper-textarea').focus()")
        await page.type("list the files in src\n")
        await page.wait_until(lambda: "TTFT" in drawn(page))
        assert "ls src" in drawn(page)
        await page.screenshot(shot)
        assert URL(await page.evaluate("location.href")) == URL(web.plain)
        asked = await page.evaluate(
            "performance.getEntriesByType('resource').map(one => new URL(one.name).host).join()"
        )
        assert set(asked.split(",")) <= {f"127.0.0.1:{web.port}"}
        assert page.said == []
    picture = await asyncio.to_thread(shot.read_bytes)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000


def drawn(page: Page) -> str:
    """Return what the screen has drawn so far, without what moves the cursor."""
    return ESCAPES.sub("", page.received.decode("utf-8", "replace"))
