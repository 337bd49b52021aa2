"""What one client of the soak does: any of the things that programs ask luci for, by chance."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, cast

import httpx

from luci_tui.chat.turn_events import TurnDelta, TurnDone, TurnFailed, TurnStarted
from luci_tui.engine import frames
from luci_tui.errors import LuciError
from luci_tui.host.api.messages import EngineCall
from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from tests.support.soak_models import EMBEDDER, MAIN, N_CTX, OTHERS

Json = dict[str, Any]

WORDS: Final = ("the", "and", "of", "list", "files", "show", "find", "count", "lines", "large")
MAX_TOKENS: Final = 24
MAIN_SHARE: Final = 0.7
TURNS_OF_A_CHAT: Final = 6
LONGEST_ANSWER_S: Final = 330.0
"""A request may wait 300 s for the memory that others use."""


class WrongAnswerError(AssertionError):
    """Something came that nobody asked for; the message says what."""


def require(is_right: object, words: object) -> None:
    """Raise WrongAnswerError unless something is so."""
    if not is_right:
        raise WrongAnswerError(str(words)[:600])


@dataclass(frozen=True)
class Bad:
    """A request that is to be refused, and how."""

    path: str
    body: Json | str
    status: int
    code: str
    """Empty = this API says none."""


HI: Final = [{"role": "user", "content": "list the files"}]
BAD: Final = (
    Bad("/v1/chat/completions", {"model": "no-such", "messages": HI}, 404, "model_not_found"),
    Bad("/v1/chat/completions", {"model": MAIN, "messages": HI, "x": 1}, 400, "unknown_parameter"),
    Bad(
        "/v1/chat/completions",
        {"model": MAIN, "messages": [{"role": "user", "content": "the " * 2 * N_CTX}]},
        400,
        "context_length_exceeded",
    ),
    Bad(
        "/v1/chat/completions",
        {"model": MAIN, "messages": HI, "grammar": "root ::= ("},
        400,
        "invalid_grammar",
    ),
    Bad("/v1/completions", '{"model": ', 400, "invalid_json"),
    Bad("/v1/embeddings", {"model": EMBEDDER, "input": 5}, 400, "invalid_type"),
    Bad("/v1/responses", {"model": MAIN, "input": "a", "temperature": 9}, 400, ""),
    Bad("/v1/messages", {"model": MAIN, "messages": HI}, 400, ""),
    Bad("/v1/nowhere", {}, 404, "not_found"),
)


@dataclass
class SoakClient:
    """One client with connections of its own to the port and to the socket."""

    number: int
    chance: Random
    http: httpx.AsyncClient
    host: HostClient
    chat_id: str = ""
    n_turns: int = 0
    response_id: str = ""
    took_s: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """How long each thing took that was done."""

    async def once(self) -> None:
        """Do one thing.

        Raises:
            WrongAnswerError: the answer is none that belongs to it.
            LuciError: the host refused it.
            httpx.HTTPError: the server did not answer.
        """
        (name,) = self.chance.choices([*_DEEDS], [weight for weight, _ in _DEEDS.values()])
        began_s = time.monotonic()
        try:
            await _DEEDS[name][1](self)
        except (WrongAnswerError, LuciError, httpx.HTTPError) as error:
            code = error.code if isinstance(error, LuciError) else ""
            msg = f"{name}: {type(error).__name__} {code}: {error}"
            raise WrongAnswerError(msg) from error
        finally:
            self.took_s.setdefault(name, []).append(time.monotonic() - began_s)

    def talker(self) -> str:
        """Choose a model that gives text."""
        return MAIN if self.chance.random() < MAIN_SHARE else self.chance.choice(OTHERS)

    def text(self, n_words: int = 8) -> str:
        """Make up a text."""
        return " ".join(self.chance.choices(WORDS, k=self.chance.randint(1, n_words)))

    async def post(self, path: str, body: Json) -> Json:
        """Ask for one document."""
        answer = await self.http.post(path, json=body)
        require(answer.status_code == 200, f"{answer.status_code} {answer.text}")
        return cast("Json", answer.json())

    async def stream(self, path: str, body: Json, n_events: int = 1_000_000) -> list[Json]:
        """Ask for a stream and read it to its end, or go away after some events."""
        events: list[Json] = []
        async with self.http.stream("POST", path, json={**body, "stream": True}) as answer:
            if answer.status_code != 200:
                await answer.aread()
                require(False, f"{answer.status_code} {answer.text}")
            async for line in answer.aiter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    event = cast("Json", json.loads(line.removeprefix("data: ")))
                    require("error" not in event or event["error"] is None, event)
                    events.append(event)
                    if len(events) >= n_events:
                        break
        return events

    def chat_body(self, **fields: object) -> Json:
        """Make a request for chat completions."""
        return {
            "model": self.talker(),
            "messages": [{"role": "user", "content": self.text()}],
            "max_tokens": MAX_TOKENS,
            "ignore_eos": True,
            "user": f"client {self.number}",
            **fields,
        }


async def _chat(client: SoakClient) -> None:
    answer = await client.post("/v1/chat/completions", client.chat_body())
    require(answer["choices"][0]["finish_reason"] == "length", answer)
    require(answer["usage"]["completion_tokens"] == MAX_TOKENS, answer)


async def _chat_stream(client: SoakClient) -> None:
    body = client.chat_body(stream_options={"include_usage": True})
    events = await client.stream("/v1/chat/completions", body)
    require(events[-1]["usage"]["completion_tokens"] == MAX_TOKENS, events[-1])
    require(events[-2]["choices"][0]["finish_reason"] == "length", events[-2])


async def _completion(client: SoakClient) -> None:
    body = {"model": client.talker(), "prompt": client.text(), "max_tokens": MAX_TOKENS}
    if client.chance.random() < 0.5:
        answer = await client.post("/v1/completions", body)
        require(answer["choices"][0]["finish_reason"] in {"length", "stop"}, answer)
    else:
        events = await client.stream("/v1/completions", body)
        require(events[-1]["choices"][0]["finish_reason"] in {"length", "stop"}, events[-1])


async def _embed(client: SoakClient) -> None:
    n_texts = client.chance.randint(1, 4)
    body = {"model": EMBEDDER, "input": [client.text() for _ in range(n_texts)]}
    answer = await client.post("/v1/embeddings", body)
    vectors = [row["embedding"] for row in answer["data"]]
    require(len(vectors) == n_texts and all(any(vector) for vector in vectors), answer)


async def _tokenize(client: SoakClient) -> None:
    body = {"model": client.talker(), "content": client.text()}
    answer = await client.post("/tokenize", body)
    require(answer["tokens"], answer)


async def _messages(client: SoakClient) -> None:
    messages = [{"role": "user", "content": client.text()}]
    body = {"model": client.talker(), "messages": messages, "max_tokens": MAX_TOKENS}
    if client.chance.random() < 0.5:
        answer = await client.post("/v1/messages", body)
        require(answer["stop_reason"] in {"max_tokens", "end_turn"}, answer)
    else:
        events = await client.stream("/v1/messages", body)
        require(events[-1]["type"] == "message_stop", events[-1])


async def _responses(client: SoakClient) -> None:
    body: Json = {"model": MAIN, "input": client.text(), "max_output_tokens": MAX_TOKENS}
    if client.response_id:
        body["previous_response_id"], client.response_id = client.response_id, ""
    elif client.chance.random() < 0.3:
        answer = await client.post("/v1/responses", body)
        client.response_id = answer["id"]
        return
    body["store"] = False
    events = await client.stream("/v1/responses", body)
    last = events[-1]
    require(last["type"] in {"response.completed", "response.incomplete"}, last)


async def _leave(client: SoakClient) -> None:
    """Go away in the middle of an endless answer, or before its first word."""
    body = client.chat_body()
    del body["max_tokens"]
    await client.stream("/v1/chat/completions", body, client.chance.randint(1, 12))


async def _bad(client: SoakClient) -> None:
    bad = client.chance.choice(BAD)
    content = bad.body if isinstance(bad.body, str) else json.dumps(bad.body)
    headers = {"content-type": "application/json"}
    answer = await client.http.post(bad.path, content=content, headers=headers)
    require(answer.status_code == bad.status, f"{bad} got {answer.status_code} {answer.text}")
    code = answer.json()["error"].get("code")
    require(not bad.code or code == bad.code, f"{bad} got {answer.text}")


async def _turn(client: SoakClient) -> None:
    """Send a message in a chat of the client's own; every third answer is stopped half-way."""
    chats = HostChats(client.host)
    if not client.chat_id or client.n_turns >= TURNS_OF_A_CHAT:
        if client.chat_id:
            await chats.delete(client.chat_id)
        parameters = {"max_tokens": 3 * MAX_TOKENS}
        chat = await chats.create({"model": client.talker(), "parameters": parameters})
        client.chat_id, client.n_turns = chat.id, 0
    client.n_turns += 1
    stop_after = client.chance.choice([1_000_000, 1_000_000, client.chance.randint(1, 5)])
    said, n_deltas, is_ended, reply_id = "", 0, False, ""
    turn = chats.send(client.chat_id, client.text(40), parent_id=None, options={})
    async with aclosing(turn) as events:
        async for event in events:
            require(not isinstance(event, TurnFailed), event)
            if isinstance(event, TurnStarted):
                reply_id = event.reply_id
            elif isinstance(event, TurnDelta):
                said, n_deltas = said + event.text, n_deltas + 1
                if n_deltas >= stop_after:
                    break
            is_ended = is_ended or isinstance(event, TurnDone)
    kept = next(one for one in await chats.messages(client.chat_id) if one.id == reply_id)
    require(kept.text == said if is_ended else kept.text.startswith(said), (kept, said))
    states = {"complete"} if is_ended else {"complete", "cancelled"}
    require(kept.state in states, kept)


async def _generate(client: SoakClient) -> None:
    """Ask an engine through the socket, as `luci run` does."""
    sampling = frames.SamplingParams(ignore_eos=True, seed=client.chance.randint(1, 9))
    command = frames.Generate(
        request_id=0, prompt=client.text(), max_tokens=MAX_TOKENS, sampling=sampling
    )
    call = EngineCall(model=client.talker(), command=command)
    kinds: list[str] = []
    async with aclosing(client.host.stream("POST", "/luci/generate", call)) as events:
        async for event in events:
            kinds.append(event.kind)
    require(kinds[-1] == "done", kinds)


async def _look(client: SoakClient) -> None:
    """Look at the host as the screen does."""
    chats = HostChats(client.host)
    await client.host.status()
    await client.host.models()
    await chats.list(limit=20, archived=False)
    await chats.search(client.text(1), limit=5)
    listed = await client.http.get("/v1/models")
    require(listed.status_code == 200, listed.text)


Deed = Callable[[SoakClient], Awaitable[None]]
_DEEDS: Final[dict[str, tuple[float, Deed]]] = {
    "chat": (2, _chat),
    "chat, streamed": (4, _chat_stream),
    "completion": (2, _completion),
    "embeddings": (2, _embed),
    "tokenize": (1, _tokenize),
    "messages": (2, _messages),
    "responses": (2, _responses),
    "client left": (2, _leave),
    "bad request": (2, _bad),
    "chat on the socket": (3, _turn),
    "engine on the socket": (1, _generate),
    "look": (1, _look),
}
