"""POST /v1/embeddings and POST /v1/rerank."""

from __future__ import annotations

import base64
import math
import secrets
import struct
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from luci_tui.engine import frames
from luci_tui.engine.frame import Frame
from luci_tui.host.openai.answers import Session, open_session
from luci_tui.host.openai.chat_request import user_of
from luci_tui.host.openai.errors import ApiError, invalid_request
from luci_tui.host.openai.parameters import (
    MAX_INT,
    Positive,
    Refused,
    RequestModel,
    read_request,
)
from luci_tui.host.openai.security import client_of
from luci_tui.host.openai.services import Services

RERANK_REFUSED: Refused = {
    "max_chunks_per_doc": ("Cut long documents before they are sent.", ()),
    "max_tokens_per_doc": ("Cut long documents before they are sent.", ()),
    "rank_fields": ("Send documents as text.", ([], ["text"])),
}

EventT = TypeVar("EventT", bound=Frame)

Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1)]
Token = Annotated[int, Field(ge=0, le=MAX_INT)]
Tokens = Annotated[list[Token], Field(min_length=1)]
TokenLists = Annotated[list[Tokens], Field(min_length=1)]


class EmbeddingRequest(RequestModel):
    """The body of POST /v1/embeddings."""

    model: str = Field(min_length=1, max_length=1024)
    input: Text | Texts | Tokens | TokenLists
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Positive | None = None

    def command(self) -> frames.Embed:
        """Return what the engine is asked."""
        if isinstance(self.input, str):
            return frames.Embed(request_id=0, texts=(self.input,))
        texts = tuple(one for one in self.input if isinstance(one, str))
        # A list of numbers is one text, a list of lists is several.
        numbers = tuple(one for one in self.input if isinstance(one, int))
        lists = tuple(tuple(one) for one in self.input if isinstance(one, list))
        token_lists = (numbers,) if numbers else lists
        return frames.Embed(request_id=0, texts=texts, token_lists=token_lists)


class DocumentText(RequestModel):
    """A document as an object."""

    text: Text


class RerankRequest(RequestModel):
    """The body of POST /v1/rerank."""

    model: str = Field(min_length=1, max_length=1024)
    query: Text
    documents: list[Text | DocumentText] = Field(min_length=1)
    top_n: Positive | None = None
    return_documents: bool = False

    def texts(self) -> tuple[str, ...]:
        """Return the documents."""
        return tuple(one if isinstance(one, str) else one.text for one in self.documents)


def router(services: Services) -> APIRouter:
    """Return the routes of models that do not generate."""
    routes = APIRouter()

    @routes.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        asked = read_request(request, EmbeddingRequest)
        return JSONResponse(await _embed(services, asked, client_of(request, user_of(request))))

    @routes.post("/v1/rerank")
    async def rerank(request: Request) -> Response:
        asked = read_request(request, RerankRequest, refused=RERANK_REFUSED)
        return JSONResponse(await _rerank(services, asked, client_of(request, user_of(request))))

    return routes


async def _embed(services: Services, asked: EmbeddingRequest, client: str) -> dict[str, object]:
    command = asked.command()
    _check_count(len(command.texts or command.token_lists), services, "input")
    async with open_session(services, asked.model, client, text_param="input") as session:
        n_embd = session.lease.info.n_embd
        if asked.dimensions is not None and asked.dimensions > n_embd:
            raise invalid_request(
                f"dimensions {asked.dimensions} is more than the {n_embd} of this model. "
                "Ask for fewer.",
                param="dimensions",
            )
        embedded = await _ask(session, command, frames.Embedded)
    services.metrics.count_tokens(session.answering.name, embedded.prompt_tokens)
    vectors = [shortened(vector, asked.dimensions) for vector in embedded.vectors]
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": packed(vector) if asked.encoding_format == "base64" else list(vector),
            }
            for index, vector in enumerate(vectors)
        ],
        "model": session.answering.name,
        "usage": {
            "prompt_tokens": embedded.prompt_tokens,
            "total_tokens": embedded.prompt_tokens,
        },
    }


async def _rerank(services: Services, asked: RerankRequest, client: str) -> dict[str, object]:
    documents = asked.texts()
    _check_count(len(documents), services, "documents")
    async with open_session(services, asked.model, client, text_param="documents") as session:
        command = frames.Rerank(request_id=0, query=asked.query, documents=documents)
        ranked = await _ask(session, command, frames.Reranked)
    services.metrics.count_tokens(session.answering.name, ranked.prompt_tokens)
    # Equal scores keep the order of the documents.
    order = sorted(range(len(documents)), key=lambda index: -ranked.scores[index])
    results: list[dict[str, object]] = []
    for index in order[: asked.top_n]:
        result: dict[str, object] = {"index": index, "relevance_score": ranked.scores[index]}
        if asked.return_documents:
            result["document"] = {"text": documents[index]}
        results.append(result)
    return {
        "id": f"rerank-{secrets.token_hex(12)}",
        "object": "list",
        "model": session.answering.name,
        "results": results,
        "usage": {
            "prompt_tokens": ranked.prompt_tokens,
            "total_tokens": ranked.prompt_tokens,
        },
    }


async def _ask(session: Session, command: frames.Command, kind: type[EventT]) -> EventT:
    event = await session.ask(command)
    if not isinstance(event, kind):
        msg = f"the engine answered {command.kind} with {type(event).__name__}"
        raise RuntimeError(msg)
    return event


def shortened(vector: tuple[float, ...], n_dimensions: int | None) -> tuple[float, ...]:
    """Return the first numbers of a vector, scaled to length 1 again.

    It keeps its meaning only with models that were trained for it (Matryoshka).
    """
    if n_dimensions is None or n_dimensions >= len(vector):
        return vector
    kept = vector[:n_dimensions]
    length = math.sqrt(sum(value * value for value in kept))
    return tuple(value / length for value in kept) if length else kept


def packed(vector: tuple[float, ...]) -> str:
    """Return a vector as OpenAI's base64: float32, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _check_count(n: int, services: Services, param: str) -> None:
    most = services.settings.max_inputs
    if n > most:
        raise ApiError(
            400,
            "too_many_inputs",
            f"{n} texts in one request are too many; {most} are allowed. Send several requests.",
            param=param,
        )
