from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.host.openai import chat_request, completions, embeddings, tokenize
from luci_tui.host.openai.parameters import HARMLESS, Refused, RequestModel

DOCS = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.mark.parametrize(
    ("model", "refused"),
    [
        (chat_request.ChatRequest, chat_request.REFUSED),
        (completions.CompletionRequest, {}),
        (embeddings.EmbeddingRequest, {}),
        (embeddings.RerankRequest, embeddings.RERANK_REFUSED),
        (tokenize.TokenizeRequest, tokenize.REFUSED),
        (tokenize.DetokenizeRequest, {}),
    ],
)
def test_docs_then_name_every_parameter(model: type[RequestModel], refused: Refused) -> None:
    text = DOCS.read_text()
    known = {*model.model_fields, *refused, *HARMLESS, *chat_request.IGNORED}
    assert sorted(name for name in known if f"`{name}`" not in text) == []
