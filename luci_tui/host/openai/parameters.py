"""From the JSON of a request to a typed model, and to a refusal that names the field at fault.

Each endpoint says which parameters it knows; there are three other kinds: those that change
nothing here are ignored, those that would change the answer are refused by name, and those that
nobody knows are refused as unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, TypeVar, cast

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from luci_tui.engine import frames
from luci_tui.host.openai.errors import ApiError, invalid_request

MAX_INT = 2**31 - 1

Natural = Annotated[int, Field(ge=0, le=MAX_INT)]
Positive = Annotated[int, Field(ge=1, le=MAX_INT)]
Real = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]

HARMLESS = frozenset(
    {
        "metadata",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
"""Parameters of OpenAI that change nothing in an answer here, so they are accepted and ignored."""

Refused = Mapping[str, tuple[str, tuple[JsonValue, ...]]]
"""Parameter -> (what to do instead, values that ask for nothing and are therefore accepted)."""

ModelT = TypeVar("ModelT", bound="RequestModel")


class RequestModel(BaseModel):
    """Base of all requests: strict types, immutable, and no input in an error's text."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        populate_by_name=False,
        # What a request says does not come again, and need not stay in memory.
        cache_strings="keys",
    )


class SamplingFields(RequestModel):
    """How tokens are chosen; what is left out is the model's own."""

    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2, allow_inf_nan=False)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = Field(
        default=None, max_length=1024
    )

    top_k: Natural | None = None
    min_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    typical_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    top_n_sigma: Real | None = None
    xtc_probability: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    xtc_threshold: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    repeat_penalty: float | None = Field(default=None, gt=0, le=100, allow_inf_nan=False)
    repeat_last_n: Natural | None = None
    dry_multiplier: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    dry_base: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    dry_allowed_length: Natural | None = None
    dry_last_n: Natural | None = None
    mirostat: Annotated[int, Field(ge=0, le=2)] | None = None
    mirostat_tau: Real | None = None
    mirostat_eta: Real | None = None
    dynatemp_range: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    dynatemp_exponent: Real | None = None
    ignore_eos: bool | None = None
    grammar: str | None = Field(default=None, min_length=1, max_length=1_000_000)

    def sampling(self, *, n_logprobs: int = 0, json_schema: str = "") -> frames.SamplingParams:
        """Return what was asked for; fields that were not named stay unset."""
        names = set(frames.SamplingParams.model_fields) & set(SamplingFields.model_fields)
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.seed is not None:
            # The engine's seeds have 32 bits, and its highest one means "random".
            given["seed"] = self.seed % (2**32 - 1)
        if self.top_p == 0:
            # OpenAI allows 0 and means the most likely token alone.
            given["top_p"] = 1e-6
        if self.logit_bias is not None:
            given["logit_bias"] = tuple(_biases(self.logit_bias))
        if n_logprobs:
            given["n_logprobs"] = n_logprobs
        if json_schema:
            given["json_schema"] = json_schema
        return frames.SamplingParams.model_validate(given)


def json_of(request: Request) -> dict[str, JsonValue]:
    """Return the request's JSON object, which the guard has read and checked."""
    return cast("dict[str, JsonValue]", request.scope["luci.json"])


def read_request(
    request: Request,
    model: type[ModelT],
    *,
    ignored: frozenset[str] = HARMLESS,
    refused: Refused | None = None,
) -> ModelT:
    """Return the request as a model.

    A parameter that is null counts as left out.

    Raises:
        ApiError: 400; a parameter is unknown, unsupported, missing or has a wrong value.
    """
    given = {name: value for name, value in json_of(request).items() if value is not None}
    known = {
        name
        for field, info in model.model_fields.items()
        for name in (field, info.alias)
        if name is not None
    }
    for name, value in list(given.items()):
        if name in known:
            continue
        if refused is not None and name in refused:
            instead, neutral = refused[name]
            if value not in neutral:
                msg = f"{name} is not supported by luci. {instead}"
                raise invalid_request(msg, param=name, code="unsupported_parameter")
        elif name not in ignored:
            shown = name if len(name) <= 60 else name[:60] + "…"
            raise invalid_request(
                f"There is no parameter {shown!r}. Leave it out, or correct its name.",
                param=shown,
                code="unknown_parameter",
            )
        del given[name]
    try:
        # Through JSON, because strict mode takes a dict for a model only from there.
        return model.model_validate_json(json.dumps(given))
    except ValidationError as error:
        raise _refusal(error) from error


def _refusal(error: ValidationError) -> ApiError:
    """Turn the complaint that got furthest into the sentence for the client."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    # Of a union's branches the one that fits best, so a wrong value comes before a wrong type.
    worst = max(problems, key=lambda one: (len(one["loc"]), not one["type"].endswith("_type")))
    param = field_path(worst["loc"])
    kind = worst["type"]
    if kind == "missing":
        return invalid_request(
            f"{param} is missing. Add it.", param=param, code="missing_required_parameter"
        )
    if kind == "extra_forbidden":
        return invalid_request(
            f"{param} is unknown. Leave it out, or correct its name.",
            param=param,
            code="unknown_parameter",
        )
    code = "invalid_type" if kind.endswith(("_type", "_parsing")) else "invalid_value"
    said = worst["msg"][0].lower() + worst["msg"][1:]
    return invalid_request(f"{param}: {said}. Correct it.", param=param, code=code)


def field_path(location: tuple[int | str, ...]) -> str:
    """Write a place in a request as OpenAI does: messages[0].content."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part.islower() and part not in _TAGS:
            path += f".{part}" if path else part
    return path or "body"


_TAGS = frozenset({"str", "int", "float", "bool", "dict", "list", "none", "nullable"})
"""What Pydantic puts into a location for a branch of a union; no field has such a name."""


def _biases(biases: dict[str, float]) -> list[tuple[int, float]]:
    pairs: list[tuple[int, float]] = []
    for key, value in biases.items():
        if not (key.isascii() and key.isdigit() and int(key) <= MAX_INT):
            shown = key if len(key) <= 40 else key[:40] + "…"
            raise invalid_request(
                f"logit_bias names {shown!r}, which is no token id. POST /tokenize gives the ids.",
                param="logit_bias",
            )
        pairs.append((int(key), value))
    return pairs
