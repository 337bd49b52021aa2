"""What a model is to luci before it is loaded: name, place, how it is kept and how it is asked."""

from __future__ import annotations

import math
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from luci_tui.engine.frames import SamplingParams
from luci_tui.engine.load_spec import LoadSpec

BUILTIN = "builtin"
"""The name by which a person asks for the model that ships with luci."""

_MAX_NAME = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENDPOINT_LOAD_FIELDS = frozenset({"n_ctx", "embedding"})
"""What luci has to know about a model that another program loads."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=_MAX_NAME)]


class Dialect(StrEnum):
    """What an endpoint understands beyond OpenAI's own API."""

    OPENAI = "openai"
    """OpenAI's options and nothing else."""
    LLAMA_SERVER = "llama-server"
    """llama.cpp's server: every sampler, grammars, /tokenize."""
    LUCI = "luci"
    """Another luci: every sampler, grammars, /tokenize; it refuses words that it does not know."""
    VLLM = "vllm"


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Endpoint(_Settings):
    """One OpenAI-compatible server that answers for a model."""

    base_url: str
    """Up to and with the version, e.g. "http://127.0.0.1:8000/v1"."""
    model: Name
    """What this server calls the model."""
    dialect: Dialect = Dialect.OPENAI
    api_key_file: str = ""
    """File with the key and nothing else, readable by its owner alone (mode 0600)."""
    api_key_env: str = ""
    """Name of the environment variable that holds the key."""
    connect_s: float = Field(default=5.0, gt=0, le=120)
    """Longest time until the server accepts a connection."""
    idle_s: float = Field(default=300.0, gt=0, le=7200)
    """Longest silence in an answer, the time before its first token included."""

    max_parallel: int = Field(default=8, ge=1, le=256)
    """Most of luci's requests that it gets at the same time; the others wait in order."""

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
            msg = 'must look like "http://127.0.0.1:8000/v1"'
            raise ValueError(msg)
        if parts.username is not None or parts.query or parts.fragment:
            msg = "must have no user name, no query and no fragment; a key has a field of its own"
            raise ValueError(msg)
        return value.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _check_api_key_env(cls, value: str) -> str:
        if value and not _ENVIRONMENT_NAME.fullmatch(value):
            # The value may be the key itself, so it is not repeated.
            msg = "must be the name of an environment variable, not the key"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _check_key(self) -> Endpoint:
        if self.api_key_file and self.api_key_env:
            msg = "has two keys; name either api_key_file or api_key_env"
            raise ValueError(msg)
        return self


class LoadOptions(LoadSpec):
    """How a model is loaded: all of a LoadSpec but for places, which the entry itself names."""

    model_path: str = Field(default="", max_length=0)
    """Stays empty: see `ModelEntry.path`."""
    rpc_servers: tuple[str, ...] = Field(default=(), max_length=0)
    """Stays empty: see `ModelEntry.rpc`."""

    def chosen(self) -> set[str]:
        """Name the fields that are not as they are by themselves."""
        return set(self.model_dump(exclude_defaults=True))


class ModelEntry(_Settings):
    """One model that can be asked for by name."""

    name: Name
    """What a person types; unique, upper and lower case differ."""
    aliases: tuple[Name, ...] = ()
    """Other names for it; unique among all names too."""
    path: str = ""
    """GGUF file; exactly one of path and endpoints is given."""
    endpoints: tuple[Endpoint, ...] = ()
    """Servers that have the same model; requests go to the least loaded one."""
    load: LoadOptions = LoadOptions()
    rpc: tuple[str, ...] = ()
    """host:port of llama.cpp RPC servers; see docs/models.md for the danger."""
    fallbacks: tuple[Name, ...] = ()
    """Names of the models that answer in its place, in this order, when it cannot be had."""
    pinned: bool = False
    """Never unloaded to make room, nor for being unused."""
    ttl_s: float | None = None
    """Seconds unused until it is unloaded; None = the setting, 0 = at once, negative = never."""
    max_workers: int = Field(default=1, ge=1, le=64)
    """Most processes that hold it at the same time, where memory allows."""
    sampling: SamplingParams = SamplingParams()
    system: str = ""
    """System message of every chat with it; empty = none."""
    price_per_million_prompt_tokens: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """This and the next: what the servers of `endpoints` take, for the estimate of a chat's cost in
    the currency of config.toml; None = no estimate."""
    price_per_million_completion_tokens: float | None = Field(
        default=None, ge=0, allow_inf_nan=False
    )
    answers_with_command: bool = False
    """The answer is one bare shell command: no Markdown, no memory of earlier turns."""

    @field_validator("name", "aliases", "fallbacks")
    @classmethod
    def _check_names(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for name in (value,) if isinstance(value, str) else value:
            if _CONTROL.search(name) or name != name.strip():
                msg = "must have no control characters, and no space at either end"
                raise ValueError(msg)
        return value

    @field_validator("ttl_s")
    @classmethod
    def _check_ttl(cls, value: float | None) -> float | None:
        if value is not None and not math.isfinite(value):
            msg = "must be a finite number; a negative one stands for never"
            raise ValueError(msg)
        return value

    @field_validator("rpc")
    @classmethod
    def _check_rpc(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for server in value:
            host, _, port = server.rpartition(":")
            if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
                msg = 'must be like "127.0.0.1:50052", a host and a port'
                raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _check_source(self) -> ModelEntry:
        if bool(self.path) == bool(self.endpoints):
            msg = "needs either path or endpoints, and not both"
            raise ValueError(msg)
        if self.endpoints and self.rpc:
            msg = "has rpc servers, which only a model with a path can use"
            raise ValueError(msg)
        useless = sorted(self.load.chosen() - _ENDPOINT_LOAD_FIELDS) if self.endpoints else []
        if useless:
            msg = f"has load.{useless[0]}, which is for its server to decide"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_prices(self) -> ModelEntry:
        prices = (self.price_per_million_prompt_tokens, self.price_per_million_completion_tokens)
        if prices == (None, None):
            return self
        if not self.endpoints:
            msg = "has prices of tokens, which only a model with endpoints can have"
            raise ValueError(msg)
        if None in prices:
            msg = "has one price of tokens; name that of prompt and of completion tokens"
            raise ValueError(msg)
        return self

    @property
    def is_remote(self) -> bool:
        """True = other programs hold the model; it takes no memory here."""
        return bool(self.endpoints)

    def load_spec(self) -> LoadSpec:
        """Give what an engine is told to load; a remote model's path is its name at the server."""
        model_path = self.endpoints[0].model if self.endpoints else self.path
        places = {"model_path": model_path, "rpc_servers": self.rpc}
        return LoadSpec.model_validate({**self.load.model_dump(), **places})

    def loads_like(self, other: ModelEntry) -> bool:
        """Tell whether what is loaded for one of the two serves the other as well."""
        return self.endpoints == other.endpoints and self.load_spec() == other.load_spec()


def own_entry(spec: LoadSpec, name: str) -> ModelEntry:
    """Make the entry of a model that one holder loads for itself, with options of its own.

    Raises:
        ValidationError: the path is none.
    """
    load = LoadOptions.model_validate({**spec.model_dump(), "model_path": "", "rpc_servers": ()})
    return ModelEntry(name=name, path=spec.model_path, rpc=spec.rpc_servers, load=load)


def entry_for_file(path: Path, name: str) -> ModelEntry:
    """Make the entry of a model that is nothing but a file."""
    return ModelEntry(name=name, path=str(path))


def builtin_entry(path: Path) -> ModelEntry:
    """Make the entry of the model that ships with luci, which answers without chance."""
    return ModelEntry(
        name=BUILTIN,
        path=str(path),
        sampling=SamplingParams(temperature=0.0),
        answers_with_command=True,
    )
