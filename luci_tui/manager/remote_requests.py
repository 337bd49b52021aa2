"""Put a request into the words of an OpenAI-compatible server; what has no word is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import JsonValue

from luci_tui.engine import frames
from luci_tui.errors import RequestError
from luci_tui.manager.entries import Dialect, Endpoint

Body = dict[str, JsonValue]

_OPENAI_SAMPLING = {"temperature": "temperature", "top_p": "top_p"}
_LLAMA_SAMPLING = _OPENAI_SAMPLING | {
    name: name
    for name in (
        *("top_k", "min_p", "typical_p", "top_n_sigma", "xtc_probability", "xtc_threshold"),
        *("repeat_penalty", "repeat_last_n", "dry_multiplier", "dry_base", "dry_allowed_length"),
        *("mirostat", "mirostat_tau", "mirostat_eta", "dynatemp_range", "dynatemp_exponent"),
        "ignore_eos",
    )
}
_SAMPLING: dict[Dialect, dict[str, str]] = {
    Dialect.OPENAI: _OPENAI_SAMPLING,
    Dialect.LLAMA_SERVER: _LLAMA_SAMPLING | {"dry_last_n": "dry_penalty_last_n"},
    Dialect.LUCI: _LLAMA_SAMPLING | {"dry_last_n": "dry_last_n"},
    Dialect.VLLM: _OPENAI_SAMPLING
    | {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"}
    | {"ignore_eos": "ignore_eos"},
}
"""Sampling field -> its name at the server. These are always sent, so that a model samples the same
wherever it is; the server's own defaults differ."""
_WHEN_CHOSEN = ("frequency_penalty", "presence_penalty", "seed")
"""Known everywhere, and without effect by themselves, so they are left out unless chosen."""
_SPECIAL = frozenset({"logit_bias", "n_logprobs", "grammar", "json_schema"})
_DEFAULTS = frames.SamplingParams()


@dataclass(frozen=True)
class RemoteRequest:
    """One HTTP request."""

    path: str
    """Below the base URL."""
    body: Body


def generate_request(request: frames.Generate, endpoint: Endpoint) -> RemoteRequest:
    """Translate a request for one answer.

    Raises:
        RequestError: it has an option that this server has no word for; code
            "unsupported_by_endpoint".
    """
    given = (request.prompt, request.tokens, request.messages_json)
    n_sources = sum(source is not None for source in given)
    if n_sources != 1:
        raise RequestError(
            "A request needs exactly one of prompt, tokens and messages; "
            f"{n_sources} were given. Send one.",
            code="invalid_request",
        )
    is_chat = request.messages_json is not None
    unsupported: list[str] = []
    body: Body = {
        "model": endpoint.model,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if is_chat:
        body["messages"] = _parsed(request.messages_json or "", "messages")
        _add_tools(body, request)
    else:
        prompt: JsonValue = request.prompt
        body["prompt"] = list(request.tokens) if request.tokens is not None else prompt
    if request.suffix is not None:
        _add_suffix(body, request.suffix, endpoint.dialect, unsupported, is_text=not is_chat)
    # Servers that have it give it in shapes of their own.
    unsupported += ["prompt_logprobs"] * request.prompt_logprobs
    if request.max_tokens >= 0:
        body["max_tokens"] = request.max_tokens
    elif not is_chat and endpoint.dialect is not Dialect.LLAMA_SERVER:
        # Without a number such a server ends after 16 tokens.
        unsupported.append("max_tokens=-1 with a raw prompt")
    if request.stop:
        body["stop"] = list(request.stop)
    _add_sampling(body, request.sampling, endpoint.dialect, unsupported)
    _add_constraints(body, request, endpoint.dialect, unsupported, is_chat=is_chat)
    _add_engine_options(body, request, endpoint.dialect, unsupported, is_chat=is_chat)
    if unsupported:
        raise unsupported_error(endpoint, ", ".join(unsupported))
    return RemoteRequest("/chat/completions" if is_chat else "/completions", body)


def unsupported_error(endpoint: Endpoint, what: str) -> RequestError:
    """Make the error for what a server cannot do."""
    return RequestError(
        f"{endpoint.base_url} ({endpoint.dialect}) cannot take {what}. "
        "Leave it out, use a local model, or set the endpoint's dialect to what it is.",
        code="unsupported_by_endpoint",
    )


def _add_tools(body: Body, request: frames.Generate) -> None:
    if not request.tools_json:
        return
    body["tools"] = _parsed(request.tools_json, "tools")
    body["tool_choice"] = request.tool_choice
    body["parallel_tool_calls"] = request.parallel_tool_calls


def _add_suffix(
    body: Body, suffix: str, dialect: Dialect, unsupported: list[str], *, is_text: bool
) -> None:
    # llama-server passes over it and vLLM refuses it at this path.
    if is_text and dialect in (Dialect.OPENAI, Dialect.LUCI):
        body["suffix"] = suffix
    else:
        unsupported.append("suffix")


def _add_sampling(
    body: Body, sampling: frames.SamplingParams, dialect: Dialect, unsupported: list[str]
) -> None:
    words = _SAMPLING[dialect]
    values: dict[str, JsonValue] = sampling.model_dump(mode="json")
    defaults: dict[str, JsonValue] = _DEFAULTS.model_dump(mode="json")
    for name, value in values.items():
        if name in words:
            body[words[name]] = value
        elif name in _SPECIAL or value == defaults[name]:
            continue
        elif name in _WHEN_CHOSEN:
            body[name] = value
        else:
            unsupported.append(name)
    if dialect is Dialect.VLLM and sampling.top_k == 0:
        body["top_k"] = -1
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}


def _add_constraints(
    body: Body,
    request: frames.Generate,
    dialect: Dialect,
    unsupported: list[str],
    *,
    is_chat: bool,
) -> None:
    sampling = request.sampling
    if sampling.n_logprobs and is_chat:
        body["logprobs"], body["top_logprobs"] = True, sampling.n_logprobs
    elif sampling.n_logprobs:
        body["logprobs"] = sampling.n_logprobs
    if sampling.grammar:
        _add_grammar(body, sampling, dialect, unsupported)
    if sampling.json_schema:
        schema = _parsed(sampling.json_schema, "JSON schema")
        if is_chat or dialect is Dialect.VLLM:
            named: Body = {"name": "answer", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif dialect is Dialect.LLAMA_SERVER:
            body["json_schema"] = schema
        else:
            unsupported.append("json_schema with a raw prompt")


def _add_grammar(
    body: Body, sampling: frames.SamplingParams, dialect: Dialect, unsupported: list[str]
) -> None:
    if sampling.json_schema:
        msg = "A request has both a grammar and a JSON schema. Send one."
        raise RequestError(msg, code="invalid_request")
    match dialect:
        case Dialect.LLAMA_SERVER | Dialect.LUCI:
            body["grammar"] = sampling.grammar
        case Dialect.VLLM:
            body["structured_outputs"] = {"grammar": sampling.grammar}
        case Dialect.OPENAI:
            unsupported.append("grammar")


def _add_engine_options(
    body: Body,
    request: frames.Generate,
    dialect: Dialect,
    unsupported: list[str],
    *,
    is_chat: bool,
) -> None:
    """Add what is about the engine and not about sampling."""
    if request.context_policy is not frames.ContextPolicy.REFUSE:
        unsupported.append(f"context_policy={request.context_policy}")
    if request.loras is not None:
        unsupported.append("loras")
    if dialect is Dialect.LLAMA_SERVER:
        body["cache_prompt"], body["n_keep"] = request.cache_prompt, request.n_keep
    else:
        unsupported += ["cache_prompt=false"] * (not request.cache_prompt)
        unsupported += ["n_keep"] * bool(request.n_keep)
    if request.prompt is not None and not request.add_bos:
        if dialect is Dialect.VLLM:
            body["add_special_tokens"] = False
        else:
            unsupported.append("add_bos=false")
    if is_chat and not request.enable_thinking:
        match dialect:
            case Dialect.OPENAI:
                unsupported.append("enable_thinking=false")
            case Dialect.LUCI:
                body["reasoning_effort"] = "none"
            case Dialect.LLAMA_SERVER | Dialect.VLLM:
                body["chat_template_kwargs"] = {"enable_thinking": False}


def embed_request(command: frames.Embed, endpoint: Endpoint) -> RemoteRequest:
    """Translate a request for vectors; luci scales them itself where they are to be scaled."""
    texts: list[JsonValue] = list(command.texts)
    body: Body = {
        "model": endpoint.model,
        "input": texts or [list(tokens) for tokens in command.token_lists],
        "encoding_format": "float",
    }
    if not command.normalize:
        if endpoint.dialect is not Dialect.LLAMA_SERVER:
            raise unsupported_error(endpoint, "normalize=false")
        body["embd_normalize"] = -1
    return RemoteRequest("/embeddings", body)


def rerank_request(command: frames.Rerank, endpoint: Endpoint) -> RemoteRequest:
    """Translate a request for scores."""
    if endpoint.dialect is Dialect.OPENAI:
        raise unsupported_error(endpoint, "rerank")
    body: Body = {
        "model": endpoint.model,
        "query": command.query,
        "documents": list(command.documents),
    }
    return RemoteRequest("/rerank", body)


def tokenize_request(command: frames.Tokenize, endpoint: Endpoint) -> RemoteRequest:
    """Translate a request for token ids; its path is below the server's root, not the base URL."""
    if command.with_pieces:
        raise unsupported_error(endpoint, "tokenize with_pieces")
    match endpoint.dialect:
        case Dialect.OPENAI:
            raise unsupported_error(endpoint, "tokenize")
        case Dialect.LLAMA_SERVER | Dialect.LUCI:
            # llama-server has one model and passes over its name.
            body: Body = {
                "model": endpoint.model,
                "content": command.text,
                "add_special": command.add_special,
                "parse_special": command.parse_special,
            }
        case Dialect.VLLM:
            if not command.parse_special:
                # vLLM reads control tokens in any text, and says nothing of it.
                raise unsupported_error(endpoint, "tokenize with parse_special=false")
            body = {
                "model": endpoint.model,
                "prompt": command.text,
                "add_special_tokens": command.add_special,
            }
    return RemoteRequest("/tokenize", body)


def _parsed(text: str, what: str) -> JsonValue:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RequestError(
            f"The {what} cannot be read as JSON: {error}. Correct it and send it again.",
            code="invalid_request",
        ) from error
