"""docs/api*.md held against the code: endpoints, options, error codes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from luci_tui.host.openai import (
    anthropic_request,
    chat_request,
    completions,
    embeddings,
    responses_request,
    tokenize,
)
from luci_tui.host.openai.app import routers
from luci_tui.host.openai.errors import ApiError
from luci_tui.host.openai.parameters import HARMLESS, Refused, RequestModel, SamplingFields
from luci_tui.host.openai.strict import Strict
from tests.support.api_server import Shelf, services

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CODE = ROOT / "luci_tui" / "host" / "openai"
WORKS, IGNORED, REFUSED = "works", "ignored", "refused"
KINDS = {
    "yes": WORKS,
    "in part": WORKS,
    "partly": WORKS,
    "not yet": WORKS,
    "ignored": IGNORED,
    "refused": REFUSED,
}
NO_OPTIONS = {"text", "refusal", "image_url", "input_audio", "file", "reasoning_content"}
"""Rows of the chat's table about parts and fields of messages."""


def section(name: str, heading: str) -> str:
    """Give the text from a heading to the next one."""
    _, _, rest = (DOCS / name).read_text().partition(f"{heading}\n")
    assert rest, heading
    return re.split(r"^##+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[tuple[list[str], str, str]]:
    """Give the rows of a section's tables: names in the first cell, the second, and the rest."""
    found: list[tuple[list[str], str, str]] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        names = re.findall(r"`([^`]+)`", cells[0]) if cells else []
        if len(cells) >= 2 and names:
            found.append((names, cells[1], " ".join(cells[2:])))
    return found


def options(heading: str) -> dict[str, set[str]]:
    """Give the names that a section of api.md lists: what works, is ignored, is refused."""
    found: dict[str, set[str]] = {WORKS: set(), IGNORED: set(), REFUSED: set()}
    for names, kind, _ in rows(section("api.md", heading)):
        found.get(KINDS.get(kind, ""), set()).update(names)
    return found


def fields(model: type[RequestModel | Strict]) -> set[str]:
    return {info.alias or name for name, info in model.model_fields.items()}


@pytest.mark.parametrize(
    ("path", "model", "refused"),
    [
        ("/v1/chat/completions", chat_request.ChatRequest, chat_request.REFUSED),
        ("/v1/completions", completions.CompletionRequest, {}),
        ("/v1/embeddings", embeddings.EmbeddingRequest, {}),
        ("/v1/rerank", embeddings.RerankRequest, embeddings.RERANK_REFUSED),
        ("/tokenize", tokenize.TokenizeRequest, tokenize.REFUSED),
        ("/detokenize", tokenize.DetokenizeRequest, {}),
    ],
)
def test_docs_of_an_endpoint_then_each_option_is_what_the_code_makes_of_it(
    path: str, model: type[RequestModel], refused: Refused
) -> None:
    told = options(f"### POST {path}")
    works = told[WORKS] - NO_OPTIONS
    if path == "/v1/completions":
        works |= fields(SamplingFields)  # "the sampling options above"
    if path == "/v1/chat/completions":
        works -= HARMLESS & {"user", "safety_identifier"}
        assert told[IGNORED] == chat_request.IGNORED - {"user", "safety_identifier"}
    assert works | {"model"} == fields(model)
    assert told[REFUSED] == set(refused)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("api-responses.md", responses_request.ResponsesRequest),
        ("api-messages.md", anthropic_request.MessageRequest),
    ],
)
def test_docs_of_options_then_every_field_has_a_row_and_every_row_a_field(
    name: str, model: type[Strict]
) -> None:
    named: set[str] = set()
    for names, kind, notes in rows(section(name, "## Options")):
        tops = {re.split(r"[.: \[]", one)[0] for one in names if not one.startswith("anthropic-")}
        if kind == "no" and notes.startswith("400"):
            continue
        named |= tops
    assert (
        fields(model) - named - {"mcp_servers", "container", "inference_geo", "background"} == set()
    )
    inside = {"input_schema", "cache_control", "disable_parallel_tool_use", "function", "message"}
    assert named - fields(model) - inside == set()


@pytest.mark.parametrize(
    "field", ["background", "conversation", "prompt", "moderation", "context_management"]
)
def test_option_that_the_docs_of_responses_refuse_then_it_is_a_400(field: str) -> None:
    value = True if field == "background" else {"id": "x"}
    with pytest.raises(ApiError) as caught:
        responses_request.parse_options({"model": "m", "input": "hi", field: value})
    assert caught.value.status == 400


def test_docs_of_endpoints_then_they_are_those_of_the_code() -> None:
    made = [route for router in routers(services(Shelf())) for route in router.routes]
    served = {
        f"{method} {re.sub(r'{[^}]*}', '{id}', route.path)}"
        for route in made
        if isinstance(route, APIRoute)
        for method in route.methods - {"HEAD"}
    }
    told: dict[str, str] = {}
    for table in (
        section("api.md", "## Endpoints"),
        (DOCS / "api-responses.md").read_text().partition("## Options")[0],
        (DOCS / "api-messages.md").read_text().partition("## Options")[0],
    ):
        told |= {name: kind for names, kind, _ in rows(table) for name in names if " " in name}
    # Cancel is served to say what to do instead, and the docs say no.
    says_no = {"POST /v1/responses/{id}/cancel"}
    assert {name for name, kind in told.items() if kind == "yes"} | says_no == served
    assert {name for name, kind in told.items() if kind == "no"} & served <= says_no


def codes_of(source: str) -> set[str]:
    """Give the codes that a module's own errors have."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        given = [one.value for one in node.keywords if one.arg == "code"]
        if node.func.id == "ApiError":
            given += node.args[1:2]
        if node.func.id in ("ApiError", "invalid_request"):
            found |= {str(one.value) for one in given if isinstance(one, ast.Constant)}
    return found


def test_docs_of_errors_then_they_name_every_code() -> None:
    told = set(re.findall(r"`([a-z_…]+)`", section("api.md", "## Errors")))
    made = {code for file in CODE.glob("*.py") for code in codes_of(file.read_text())}
    assert {"invalid_json", "invalid_api_key", "queue_timeout"} <= made
    beginnings = tuple(one[:-1] for one in told if one.endswith("…"))
    assert sorted(one for one in made - told if not one.startswith(beginnings)) == []


def test_docs_of_abuse_then_their_count_is_not_too_high() -> None:
    from tests.unit.test_api_abuse import CASES

    said = re.search(r"more than (\d+) hostile requests", (DOCS / "api.md").read_text())
    assert said
    assert len(CASES) > int(said[1])
