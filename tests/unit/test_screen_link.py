import asyncio
from pathlib import Path

import pytest

from luci_tui.tui.services import HostLink
from tests.support.hosts import ECHO, end_host

WAIT_S = 30.0


async def test_link_that_has_a_host_started_then_whoever_waits_for_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    link = HostLink(lambda: ECHO)
    waiting = asyncio.create_task(link.started())
    try:
        assert await link.client(start=False) is None
        assert not waiting.done()
        assert await link.client(start=True) is not None
        async with asyncio.timeout(WAIT_S):
            await waiting
    finally:
        waiting.cancel()
        await link.drop()
        await end_host(tmp_path)
