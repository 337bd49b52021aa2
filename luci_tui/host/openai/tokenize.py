"""POST /tokenize and /detokenize, GET /tokenizer_info: from text to token ids and back.

A request that names no model means the only one there is, for tools that know servers of one model.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from luci_tui.engine import frames
from luci_tui.host.openai.answers import only_model, open_session
from luci_tui.host.openai.chat_request import user_of
from luci_tui.host.openai.errors import invalid_request
from luci_tui.host.openai.parameters import HARMLESS, MAX_INT, Refused, RequestModel, read_request
from luci_tui.host.openai.security import client_of
from luci_tui.host.openai.services import Services

ModelName = Annotated[str, Field(min_length=1, max_length=1024)]

REFUSED: Refused = {"messages": ("Send the text as content.", ())}


class TokenizeRequest(RequestModel):
    """The body of POST /tokenize."""

    model: ModelName | None = None
    content: str | None = None
    prompt: str | None = None
    """Another name for `content`."""
    add_special: bool | None = None
    add_special_tokens: bool | None = None
    """vLLM's name for `add_special`; as there, control tokens are then read from the text."""
    parse_special: bool | None = None
    with_pieces: bool = False

    def text(self) -> str:
        """Return the text.

        Raises:
            ApiError: 400; there is none, or there are two.
        """
        text = self.content if self.content is not None else self.prompt
        if text is None or (self.content is not None and self.prompt is not None):
            msg = "The text to tokenize has to be in content. Send it there, and only there."
            raise invalid_request(msg, param="content", code="missing_required_parameter")
        return text

    def command(self) -> frames.Tokenize:
        """Return what the engine is asked.

        Raises:
            ApiError: 400.
        """
        is_vllm = self.add_special_tokens is not None
        if is_vllm and self.add_special is not None:
            msg = "add_special and add_special_tokens mean the same. Send one of them."
            raise invalid_request(msg, param="add_special_tokens")
        return frames.Tokenize(
            request_id=0,
            text=self.text(),
            add_special=bool(self.add_special or self.add_special_tokens),
            parse_special=is_vllm if self.parse_special is None else self.parse_special,
            with_pieces=self.with_pieces,
        )


class DetokenizeRequest(RequestModel):
    """The body of POST /detokenize."""

    model: ModelName | None = None
    tokens: list[Annotated[int, Field(ge=0, le=MAX_INT)]]
    special: bool = True
    """False = control tokens have no text."""


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()

    @routes.post("/tokenize")
    async def tokenize(request: Request) -> Response:
        asked = read_request(request, TokenizeRequest, ignored=HARMLESS, refused=REFUSED)
        return JSONResponse(await _tokenize(services, asked, client_of(request, user_of(request))))

    @routes.post("/detokenize")
    async def detokenize(request: Request) -> Response:
        asked = read_request(request, DetokenizeRequest)
        client = client_of(request, user_of(request))
        return JSONResponse(await _detokenize(services, asked, client))

    @routes.get("/tokenizer_info")
    async def tokenizer_info(request: Request, model: str = "") -> Response:
        name = model or only_model(services)
        async with open_session(services, name, client_of(request, None)) as session:
            info = session.answering.info
        return JSONResponse(
            {
                "model": session.answering.name,
                "bos_token": info.bos_token or None,
                "eos_token": info.eos_token or None,
                "max_model_len": info.n_ctx,
            }
        )

    return routes


async def _tokenize(services: Services, asked: TokenizeRequest, client: str) -> dict[str, object]:
    command = asked.command()
    name = asked.model or only_model(services)
    async with open_session(services, name, client, text_param="content") as session:
        event = await session.ask(command)
    if not isinstance(event, frames.Tokenized):
        msg = f"the engine answered tokenize with {type(event).__name__}"
        raise RuntimeError(msg)
    tokens: list[object] = list(event.tokens)
    if asked.with_pieces:
        tokens = [
            {"id": token, "piece": piece if isinstance(piece, str) else list(piece)}
            for token, piece in zip(event.tokens, event.pieces, strict=True)
        ]
    return {
        "model": session.answering.name,
        "tokens": tokens,
        "count": len(tokens),
        "max_model_len": session.answering.info.n_ctx,
    }


async def _detokenize(
    services: Services, asked: DetokenizeRequest, client: str
) -> dict[str, object]:
    command = frames.Detokenize(request_id=0, tokens=tuple(asked.tokens), special=asked.special)
    name = asked.model or only_model(services)
    async with open_session(services, name, client, text_param="tokens") as session:
        event = await session.ask(command)
    if not isinstance(event, frames.Detokenized):
        msg = f"the engine answered detokenize with {type(event).__name__}"
        raise RuntimeError(msg)
    return {
        "model": session.answering.name,
        "content": event.text,
        "prompt": event.text,  # vLLM's name for it
        "is_valid_utf8": not event.invalid_bytes,
        "bytes": list(event.invalid_bytes) or None,
    }
