"""A hub on loopback that serves files over real HTTP, and every way in which that can go wrong.

Each request takes the next `Fault` of the file that it asks for; without one the hub behaves. It
speaks the part of the Hugging Face Hub's protocol that downloads need:
`/{repo}/resolve/{rev}/{path}` with its headers, redirects to a second origin, and errors with
X-Error-Code. What it says about its repositories stands in `tests.support.hub_api`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tests.support.hub_api import COMMIT, ApiReply, HubApi, HubRepo

STATS_PATH = "/stats"
"""Answers with the bytes of all bodies so far, for a test in another process."""
_CHUNK_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 16

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


@dataclass(frozen=True)
class Fault:
    """What one answer does wrong. Bytes are counted in the body of that answer."""

    status: int = 0
    """Instead of 200 or 206."""
    error_code: str = ""
    error_message: str = ""
    retry_after: str = ""
    drop_after: int = -1
    """Close the connection after so many bytes of the body; 0 = after the head."""
    reset: bool = False
    """Close it with RST instead of FIN."""
    drop_before_head: bool = False
    stall_after: int = -1
    """Send no more after so many bytes, and leave the connection open."""
    flip_at: int = -1
    """Byte of the file with one wrong bit."""
    short_by: int = 0
    """Announce all and end so much earlier."""
    announce: int | None = None
    """Content-Length instead of the true one."""
    total: int | None = None
    """Size in Content-Range instead of the true one."""
    extra: int = 0
    """Bytes after the end, announced as well."""
    ignore_range: bool = False
    shift_range: int = 0
    """The part that is sent, and says so, begins so much later."""
    lie_range: int = 0
    """The part says that it begins so much later, and begins where it should."""
    no_content_range: bool = False
    content_range: str = ""
    """Instead of the true one."""
    chunked: bool = False
    """No Content-Length; the length is known at the end."""
    no_length: bool = False
    """No Content-Length, and the end of the connection ends the file."""
    encoding: str = ""
    content_type: str = ""
    etag: str | None = None
    """Instead of the file's own; "" = none."""
    location: str = ""
    """Redirect to this, "other" = the hub's second origin, "self" = the same address."""
    garbage: bytes = b""
    """Sent instead of a head."""
    headers: tuple[tuple[str, str], ...] = ()
    """More of them."""
    delay_s: float = 0.0
    """Before the head."""


@dataclass
class HubFile:
    """One file at the hub."""

    content: bytes
    faults: deque[Fault] = field(default_factory=deque[Fault])
    forever: Fault | None = None
    """What is wrong with each answer once `faults` are used up."""
    needs_token: str = ""

    @property
    def sha256(self) -> str:
        """Return the sum of the true content."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Asked:
    """One request, as the hub saw it."""

    path: str
    headers: dict[str, str]
    origin: str
    """"first" or "other"."""
    sent_bytes: int = 0
    """Of the body."""
    method: str = "GET"
    body: bytes = b""
    """What came with the request."""


class Hub:
    """The hub; use `running_hub`."""

    def __init__(self) -> None:
        self.files: dict[str, HubFile] = {}
        self.asked: list[Asked] = []
        self.url = ""
        self.other_url = ""
        """The same files at another origin, as a content delivery network is."""
        self.api = HubApi()
        """Its repositories and users."""
        self.api.on_commit = self._offer
        self.api_faults: deque[Fault] = deque()
        """Of the next answers of the API; a status, a delay or what ends the connection."""
        self.api_forever: Fault | None = None
        """What is wrong with each answer of the API once `api_faults` are used up."""
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, content: bytes, *faults: Fault, name: str = "model.gguf") -> HubFile:
        """Offer a file of org/repo and return it."""
        file = HubFile(content, deque(faults))
        repo = self.api.repos.setdefault("org/repo", HubRepo("org/repo"))
        repo.files[name] = content
        for revision in (*repo.revisions, repo.commit):
            self.files[f"/org/repo/resolve/{revision}/{name}"] = file
        return file

    def add_repo(self, name: str, files: dict[str, bytes], **facts: Any) -> HubRepo:
        """Offer a repository; `facts` are fields of a HubRepo."""
        repo = self.api.repos[name] = HubRepo(name, dict(files), **facts)
        self._offer(repo)
        return repo

    def file_of(self, repo: HubRepo, path: str) -> HubFile:
        """Return the file behind a path, to give it faults."""
        return self.files[f"/{repo.name}/resolve/{repo.commit}/{quote(path)}"]

    def asked_api(self) -> list[Asked]:
        """Return the requests that were for no file's bytes."""
        return [asked for asked in self.asked if "/resolve/" not in asked.path]

    def _offer(self, repo: HubRepo) -> None:
        """Make the files of a repository downloadable under each name of its commit."""
        for path, content in repo.files.items():
            file = HubFile(content)
            for revision in (*repo.revisions, repo.commit):
                self.files[f"/{repo.name}/resolve/{quote(revision, safe='')}/{quote(path)}"] = file

    def url_of(self, name: str = "model.gguf") -> str:
        """Return the address of a file."""
        return f"{self.url}/org/repo/resolve/main/{name}"

    @property
    def sent_bytes(self) -> int:
        """Return what all bodies together have had."""
        return sum(asked.sent_bytes for asked in self.asked)

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, origin: str
    ) -> None:
        """Answer the requests of one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        # On loopback the kernel would take megabytes before anybody reads one.
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        try:
            while await self._answer(reader, writer, origin):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        """End all connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, origin: str
    ) -> bool:
        """Answer one request; False = the connection is over."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines if line)
        }
        body = await _read_body(reader, headers)
        self.asked.append(Asked(path, headers, origin, method=method, body=body))
        number = len(self.asked) - 1
        if path == STATS_PATH:
            text = str(self.sent_bytes).encode()
            await _send_head(writer, 200, {"Content-Length": len(text)})
            writer.write(text)
            return True
        if path.startswith(("/api/", "/lfs/", "/oauth/")) or ".git/" in path:
            return await self._answer_api(writer, self.asked[number])
        return await self._answer_file(writer, self.asked[number], number)

    async def _answer_file(self, writer: asyncio.StreamWriter, asked: Asked, number: int) -> bool:
        """Answer a question for bytes; False = the connection is over."""
        path, headers, origin = asked.path, asked.headers, asked.origin
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        refused = self.api.download_refusal(path, bearer) if origin == "first" else None
        if refused is not None:
            return await _reply(writer, refused)
        # The query of an address ("?download=true") is no part of a file's name.
        file = self.files.get(urlsplit(path).path) or self.files.get(quote(unquote(path)))
        if file is None:
            return await _refuse(writer, 404, Fault(error_code="EntryNotFound"))
        has_token = headers.get("authorization") == f"Bearer {file.needs_token}"
        if file.needs_token and origin == "first" and not has_token:
            return await _refuse(writer, 401, Fault(error_code="GatedRepo"))
        fault = file.faults.popleft() if file.faults else file.forever or Fault()
        await asyncio.sleep(fault.delay_s)
        if fault.drop_before_head:
            return False
        if fault.garbage:
            writer.write(fault.garbage)
            await writer.drain()
            return False
        if fault.location:
            target = {"other": self.other_url + path, "self": self.url + path}
            where = target.get(fault.location, fault.location)
            await _send_head(writer, fault.status or 302, {"Location": where, "Content-Length": 0})
            return True
        if fault.status >= 400:
            return await _refuse(writer, fault.status, fault)
        return await self._send(writer, file, fault, headers, number)

    async def _answer_api(self, writer: asyncio.StreamWriter, asked: Asked) -> bool:
        """Answer a question about repositories; False = the connection is over."""
        fault = self.api_faults.popleft() if self.api_faults else self.api_forever or Fault()
        await asyncio.sleep(fault.delay_s)
        if fault.drop_before_head:
            return False
        if fault.stall_after >= 0:
            await asyncio.Event().wait()
        if fault.garbage:
            writer.write(fault.garbage)
            await writer.drain()
            return False
        if fault.location:
            headers = {"Location": fault.location, "Content-Length": 0}
            await _send_head(writer, fault.status or 307, headers)
            return True
        if fault.status >= 400:
            return await _refuse(writer, fault.status, fault)
        reply = self.api.answer(asked.method, asked.path, asked.headers, asked.body)
        return await _reply(
            writer, replace(reply, headers={**reply.headers, **dict(fault.headers)})
        )

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        file: HubFile,
        fault: Fault,
        asked: dict[str, str],
        number: int,
    ) -> bool:
        content = bytearray(file.content)
        if fault.flip_at >= 0:
            content[fault.flip_at] ^= 1
        etag = f'"{file.sha256}"' if fault.etag is None else fault.etag
        begin = _range_begin(asked, etag, fault)
        if begin is not None and begin >= len(content):
            headers: dict[str, object] = {"Content-Range": f"bytes */{len(content)}"}
            await _send_head(writer, 416, headers | {"Content-Length": 0})
            return True
        is_part = begin is not None
        begin = (begin or 0) + fault.shift_range
        body = bytes(content[begin:]) + b"x" * fault.extra
        headers = {"Content-Type": fault.content_type or "application/octet-stream"}
        if etag:
            headers["ETag"] = etag
        if is_part and not fault.no_content_range:
            total = fault.total if fault.total is not None else len(content)
            told = begin + fault.lie_range
            range_text = f"bytes {told}-{len(content) - 1}/{total}"
            headers["Content-Range"] = fault.content_range or range_text
        if fault.encoding:
            headers["Content-Encoding"] = fault.encoding
        if fault.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif not fault.no_length:
            headers["Content-Length"] = len(body) if fault.announce is None else fault.announce
        headers |= dict(fault.headers)
        await _send_head(writer, fault.status or (206 if is_part else 200), headers)
        if self.asked[number].method == "HEAD":
            return True
        if fault.short_by:
            body = body[: -fault.short_by]
        is_whole = await self._send_body(writer, body, fault, number)
        return is_whole and not (fault.no_length or fault.short_by or fault.announce is not None)

    async def _send_body(
        self, writer: asyncio.StreamWriter, body: bytes, fault: Fault, number: int
    ) -> bool:
        """Send it as far as the fault lets it; False = the connection is over."""
        limits = [limit for limit in (fault.drop_after, fault.stall_after) if limit >= 0]
        end = min([len(body), *limits])
        for at in range(0, end, _CHUNK_BYTES):
            piece = body[at : min(end, at + _CHUNK_BYTES)]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if fault.chunked else piece)
            await writer.drain()
            asked = self.asked[number]
            self.asked[number] = replace(asked, sent_bytes=asked.sent_bytes + len(piece))
        if fault.stall_after >= 0:
            await asyncio.Event().wait()
        if fault.drop_after >= 0:
            if fault.reset:
                writer.transport.abort()
            return False
        if fault.chunked:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return True


@asynccontextmanager
async def running_hub(tls: ssl.SSLContext | None = None) -> AsyncGenerator[Hub]:
    """Run a hub with two origins on loopback, over https where there is a certificate."""
    hub = Hub()

    def on(origin: str) -> Serve:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await hub.serve(reader, writer, origin)

        return serve

    first = await asyncio.start_server(on("first"), "127.0.0.1", 0, ssl=tls)
    other = await asyncio.start_server(on("other"), "127.0.0.1", 0, ssl=tls)
    scheme = "http" if tls is None else "https"
    hub.url = f"{scheme}://127.0.0.1:{first.sockets[0].getsockname()[1]}"
    hub.other_url = f"{scheme}://127.0.0.1:{other.sockets[0].getsockname()[1]}"
    hub.api.url, hub.api.upload_url = hub.url, hub.other_url
    try:
        yield hub
    finally:
        for server in (first, other):
            server.close()
        await hub.close()
        for server in (first, other):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), 5)


def _range_begin(asked: dict[str, str], etag: str, fault: Fault) -> int | None:
    """Return where the part that is asked for begins; None = the whole file is to be sent."""
    wanted = asked.get("range", "")
    is_other = "if-range" in asked and asked["if-range"] != etag
    if not wanted.startswith("bytes=") or fault.ignore_range or is_other:
        return None
    return int(wanted.removeprefix("bytes=").partition("-")[0])


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """Read what comes with a request: as long as it says, or in chunks."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def _reply(writer: asyncio.StreamWriter, reply: ApiReply) -> bool:
    length = {"Content-Length": len(reply.body)}
    await _send_head(writer, reply.status, {**reply.headers, **length})
    writer.write(reply.body)
    await writer.drain()
    return True


async def _refuse(writer: asyncio.StreamWriter, status: int, fault: Fault) -> bool:
    headers: dict[str, object] = {"Content-Length": 0}
    named = {
        "X-Error-Code": fault.error_code,
        "X-Error-Message": fault.error_message,
        "Retry-After": fault.retry_after,
    }
    await _send_head(writer, status, headers | {k: v for k, v in named.items() if v})
    return True


async def _send_head(
    writer: asyncio.StreamWriter, status: int, headers: Mapping[str, object]
) -> None:
    lines = [f"HTTP/1.1 {status} Answer", f"X-Repo-Commit: {COMMIT}", "Accept-Ranges: bytes"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    await writer.drain()
