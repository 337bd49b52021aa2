"""POST /tokenize: the token ids of a text."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from luci_tui.engine import frames
from luci_tui.host.openai.answers import open_session
from luci_tui.host.openai.chat_request import user_of
from luci_tui.host.openai.errors import invalid_request
from luci_tui.host.openai.parameters import HARMLESS, Refused, RequestModel, read_request
from luci_tui.host.openai.security import client_of
from luci_tui.host.openai.services import Services

REFUSED: Refused = {
    "messages": ("Send the text as content.", ()),
    "with_pieces": ("The ids alone are returned.", (False,)),
}


class TokenizeRequest(RequestModel):
    """The body of POST /tokenize."""

    model: str = Field(min_length=1, max_length=1024)
    content: str | None = None
    prompt: str | None = None
    """Another name for `content`."""
    add_special: bool = False
    parse_special: bool = False


def router(services: Services) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.post("/tokenize")
    async def tokenize(request: Request) -> Response:
        asked = read_request(request, TokenizeRequest, ignored=HARMLESS, refused=REFUSED)
        text = asked.content if asked.content is not None else asked.prompt
        if text is None or (asked.content is not None and asked.prompt is not None):
            msg = "The text to tokenize has to be in content. Send it there, and only there."
            raise invalid_request(
                msg,
                param="content",
                code="missing_required_parameter",
            )
        client = client_of(request, user_of(request))
        async with open_session(services, asked.model, client, text_param="content") as session:
            event = await session.ask(
                frames.Tokenize(
                    request_id=0,
                    text=text,
                    add_special=asked.add_special,
                    parse_special=asked.parse_special,
                )
            )
            n_ctx = session.answering.info.n_ctx
        if not isinstance(event, frames.Tokenized):
            msg = f"the engine answered tokenize with {type(event).__name__}"
            raise RuntimeError(msg)
        return JSONResponse(
            {
                "model": session.answering.name,
                "tokens": list(event.tokens),
                "count": len(event.tokens),
                "max_model_len": n_ctx,
            }
        )

    return routes
