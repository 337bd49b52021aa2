"""A real host sees files that are dropped while it runs, and checks them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from luci_tui.host.api.messages import JobRecord, JobState
from luci_tui.host.client import HostClient
from luci_tui.host.lifecycle import Launcher
from luci_tui.library import own_settings
from luci_tui.library.records import ModelState
from luci_tui.library.store import Library
from tests.support import raw_gguf
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.hosts import running_host
from tests.support.libraries import MODEL, use_home
from tests.support.waiting import until

pytestmark = pytest.mark.native

HOST = Launcher(arguments=("--idle-exit-s", "60"))


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return use_home(monkeypatch, tmp_path)


@pytest.fixture
async def client(home: Path) -> AsyncIterator[HostClient]:
    async with running_host(home, HOST) as found:
        yield found


async def change_of(client: HostClient, name: str, after: int = 0) -> int:
    """Wait until the host tells of a model, and return the number of the event."""
    async with asyncio.timeout(50), aclosing(client.follow("/luci/events", after)) as events:
        async for event in events:
            told = json.loads(event.data)
            if told["kind"] == "library_changed" and name in (*told["changed"], *told["removed"]):
                return event.seq
    raise AssertionError(name)


async def names(client: HostClient) -> set[str]:
    return {entry.name for entry in (await client.models()).entries}


async def load(client: HostClient, name: str) -> JobRecord:
    job = await client.load_model(name)
    async with asyncio.timeout(50), aclosing(client.job_events(job.id)) as events:
        async for _ in events:
            pass
    return await client.job(job.id)


def state_of(name: str) -> ModelState:
    return Library().find(name).state


async def test_file_dropped_while_the_host_runs_is_told_and_used_without_a_restart(
    home: Path, client: HostClient
) -> None:
    folder = home / "models" / "custom_models"
    (folder / "sub").mkdir(parents=True)
    write_arch_model(TinyArch.LLAMA, home / "mine.part")
    (home / "mine.part").rename(folder / "sub" / "mine.gguf")
    seq = await change_of(client, "mine")
    assert "mine" not in await names(client)
    refused = (await load(client, "mine")).error
    assert refused is not None
    assert (refused.code, "luci llm enable mine" in refused.message) == ("disabled", True)
    own_settings.set_enabled("mine", True)
    assert "mine" in await names(client)
    assert (await load(client, "mine")).state is JobState.DONE
    (folder / "sub" / "mine.gguf").unlink()
    await change_of(client, "mine", seq)
    assert "mine" not in await names(client)


async def test_half_file_is_incomplete_and_a_harmful_one_is_broken(
    home: Path, client: HostClient
) -> None:
    folder = home / "models" / "custom_models"
    folder.mkdir(exist_ok=True)
    (folder / "slow.gguf").write_bytes(MODEL[:700])
    assert state_of("slow") is ModelState.INCOMPLETE
    (folder / "slow.gguf").write_bytes(MODEL)
    assert state_of("slow") is ModelState.OK
    # Its header can be read; only the validator knows that no model has so many blocks.
    count = raw_gguf.scalar(raw_gguf.U32, 1_000_000)
    bad = raw_gguf.good_model().with_entry("llama.block_count", raw_gguf.U32, count)
    (folder / "bad.gguf").write_bytes(bad.build())
    await until(lambda: state_of("bad") is ModelState.BROKEN)
    assert "Rule" in Library().find("bad").problem
    assert (await client.hello()).is_idle
