"""The one client that measures every HTTP server: raw bytes, nothing parsed while tokens arrive.

It shares the machine's cores with the server, and every cycle it burns would be charged to that.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass

from luci_tui.bench.peers.workload import Stream
from luci_tui.errors import EngineError

HOST = "127.0.0.1"
PATH = "/v1/completions"
_STREAM_TIMEOUT_S = 300.0
_READ_BYTES = 65536
_EVENT = b"data: "
_N_COMPLETION = re.compile(rb'"completion_tokens":\s*(\d+)')


@dataclass(frozen=True)
class HttpTarget:
    """A server on the loopback that speaks OpenAI's protocol."""

    name: str
    """For errors."""
    port: int
    model: str
    """What a request calls the model."""

    async def stream(self, tokens: list[int], n_new: int, *, cache_prompt: bool = False) -> Stream:
        """Stream one completion of `n_new` tokens, over a connection of its own.

        Raises:
            EngineError: the server sent another number of tokens.
        """
        body = json.dumps(
            {
                "model": self.model,
                "prompt": tokens,
                "max_tokens": n_new,
                "stream": True,
                "stream_options": {"include_usage": True},
                "ignore_eos": True,
                "cache_prompt": cache_prompt,
                "seed": 1,
            }
        ).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {HOST}:{self.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        async with asyncio.timeout(_STREAM_TIMEOUT_S):
            return await self._post(head.encode() + body, n_new)

    async def _post(self, request: bytes, n_new: int) -> Stream:
        sent_s = time.perf_counter()
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            writer.write(request)
            received = bytearray()
            first_s: float | None = None
            while piece := await reader.read(_READ_BYTES):
                received += piece
                if first_s is None and _EVENT in received:
                    first_s = time.perf_counter()
            last_s = time.perf_counter()
        finally:
            writer.close()
        counts = _N_COMPLETION.findall(bytes(received))
        if first_s is None or not counts or int(counts[-1]) != n_new:
            start = bytes(received[:300]).decode(errors="replace")
            message = f"{self.name} did not stream {n_new} tokens; it answered: {start!r}"
            raise EngineError(message)
        return Stream(sent_s, first_s, last_s, n_new)
