"""Bodies that are taken from the socket itself, with TLS and without, and those that are not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from luci_tui.download.mover import new_client
from luci_tui.download.part import part_paths
from luci_tui.download.receiving import BUFFER_BYTES, Receiver
from luci_tui.download.wire import Wire
from luci_tui.download.writer import open_writer
from luci_tui.errors import DownloadError
from tests.support.downloads import SOON_S, fetch, quick, wanted_of
from tests.support.hub import Fault, Hub, HubFile, running_hub

CONTENT = bytes(range(256)) * 20_001


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    authority = trustme.CA()
    bundle = tmp_path / "company.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def tls(scheme: str, certificate: ssl.SSLContext) -> ssl.SSLContext | None:
    return certificate if scheme == "https" else None


@asynccontextmanager
async def served(
    tls: ssl.SSLContext | None, *faults: Fault, forever: Fault | None = None
) -> AsyncGenerator[tuple[Hub, HubFile]]:
    async with running_hub(tls) as hub:
        file = hub.add(CONTENT, *faults)
        file.forever = forever
        yield hub, file


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give the number of bytes of each look at a socket."""
    sizes: list[int] = []
    receive = Receiver.receive

    def watched(self: Receiver, max_bytes: int, for_s: float):
        received = receive(self, max_bytes, for_s)
        sizes.append(received.n_bytes)
        return received

    monkeypatch.setattr(Receiver, "receive", watched)
    return sizes


async def test_body_of_an_announced_length_then_it_comes_from_the_socket(
    tmp_path: Path, tls: ssl.SSLContext | None, taken: list[int]
) -> None:
    async with served(tls) as (hub, file):
        moved = await fetch(wanted_of(hub, file, tmp_path))
    assert moved.path.read_bytes() == CONTENT
    assert sum(taken) > len(CONTENT) / 2


async def test_body_in_chunks_then_the_parser_takes_them_apart(
    tmp_path: Path, tls: ssl.SSLContext | None, taken: list[int]
) -> None:
    async with served(tls, Fault(chunked=True)) as (hub, file):
        moved = await fetch(wanted_of(hub, file, tmp_path))
    assert moved.path.read_bytes() == CONTENT
    assert taken == []


async def test_connection_that_breaks_then_the_rest_is_asked_for(
    tmp_path: Path, tls: ssl.SSLContext | None
) -> None:
    faults = (Fault(drop_after=1_500_000), Fault(drop_after=900_000, reset=True))
    async with served(tls, *faults) as (hub, file):
        moved = await fetch(wanted_of(hub, file, tmp_path))
    assert moved.path.read_bytes() == CONTENT
    assert moved.n_retries == 2
    # What a reset throws away at the receiver's side is sent again.
    assert len(CONTENT) <= moved.received_bytes < len(CONTENT) + 1_000_000


async def test_connection_that_stalls_then_it_is_given_up_and_the_rest_is_asked_for(
    tmp_path: Path, tls: ssl.SSLContext | None
) -> None:
    async with served(tls, Fault(stall_after=700_000)) as (hub, file):
        moved = await fetch(wanted_of(hub, file, tmp_path), quick(stall_s=SOON_S))
    assert moved.path.read_bytes() == CONTENT
    assert moved.n_retries == 1
    assert moved.received_bytes == len(CONTENT)


async def test_cancelled_in_the_middle_then_what_came_is_right_and_gone_on_from(
    tmp_path: Path, tls: ssl.SSLContext | None
) -> None:
    async with served(tls, Fault(stall_after=1_234_567)) as (hub, file):
        wanted = wanted_of(hub, file, tmp_path)
        has_come = asyncio.Event()

        def watch(progress: object) -> None:
            if getattr(progress, "done_bytes", 0) >= 1_234_567:
                has_come.set()

        task = asyncio.create_task(fetch(wanted, quick(), watch))
        async with asyncio.timeout(10):
            await has_come.wait()
        begun_s = asyncio.get_running_loop().time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.get_running_loop().time() - begun_s < 5.0
        part, _ = part_paths(wanted.destination)
        assert part.read_bytes() == CONTENT[:1_234_567]
        moved = await fetch(wanted)
    assert moved.path.read_bytes() == CONTENT
    assert moved.received_bytes == len(CONTENT) - 1_234_567


async def test_certificate_that_nobody_vouches_for_then_nothing_is_fetched(
    tmp_path: Path, certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with served(certificate) as (hub, file):
        with pytest.raises(DownloadError, match="certificate verify failed"):
            await fetch(wanted_of(hub, file, tmp_path))


async def test_certificate_of_another_host_then_nothing_is_fetched(
    tmp_path: Path, certificate: ssl.SSLContext
) -> None:
    async with served(certificate) as (hub, file):
        hub.url = hub.url.replace("127.0.0.1", "localhost")
        with pytest.raises(DownloadError, match="certificate verify failed"):
            await fetch(wanted_of(hub, file, tmp_path))


async def test_proxy_of_the_environment_then_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: list[int]
) -> None:
    async with served(None) as (hub, file):
        monkeypatch.setenv("HTTP_PROXY", hub.url)
        monkeypatch.setenv("NO_PROXY", "")
        wanted = wanted_of(hub, file, tmp_path)
        target = wanted.url.replace(hub.url, "http://models.example")
        async with new_client(quick()) as client:
            answer = await client.get(target)
    assert str(answer.request.url) == target
    assert not isinstance(answer.extensions["network_stream"], Wire)
    assert taken == []


async def test_few_bytes_that_come_slowly_then_they_are_in_the_file_at_once(
    tmp_path: Path,
) -> None:
    async with served(None) as (hub, file):
        writer = await open_writer(wanted_of(hub, file, tmp_path))
        ours, theirs = socket.socketpair()
        with ours, theirs:
            receiver = Receiver(writer.part, ours)
            theirs.send(CONTENT[:10])
            received = await writer.receive(receiver, 1 << 24, 0.05)
            part, _ = part_paths(writer.part.wanted.destination)
            assert (received.n_bytes, received.end) == (10, "")
            assert part.read_bytes() == CONTENT[:10]
            theirs.close()
            ended = await writer.receive(receiver, 1 << 24, 0.05)
            assert (ended.n_bytes, ended.end) == (0, "the other side closed it")
            receiver.close()
        await writer.close()


async def test_more_than_all_buffers_then_the_sum_covers_everything(tmp_path: Path) -> None:
    content = CONTENT * 3
    async with running_hub() as hub:
        file = hub.add(content)
        assert len(content) > 16 * BUFFER_BYTES
        moved = await fetch(wanted_of(hub, file, tmp_path))
    assert moved.sha256 == file.sha256
    assert moved.path.read_bytes() == content
