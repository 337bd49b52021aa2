from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from luci_tui.host import unix_http
from luci_tui.host.unix_http import BrokenAnswerError, UnixHttp

WAIT_S = 20.0
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[tuple[UnixHttp, list[asyncio.StreamWriter]]]:
    """Give a client of a server that treats each connection so, and the connections so far."""
    writers: list[asyncio.StreamWriter] = []

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "s"
        server = await asyncio.start_unix_server(on_connection, socket)
        client = UnixHttp(socket)
        try:
            yield client, writers
        finally:
            client.close()
            server.close()
            await server.wait_closed()


async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await head_of(reader):
            writer.write(WHOLE)
    except asyncio.IncompleteReadError:
        return


async def test_requests_one_after_the_other_share_a_connection() -> None:
    async with served(answer_all) as (client, connections):
        for _ in range(3):
            answer = await client.request("GET", "/a?b=c", None, WAIT_S)
            assert (answer.status, answer.content_type, answer.content) == (200, "text/x", b"hi")
        assert len(connections) == 1


async def test_request_with_a_body_sends_all_of_it() -> None:
    seen: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await head_of(reader) + await reader.readexactly(100_000))
        writer.write(WHOLE)

    async with served(take) as (client, _):
        await client.request("POST", "/x", b"y" * 100_000, WAIT_S)
    assert seen[0].startswith(b"POST /x HTTP/1.1\r\n")
    assert b"content-length: 100000\r\n" in seen[0]


async def test_request_after_the_server_closed_takes_a_new_connection() -> None:
    async def answer_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(WHOLE)

    async with served(answer_one) as (client, connections):
        assert (await client.request("GET", "/", None, WAIT_S)).content == b"hi"
        await connections[0].wait_closed()
        assert (await client.request("GET", "/", None, WAIT_S)).content == b"hi"
        assert len(connections) == 2


async def test_stream_gives_each_piece_when_it_comes() -> None:
    go_on = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(CHUNKED + chunk(b"one"))
        await go_on.wait()
        writer.write(chunk(b"two") + END)

    pieces: list[bytes] = []
    async with served(talk) as (client, _), client.stream("GET", "/", None, WAIT_S) as answer:
        async for piece in answer.pieces():
            pieces.append(piece)
            go_on.set()
    assert pieces == [b"one", b"two"]


async def test_stream_that_is_left_early_ends_the_connection() -> None:
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(CHUNKED + chunk(b"one"))
        assert await reader.read() == b""
        gone.set()

    async with served(talk) as (client, _):
        async with client.stream("GET", "/", None, WAIT_S) as answer:
            assert answer.status == 200
        await asyncio.wait_for(gone.wait(), WAIT_S)


async def test_stream_that_is_read_late_makes_the_server_wait_and_arrives_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unix_http, "MAX_WAITING_BYTES", 10_000)
    n_bytes = 4_000_000
    is_written = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(CHUNKED + chunk(b"x" * n_bytes) + END)
        await writer.drain()
        is_written.set()

    async with served(talk) as (client, _), client.stream("GET", "/", None, WAIT_S) as answer:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(is_written.wait(), 0.2)
        assert len((await answer.whole()).content) == n_bytes


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\n", CHUNKED + chunk(b"o"), b"220 mail\n"]
)
async def test_answer_that_breaks_off_is_an_error(said: bytes) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(said)

    async with served(break_off) as (client, _):
        with pytest.raises(BrokenAnswerError):
            await client.request("GET", "/", None, WAIT_S)


async def test_server_that_is_silent_is_given_up() -> None:
    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(CHUNKED + chunk(b"one"))
        await reader.read()

    async with served(be_silent) as (client, _):
        with pytest.raises(TimeoutError):
            await client.request("GET", "/", None, 0.05)


async def test_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await UnixHttp(tmp_path / "none").request("GET", "/", None, WAIT_S)


async def test_client_that_is_closed_breaks_off_what_is_read() -> None:
    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(CHUNKED)
        await reader.read()

    async with served(be_silent) as (client, _):
        async with client.stream("GET", "/", None, WAIT_S) as answer:
            reading = asyncio.create_task(answer.whole())
            await asyncio.sleep(0)
            client.close()
            with pytest.raises(BrokenAnswerError):
                await reading
        with pytest.raises(BrokenAnswerError):
            await client.request("GET", "/", None, WAIT_S)


async def test_path_that_is_not_quoted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="quoted"):
        await UnixHttp(tmp_path / "none").request("GET", "/a b\r\nx: y", None, WAIT_S)
