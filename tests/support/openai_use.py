"""Ask the HTTP API through the `openai` client."""

from __future__ import annotations

from typing import Any

import openai
from openai.types.chat import ChatCompletionChunk

from tests.support.api_server import KEY

HI: Any = [{"role": "user", "content": "the letters"}]
GREEDY: Any = {"temperature": 0, "max_tokens": 8, "extra_body": {"ignore_eos": True}}


def sdk(url: str) -> openai.AsyncOpenAI:
    """Make a client that tries nothing twice; it is closed by `async with`."""
    return openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0)


async def chunks(stream: Any) -> list[ChatCompletionChunk]:
    """Read a stream to its end."""
    return [chunk async for chunk in stream]
