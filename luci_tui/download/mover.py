"""Fetch one file, whatever the network does: resume, check, and publish it whole or not at all.

Why not a library: huggingface_hub (2.4) neither resumes after a kill nor checks the sha256 that it
knows, see docs/adr/0008. What it does well (metadata, login) is used elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

import httpx

from luci_tui.download.answers import (
    MAX_REDIRECTS,
    Body,
    TryAgainError,
    judge,
    origin,
    redirect_target,
)
from luci_tui.download.body import BodyTaker
from luci_tui.download.messages import Moved, MoveProgress, Phase, Wanted
from luci_tui.download.options import MoveOptions
from luci_tui.download.pace import Speed
from luci_tui.download.tls import tls_context
from luci_tui.download.wire import take_directly
from luci_tui.download.writer import PartWriter, open_writer
from luci_tui.errors import DownloadError

REPORT_S = 0.1

Report = Callable[[MoveProgress], None]


def new_client(options: MoveOptions) -> httpx.AsyncClient:
    """Make the client for downloads: proxies and certificates as the environment says.

    Raises:
        DownloadError: the certificates that it names cannot be read.
    """
    timeout = httpx.Timeout(None, connect=options.connect_s)
    certificates = tls_context()
    client = httpx.AsyncClient(timeout=timeout, follow_redirects=False, verify=certificates)
    take_directly(client, certificates)
    return client


async def move(
    wanted: Wanted, client: httpx.AsyncClient, options: MoveOptions, report: Report
) -> Moved:
    """Fetch a file and give it its final name.

    When the task is cancelled, or with any error, the part stays and the next call goes on from
    it; an old file under the final name stays until the new one is whole.

    Raises:
        DownloadError: it cannot be had; the code says why.
    """
    writer = await open_writer(wanted)
    mover = _Mover(wanted, writer, client, options, report)
    try:
        return await mover.run()
    except OSError as error:
        raise writer.part.disk_error(error) from error
    finally:
        await writer.close()


class _Mover:
    def __init__(
        self,
        wanted: Wanted,
        writer: PartWriter,
        client: httpx.AsyncClient,
        options: MoveOptions,
        report: Report,
    ) -> None:
        self._wanted = wanted
        self._name = wanted.destination.name
        self._writer = writer
        self._part = writer.part
        self._client = client
        self._options = options
        self._report = report
        self._now = asyncio.get_running_loop().time
        self._speed = Speed(self._now())
        self._backoff = options.new_backoff()
        self._n_retries = 0
        self._n_restarts = 0
        self._reported_at_s = 0.0
        self._body = BodyTaker(writer, options, self._speed, lambda: self._tell(Phase.DOWNLOADING))

    async def run(self) -> Moved:
        await self._writer.take_up(lambda: self._tell(Phase.REHASHING))
        while not self._is_complete() and not await self._attempt():
            pass
        self._tell(Phase.PUBLISHING)
        sha256 = await self._writer.publish(self._options.check)
        return Moved(
            path=self._wanted.destination,
            size_bytes=self._part.length,
            sha256=sha256,
            received_bytes=self._body.received_bytes,
            n_retries=self._n_retries,
        )

    def _is_complete(self) -> bool:
        return self._part.size_bytes is not None and self._part.length == self._part.size_bytes

    async def _attempt(self) -> bool:
        """Ask once and take what comes; True = the file is complete."""
        had_bytes = self._part.length
        try:
            return await self._ask()
        except TryAgainError as error:
            failure = error
        except (httpx.TransportError, httpx.StreamError) as error:
            failure = TryAgainError(f"The connection broke off ({_words(error)}).")
        except httpx.InvalidURL as error:
            msg = f"The address of {self._name} is no URL ({error}). Correct it."
            raise DownloadError(msg, code="invalid_url") from error
        self._n_retries += 1
        if failure.restart:
            self._n_restarts += 1
            await self._writer.restart()
        elif self._part.length > had_bytes:
            self._backoff.succeeded()
        wait_s = self._backoff.wait_s(failure.retry_after_s)
        is_hopeless = self._n_restarts > self._options.max_restarts
        if is_hopeless or self._backoff.n_failed >= self._options.max_attempts:
            raise DownloadError(
                f"{self._name} could not be fetched: {failure.reason} "
                "What is there stays, and the next try goes on from it.",
                code="network",
            )
        self._speed.forget(self._now())
        self._tell(Phase.WAITING, f"{failure.reason} Trying again in {wait_s:.0f} s.")
        await asyncio.sleep(wait_s)
        return False

    async def _ask(self) -> bool:
        part = self._part
        async with self._answer() as response:
            body = judge(
                response.status_code,
                _lower(response.headers),
                name=self._name,
                have_bytes=part.length,
                size_bytes=part.size_bytes,
            )
            if body is None:
                return True
            await self._begin(body)
            await self._body.take(response)
        if part.size_bytes is None:
            # Nobody said how long it is, and the message was complete as HTTP sees it.
            return True
        if part.length < part.size_bytes:
            msg = f"The server ended after {part.length} of {part.size_bytes} bytes."
            raise TryAgainError(msg)
        return True

    @asynccontextmanager
    async def _answer(self) -> AsyncGenerator[httpx.Response]:
        """Ask for what is missing, through a few redirects."""
        part = self._part
        url = self._wanted.url
        asked = {"Accept-Encoding": "identity", "User-Agent": "luci"}
        if part.length:
            asked["Range"] = f"bytes={part.length}-"
            if part.etag:
                asked["If-Range"] = part.etag
        for _ in range(MAX_REDIRECTS + 1):
            is_home = origin(url) == origin(self._wanted.url)
            headers = asked | (dict(self._wanted.headers) if is_home else {})
            request = self._client.build_request("GET", url, headers=headers)
            try:
                async with asyncio.timeout(self._options.stall_s):
                    response = await self._client.send(request, stream=True)
            except TimeoutError as error:
                msg = f"The server gives no answer within {self._options.stall_s:.0f} s."
                raise TryAgainError(msg) from error
            try:
                found = redirect_target(
                    url, response.status_code, _lower(response.headers), self._name
                )
                if found is None:
                    yield response
                    return
                url = found
            finally:
                await response.aclose()
        raise DownloadError(
            f"The address of {self._name} leads on more than {MAX_REDIRECTS} times. "
            "Use another address.",
            code="redirect",
        )

    async def _begin(self, body: Body) -> None:
        part = self._part
        is_other = bool(part.etag and body.etag and part.etag != body.etag)
        if part.length and (body.begins_at == 0 or (is_other and not self._wanted.sha256)):
            if body.begins_at:
                msg = f"{self._name} has changed at the server meanwhile."
                raise TryAgainError(msg, restart=True)
            await self._writer.restart()
        part.etag = body.etag
        part.size_bytes = body.size_bytes
        # Without its state a part belongs to nothing, so that comes before the first byte.
        await self._writer.sync()

    def _tell(self, phase: Phase, note: str = "") -> None:
        now_s = self._now()
        is_frequent = phase in (Phase.DOWNLOADING, Phase.REHASHING)
        if is_frequent and now_s - self._reported_at_s < REPORT_S:
            return
        self._reported_at_s = now_s
        self._report(
            MoveProgress(
                phase=phase,
                done_bytes=self._part.length,
                size_bytes=self._part.size_bytes,
                rate_bytes_per_s=self._speed.bytes_per_s(now_s),
                n_retries=self._n_retries,
                note=note,
            )
        )


def _lower(headers: httpx.Headers) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
